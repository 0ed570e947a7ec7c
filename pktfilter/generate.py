"""Synthetic captures: 1 to 20 million packets, quickly, and the same bytes for the same seed.

Packets are made with NumPy in blocks of bounded size, one packet kind at a time, so memory does
not grow with the capture.  Every random number is a hash of (seed, packet index, lane), computed
with 64-bit integers only: the output does not depend on the machine, the block size or NumPy's
version.  Checksums of IPv4, TCP, UDP, ICMP and ICMPv6 are valid, except where a kind says
otherwise (first fragments and tunnels over UDP carry the UDP checksum 0, which means none).
TCP sequence numbers are random: streams cannot be reassembled.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pktfilter.generate_flows import LOW32, Flows, Words, random_words
from pktfilter.generate_profiles import ICMP, ICMP6, UDP, Kind, Profile, profiles

Format = Literal["pcap", "pcap-ns"]
ByteOrder = Literal["little", "big"]

BLOCK = 16384
"""Packets made at a time; at most about 25 MB of capture."""
START_S = 1_700_000_000
"""Timestamp of the first packet, in seconds since the epoch."""
_MAGIC = {"pcap": 0xA1B2C3D4, "pcap-ns": 0xA1B23C4D}
_LOW16 = np.uint64(0xFFFF)
_RECORD = 16
_MAX_FRAME = 1536
_CYCLE_LIMIT = 4096


@dataclass(frozen=True)
class Generated:
    """What was written: ``bytes`` is the size of the file, ``sha256`` its hash in hex."""

    path: str
    profile: str
    packets: int
    bytes: int
    captured: int
    seed: int
    flows: str | int
    sha256: str


def _pattern() -> bytes:
    """Payload bytes: byte k of every frame, where no header lies, is byte k of this."""
    return random_words(np.arange(_MAX_FRAME // 8, dtype=np.uint64), 1, 99).astype("<u8").tobytes()


def _sum16(data: bytes) -> int:
    """Sum of big-endian 16-bit words, an odd last byte padded with zero (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    return sum(struct.unpack(f">{len(padded) // 2}H", padded))


def _fold(total: Words) -> Words:
    """The checksum field for a sum of words: folded and complemented."""
    for _ in range(3):
        total = (total & _LOW16) + (total >> np.uint64(16))
    folded: Words = total ^ _LOW16
    return folded


def _quantize(weights: list[int], slots: int) -> NDArray[np.uint16]:
    """A table of ``slots`` choices with shares as near to the weights as it can hold."""
    total, seen, table = sum(weights), 0, np.zeros(slots, dtype=np.uint16)
    begin = 0
    for index, weight in enumerate(weights):
        seen += weight
        end = slots * seen // total
        table[begin:end] = index
        begin = end
    return table


class _Writer:
    """Fills the header rows of one kind: (record header, frame header) per packet."""

    def __init__(self, kind: Kind, profile: Profile, seed: int, prefix: list[int]) -> None:
        self.kind = kind
        self.width = _RECORD + len(kind.header)
        self._benchmark, self._seed, self._prefix = profile.benchmark, seed, prefix
        self._template = np.frombuffer(bytes(_RECORD) + kind.header, dtype=np.uint8)
        self._payload = np.array(prefix, dtype=np.uint64) - np.uint64(prefix[len(kind.header)])
        self._ip_sum = _sum16(kind.header[kind.ip : kind.ip + 20])
        self._l4_sum = _sum16(kind.header[kind.l4 :])

    def rows(self, index: Words, flow: Words, length: Words) -> NDArray[np.uint8]:
        """Rows of ``width`` bytes; the record header is left zero."""
        rows = np.empty((len(index), self.width), dtype=np.uint8)
        rows[:] = self._template
        words = rows.view(">u2")
        random = random_words(index, self._seed, 2)
        noise = np.zeros(len(index), dtype=np.uint64)
        for lane, offset in enumerate(self.kind.noise):
            word = (random_words(index, self._seed, 3) >> np.uint64(16 * (lane % 4))) & _LOW16
            words[:, (_RECORD + offset) // 2] = word
            noise += word
        if self.kind.version:
            self._network(words, index, flow, length, random, noise)
        return rows

    def _addresses(self, index: Words, flow: Words) -> tuple[Words, Words]:
        """Source and destination, as 32-bit numbers."""
        own = random_words(flow, self._seed, 4)
        low = own & LOW32
        if self._benchmark:
            base, mask = np.uint64(0xC6120000), np.uint64(0xFFFF)
            return base | (low & mask), (base + np.uint64(0x10000)) | (
                (own >> np.uint64(32)) & mask
            )
        server = np.uint64(0xC0000200) | ((own >> np.uint64(32)) & np.uint64(0xFF))
        if self.kind.spoofed:
            # First octet 11 to 126: unicast, and neither this network nor loopback.
            spoof = random_words(index, self._seed, 5)
            first = np.uint64(11) + (((spoof >> np.uint64(32)) * np.uint64(116)) >> np.uint64(32))
            source = (first << np.uint64(24)) | (spoof & np.uint64(0xFFFFFF))
            return source, np.full(len(index), 0xC0000250, dtype=np.uint64)
        client = np.uint64(0x0A000000) | (low & np.uint64(0xFFFFFF))
        return (server, client) if self.kind.reverse else (client, server)

    def _network(
        self, words: NDArray[Any], index: Words, flow: Words, length: Words, random: Words,
        noise: Words,
    ) -> None:  # fmt: skip
        kind, at = self.kind, (_RECORD + self.kind.ip) // 2
        source, target = self._addresses(index, flow)
        halves = [
            source >> np.uint64(16),
            source & _LOW16,
            target >> np.uint64(16),
            target & _LOW16,
        ]
        ip_len = length - np.uint64(kind.ip)
        if kind.ip_len:
            ip_len = np.full(len(index), kind.ip_len, dtype=np.uint64)
        addresses = halves[0] + halves[1] + halves[2] + halves[3]
        if kind.version == 4:
            ident = random & _LOW16
            words[:, at + 1], words[:, at + 2] = ip_len, ident
            for place, half in enumerate(halves):
                words[:, at + 6 + place] = half
            words[:, at + 5] = _fold(addresses + ip_len + ident + np.uint64(self._ip_sum))
        else:
            words[:, at + 2] = ip_len - np.uint64(40)
            # 2001:db8:0:1::source to 2001:db8:0:2::target (RFC 3849).
            for start, subnet, pair in ((4, 1, halves[:2]), (12, 2, halves[2:])):
                words[:, at + start], words[:, at + start + 1] = 0x2001, 0x0DB8
                words[:, at + start + 3] = subnet
                words[:, at + start + 6], words[:, at + start + 7] = pair
            addresses = addresses + np.uint64(2 * (0x2001 + 0x0DB8) + 3)
        if kind.proto:
            l4_len = ip_len - np.uint64(kind.l4 - kind.ip)
            total = noise + np.uint64(self._l4_sum) + self._payload[np.maximum(
                length, np.uint64(len(kind.header))).astype(np.intp)]  # fmt: skip
            if kind.proto != ICMP:
                total = total + addresses + l4_len + np.uint64(kind.proto)
            self._transport(words, index, flow, l4_len, random, total)

    def _ports(self, index: Words, flow: Words) -> tuple[Words, Words]:
        own = random_words(index if self.kind.spoofed else flow, self._seed, 6)
        client = np.uint64(1024) + (((own & LOW32) * np.uint64(64512)) >> np.uint64(32))
        high = own >> np.uint64(32)
        server = np.uint64(1024) + ((high * np.uint64(64512)) >> np.uint64(32))
        if self.kind.port:
            server = np.full(len(own), self.kind.port, dtype=np.uint64)
        return (server, client) if self.kind.reverse else (client, server)

    def _transport(
        self, words: NDArray[Any], index: Words, flow: Words, l4_len: Words, random: Words,
        total: Words,
    ) -> None:  # fmt: skip
        """Ports, sequence number, length and checksum; ``total`` sums all that is there yet."""
        kind, at = self.kind, (_RECORD + self.kind.l4) // 2
        if kind.proto in (ICMP, ICMP6):
            words[:, at + 1] = _fold(total)
            return
        for place, port in enumerate(self._ports(index, flow)):
            words[:, at + place] = port
            total = total + port
        if kind.proto == UDP:
            words[:, at + 2] = l4_len
            checksum = _fold(total + l4_len)
            # RFC 768: a computed zero is sent as all ones, since zero means none.
            words[:, at + 3] = np.where(checksum == 0, _LOW16, checksum)
            return
        high, low = (random >> np.uint64(48)) & _LOW16, (random >> np.uint64(32)) & _LOW16
        words[:, at + 2], words[:, at + 3] = high, low
        words[:, at + 8] = _fold(total + high + low)


def _scatter(out: NDArray[np.uint8], places: NDArray[Any], rows: NDArray[np.uint8]) -> None:
    """Copy each row, or one row for all, to its place: one memcpy per packet."""
    width = rows.shape[-1]
    windows: NDArray[np.void] = np.ndarray(
        (len(out) - width + 1,), dtype=f"V{width}", buffer=out.data, strides=(1,)
    )
    windows[places] = np.ascontiguousarray(rows).view(f"V{width}").reshape(-1)


class _Generator:
    """All that stays the same between blocks."""

    def __init__(
        self, profile: Profile, packets: int, seed: int, flows: str | int, ordered: bool,
        nanosecond: bool, byte_order: ByteOrder, rate: int, snaplen: int,
    ) -> None:  # fmt: skip
        pattern = _pattern()
        prefix = [_sum16(pattern[:n]) for n in range(_MAX_FRAME + 1)]
        self._pattern = np.frombuffer(bytes(_RECORD) + pattern, dtype=np.uint8)
        self._writers = [_Writer(kind, profile, seed, prefix) for kind in profile.kinds]
        self._flows = Flows(profile, packets, flows, seed)
        self._seed, self._rate, self._ordered, self._snaplen = seed, rate, ordered, snaplen
        self._tick = 1 if nanosecond else 1000
        self._u4 = "<u4" if byte_order == "little" else ">u4"
        choices = [
            (number, low, high, weight)
            for number, kind in enumerate(profile.kinds)
            for low, high, weight in kind.sizes
        ]
        weights = [choice[3] for choice in choices]
        self._kind = np.array([choice[0] for choice in choices], dtype=np.intp)
        self._low = np.array([choice[1] for choice in choices], dtype=np.uint64)
        self._span = np.array([c[2] - c[1] + 1 for c in choices], dtype=np.uint64)
        if ordered:
            common = gcd(*weights)
            cycle = sum(weights) // common
            if cycle > _CYCLE_LIMIT:
                raise ValueError(f"profile {profile.name} has no order that repeats: use shuffled")
            repeats = [weight // common for weight in weights]
            self._table = np.repeat(np.arange(len(weights), dtype=np.uint16), repeats)
        else:
            self._table = _quantize(weights, 1 << 16)

    def block(self, first: int, count: int) -> NDArray[np.uint8]:
        """The records of packets ``first`` to ``first + count - 1``."""
        index = np.arange(first, first + count, dtype=np.uint64)
        random = random_words(index, self._seed, 0)
        slot = index % np.uint64(len(self._table)) if self._ordered else random & _LOW16
        choice = self._table[slot.astype(np.intp)]
        length = self._low[choice] + (
            ((random >> np.uint64(32)) * self._span[choice]) >> np.uint64(32)
        )
        kind = self._kind[choice]
        sizes = np.minimum(length, np.uint64(self._snaplen)).astype(np.intp) + _RECORD
        ends = np.cumsum(sizes)
        starts = ends - sizes
        out = np.empty(int(ends[-1]), dtype=np.uint8)
        self._payloads(out, starts, sizes)
        for number, writer in enumerate(self._writers):
            members = np.flatnonzero(kind == number)
            if len(members):
                own = index[members]
                rows = writer.rows(own, self._flows.draw(number, own), length[members])
                self._record_headers(rows, own, length[members])
                _scatter(out, starts[members], rows[:, : _RECORD + self._snaplen])
        return out

    def _payloads(
        self, out: NDArray[np.uint8], starts: NDArray[np.intp], sizes: NDArray[np.intp]
    ) -> None:
        """Write every record as if it had no headers, grouped by size."""
        order = np.argsort(sizes, kind="stable")
        distinct, begins = np.unique(sizes[order], return_index=True)
        for size, places in zip(
            distinct.tolist(), np.split(starts[order], begins[1:]), strict=True
        ):
            _scatter(out, places, self._pattern[:size])

    def _record_headers(self, rows: NDArray[np.uint8], index: Words, length: Words) -> None:
        nanoseconds = index * np.uint64(1_000_000_000) // np.uint64(self._rate)
        fields = rows[:, :_RECORD].view(self._u4)
        fields[:, 0] = np.uint64(START_S) + nanoseconds // np.uint64(1_000_000_000)
        fields[:, 1] = nanoseconds % np.uint64(1_000_000_000) // np.uint64(self._tick)
        fields[:, 2] = np.minimum(length, np.uint64(self._snaplen))
        fields[:, 3] = length


def blocks(
    packets: int = 1_000_000,
    profile: str = "imix_csit_v4_1",
    seed: int = 1,
    flows: str | int = "zipf",
    format: Format = "pcap",
    byte_order: ByteOrder = "little",
    rate: int = 1_000_000,
    order: Literal["shuffled", "cyclic"] = "shuffled",
    snaplen: int = 262144,
) -> Iterator[memoryview]:
    """The bytes of the capture file, piece by piece; parameters as for :func:`generate`."""
    known = profiles()
    if profile not in known:
        raise ValueError(f"no profile {profile!r}; there are {', '.join(sorted(known))}")
    if format not in _MAGIC:
        raise ValueError(f"format is {format!r}; expected {' or '.join(_MAGIC)}")
    if byte_order not in ("little", "big"):
        raise ValueError(f"byte_order is {byte_order!r}; expected little or big")
    if order not in ("shuffled", "cyclic"):
        raise ValueError(f"order is {order!r}; expected shuffled or cyclic")
    # Below 2**34 packets the index times 10**9 stays within 64 bits.
    for name, value, low, high in (
        ("packets", packets, 0, 1 << 34),
        ("rate", rate, 1, 1_000_000_000),
        ("seed", seed, 0, (1 << 64) - 1),
        ("snaplen", snaplen, 14, 262144),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}; expected {low} to {high}")
    nanosecond = format == "pcap-ns"
    made = _Generator(
        known[profile],
        packets,
        seed,
        flows,
        order == "cyclic",
        nanosecond,
        byte_order,
        rate,
        snaplen,
    )
    prefix = "<" if byte_order == "little" else ">"
    yield memoryview(struct.pack(prefix + "IHHiIII", _MAGIC[format], 2, 4, 0, 0, snaplen, 1))
    for first in range(0, packets, BLOCK):
        yield made.block(first, min(BLOCK, packets - first)).data


def generate(
    path: str | os.PathLike[str],
    packets: int = 1_000_000,
    profile: str = "imix_csit_v4_1",
    seed: int = 1,
    flows: str | int = "zipf",
    format: Format = "pcap",
    byte_order: ByteOrder = "little",
    rate: int = 1_000_000,
    order: Literal["shuffled", "cyclic"] = "shuffled",
    snaplen: int = 262144,
) -> Generated:
    """Write a capture of Ethernet frames.

    ``profile`` is a name of :func:`~pktfilter.generate_profiles.profiles`.  ``flows``: ``one``
    (per kind of packet), ``zipf`` (packets/15 flows, sizes falling like 1/rank), ``per-packet``, or
    a number.  ``format``: microsecond ``pcap`` or nanosecond ``pcap-ns``.  ``rate`` in packets per
    second sets the timestamps.  ``order``: ``cyclic`` repeats the kinds in a fixed sequence of
    their weights (RFC 6985 describes IMIX so), ``shuffled`` draws each packet by itself.

    ``snaplen`` cuts each packet to that many bytes, its original length being kept.

    The bytes are a function of these parameters alone.  Raises ValueError for a parameter that does
    not make sense, before the file is touched, and OSError when writing fails.
    """
    pieces = blocks(packets, profile, seed, flows, format, byte_order, rate, order, snaplen)
    header = next(pieces)
    digest, size = hashlib.sha256(), 0

    with Path(path).open("wb", buffering=0) as file:

        def store(piece: memoryview) -> None:
            digest.update(piece)
            while len(piece):
                # A raw file may take less than it is given.
                piece = piece[file.write(piece) or 0 :]

        # One block is hashed and written while the next is made; never more than two at a time.
        with ThreadPoolExecutor(1) as writer:
            pending = writer.submit(store, header)
            size += len(header)
            for piece in pieces:
                pending.result()
                pending = writer.submit(store, piece)
                size += len(piece)
            pending.result()
    captured = size - len(header) - packets * _RECORD
    return Generated(
        os.fspath(path), profile, packets, size, captured, seed, flows, digest.hexdigest()
    )
