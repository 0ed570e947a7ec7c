"""Independent capture readers: what pktfilter reads is compared with what these read.

:func:`walk` is a plain walker written from the formats' own texts (the pcap and pcapng drafts of
the IETF opsawg group) and shares nothing with the package.  :func:`read_dpkt`, :func:`read_scapy`,
:func:`capinfos_count`, :func:`tcpdump_count` and :func:`tshark_records` ask other programs; each
skips the test with a reason when its program is absent.  :func:`manifest` loads the shared
captures' manifest.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pytest

MAX_BLOCK = 256 << 20
"""A block or record longer than this counts as damage, whatever the file's size."""
_PCAP_MAGIC = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
_SHB, _IDB, _PB, _SPB, _EPB = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER = 0x1A2B3C4D


@dataclass(frozen=True)
class Record:
    """One packet.  ``ts_ns`` is rounded down; ``orig_len`` is the length on the wire."""

    linktype: int
    ts_ns: int
    cap_len: int
    orig_len: int
    data: bytes
    interface: int = 0
    options: tuple[tuple[int, bytes], ...] = ()
    """Of a pcapng packet block: (code, value) as stored."""


@dataclass
class Capture:
    """All of a file: the records before any damage, and a sentence for the damage if there is."""

    format: str = ""
    byte_order: str = "<"
    records: list[Record] = field(default_factory=list)
    damage: str | None = None

    @property
    def sha256(self) -> str:
        """Hash of all captured bytes in file order, as in the manifest."""
        digest = hashlib.sha256()
        for record in self.records:
            digest.update(record.data)
        return digest.hexdigest()


class Damage(Exception):
    """The walker cannot go on; the text says where."""


@dataclass
class _Interface:
    linktype: int
    snaplen: int
    ticks: int = 1_000_000
    offset_s: int = 0


def walk(path: str | os.PathLike[str] | bytes) -> Capture:
    """Read a whole pcap or pcapng file (or its bytes); never raises for what the file holds."""
    data = path if isinstance(path, bytes) else Path(path).read_bytes()
    capture = Capture()
    try:
        if data[:4] == b"\n\r\r\n":
            capture.format = "pcapng"
            _walk_pcapng(data, capture)
        else:
            capture.format = "pcap"
            _walk_pcap(data, capture)
    except Damage as damage:
        capture.damage = str(damage)
    return capture


def _walk_pcap(data: bytes, capture: Capture) -> None:
    if len(data) < 24:
        raise Damage(f"a pcap header has 24 bytes, the file {len(data)}")
    for order in "<>":
        (magic,) = struct.unpack_from(order + "I", data)
        if magic in _PCAP_MAGIC:
            break
    else:
        raise Damage(f"unknown magic {data[:4].hex()}")
    capture.byte_order, unit = order, _PCAP_MAGIC[magic]
    # The upper half of the field carries the FCS length and reserved bits.
    linktype = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at, header = 24, struct.Struct(order + "IIII")
    while at < len(data):
        if at + 16 > len(data):
            raise Damage(f"record header cut off at {at}")
        seconds, fraction, cap_len, orig_len = header.unpack_from(data, at)
        if cap_len > MAX_BLOCK or at + 16 + cap_len > len(data):
            raise Damage(f"record at {at} has {cap_len} bytes, the file {len(data) - at - 16} more")
        body = data[at + 16 : at + 16 + cap_len]
        time = seconds * 1_000_000_000 + fraction * unit
        capture.records.append(Record(linktype, time, cap_len, orig_len, body))
        at += 16 + cap_len


def _blocks(data: bytes, capture: Capture) -> Iterator[tuple[int, str, int, bytes]]:
    """(type, byte order, offset, body) of each block; section headers set the byte order."""
    at, order = 0, "<"
    while at < len(data):
        if at + 12 > len(data):
            raise Damage(f"block cut off at {at}")
        if data[at : at + 4] == b"\n\r\r\n":
            order = next(
                (o for o in "<>" if struct.unpack_from(o + "I", data, at + 8)[0] == _BYTE_ORDER), ""
            )
            if not order:
                raise Damage(f"section at {at} has byte-order magic {data[at + 8 : at + 12].hex()}")
            if at == 0:
                capture.byte_order = order
        kind, length = struct.unpack_from(order + "II", data, at)
        if length < 12 or length > MAX_BLOCK or at + length > len(data):
            raise Damage(f"block at {at} says it has {length} bytes, {len(data) - at} are left")
        if length % 4:
            raise Damage(f"block at {at} has {length} bytes, not a multiple of 4")
        (trailer,) = struct.unpack_from(order + "I", data, at + length - 4)
        if trailer != length:
            raise Damage(f"block at {at} has {length} bytes, its end says {trailer}")
        yield kind, order, at, data[at + 8 : at + length - 4]
        at += length


def _options(body: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            return
        if at + 4 + length > len(body):
            raise Damage(f"option {code} has {length} bytes, {len(body) - at - 4} are left")
        yield code, body[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise Damage(f"interface block of {len(body)} bytes")
    linktype, _, snaplen = struct.unpack_from(order + "HHI", body)
    found = _Interface(linktype, snaplen)
    for code, value in _options(body, 8, order):
        if code == 9 and len(value) == 1:
            exponent = value[0] & 0x7F
            found.ticks = 2**exponent if value[0] & 0x80 else 10**exponent
        elif code == 14 and len(value) == 8:
            (found.offset_s,) = struct.unpack(order + "q", value)
    return found


def _walk_pcapng(data: bytes, capture: Capture) -> None:
    interfaces: list[_Interface] = []
    for kind, order, at, body in _blocks(data, capture):
        if kind == _SHB:
            interfaces = []
        elif kind == _IDB:
            interfaces.append(_interface(body, order))
        elif kind in (_EPB, _PB):
            if len(body) < 20:
                raise Damage(f"packet block at {at} has a body of {len(body)} bytes")
            number, high, low, cap_len, orig_len = struct.unpack_from(order + "5I", body)
            if kind == _PB:
                # The obsolete block has a 16-bit interface and a 16-bit drop count there.
                (number,) = struct.unpack_from(order + "H", body)
            if number >= len(interfaces):
                raise Damage(f"packet block at {at} names interface {number}")
            if 20 + cap_len > len(body):
                raise Damage(f"packet block at {at} has no room for {cap_len} bytes")
            interface = interfaces[number]
            ticks = (high << 32) | low
            time = interface.offset_s * 10**9 + ticks * 10**9 // interface.ticks
            options = tuple(_options(body, 20 + (cap_len + 3 & ~3), order))
            bytes_ = body[20 : 20 + cap_len]
            capture.records.append(
                Record(interface.linktype, time, cap_len, orig_len, bytes_, number, options)
            )
        elif kind == _SPB:
            if not interfaces or len(body) < 4:
                raise Damage(f"simple packet block at {at} without interface or length")
            (orig_len,) = struct.unpack_from(order + "I", body)
            snaplen = interfaces[0].snaplen or orig_len
            cap_len = min(orig_len, snaplen)
            if 4 + cap_len > len(body):
                raise Damage(f"simple packet block at {at} has no room for {cap_len} bytes")
            # A simple packet has no time.
            capture.records.append(
                Record(interfaces[0].linktype, 0, cap_len, orig_len, body[4 : 4 + cap_len])
            )


def read_dpkt(path: str | os.PathLike[str]) -> list[tuple[float, bytes]]:
    """(seconds, data) of every packet as dpkt reads them."""
    dpkt = pytest.importorskip("dpkt", reason="dpkt is not installed")
    with open(path, "rb") as file:
        return [(float(time), bytes(data)) for time, data in dpkt.pcap.UniversalReader(file)]


def read_scapy(path: str | os.PathLike[str]) -> list[bytes]:
    """The data of every packet as scapy's raw reader reads them."""
    utils = pytest.importorskip("scapy.utils", reason="scapy is not installed")
    with utils.RawPcapReader(str(path)) as reader:
        return [bytes(data) for data, _ in reader]


def _program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run(
        [name, *arguments], capture_output=True, text=True, timeout=300, check=False,
        errors="replace",
    )  # fmt: skip


def capinfos_count(path: str | os.PathLike[str]) -> int:
    """Number of packets that Wireshark's capinfos counts; ValueError when it refuses the file."""
    done = _program("capinfos", "-c", "-M", "-T", "-r", str(path))
    fields = done.stdout.strip().split("\t")
    if done.returncode or len(fields) != 2:
        raise ValueError(f"capinfos: {done.stderr.strip()}")
    return int(fields[1])


def tcpdump_count(path: str | os.PathLike[str], expression: str = "") -> int:
    """Number of packets that match in tcpdump; ValueError when it stops with an error."""
    done = _program("tcpdump", "-r", str(path), "--count", *([expression] if expression else []))
    match = re.search(r"^(\d+) packets?", done.stdout + done.stderr, re.MULTILINE)
    if done.returncode or not match:
        raise ValueError(f"tcpdump: {done.stderr.strip()}")
    return int(match.group(1))


def tshark_records(path: str | os.PathLike[str]) -> list[tuple[int, int, int]]:
    """(ts_ns, captured length, original length) of every packet as Wireshark reads them."""
    fields = ("frame.time_epoch", "frame.cap_len", "frame.len")
    wanted = [word for name in fields for word in ("-e", name)]
    done = _program("tshark", "-n", "-r", str(path), "-T", "fields", *wanted)
    if done.returncode:
        raise ValueError(f"tshark: {done.stderr.strip()}")
    out = []
    for line in done.stdout.splitlines():
        time, captured, original = line.split("\t")
        seconds, _, fraction = time.partition(".")
        # A simple packet block has no time: the field is empty.
        nanoseconds = int(seconds or 0) * 10**9 + int(fraction.ljust(9, "0")[:9])
        out.append((nanoseconds, int(captured), int(original)))
    return out


@lru_cache(maxsize=1)
def shared_folder() -> Path:
    """The folder of real captures: ``PKTFILTER_SHARED`` or beside the repository."""
    named = os.environ.get("PKTFILTER_SHARED")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared"


@dataclass(frozen=True)
class Row:
    """A row of the manifest: one real capture and what independent readers agreed on."""

    path: Path
    file: str
    category: str
    format: str
    linktype: str
    oracle: str
    packets: int | None
    data_sha256: str
    notes: str


def _manifest_rows() -> list[dict[str, str]]:
    source = shared_folder() / "pcaps" / "MANIFEST.tsv"
    if not source.is_file():
        pytest.skip("no shared captures: set PKTFILTER_SHARED or place them beside the repository")
    before = csv.field_size_limit(sys.maxsize)
    try:
        with source.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    finally:
        csv.field_size_limit(before)  # it is the process's


@lru_cache(maxsize=1)
def altered() -> tuple[str, ...]:
    """Shared captures whose bytes are not those that the manifest describes (``file_sha256``).

    The oracle says nothing about them; ``test_captures`` names them.
    """
    folder = shared_folder() / "pcaps"
    return tuple(
        row["file"]
        for row in _manifest_rows()
        if hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() != row["file_sha256"]
    )


def manifest() -> list[Row]:
    """Rows of all captures that are what it describes; skips the test when the shared folder is absent."""
    folder = shared_folder() / "pcaps"
    return [
        Row(
            folder / row["file"], row["file"], row["category"], row["format"], row["linktype"],
            row["oracle"], int(row["packets"]) if row["packets"].isdigit() else None,
            row["data_sha256"], row["notes"] or "",
        )
        for row in _manifest_rows()
        if row["file"] not in altered()
    ]  # fmt: skip
