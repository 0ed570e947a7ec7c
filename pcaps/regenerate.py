"""Build the captures of this folder again, byte for byte.

``python pcaps/regenerate.py`` writes them here, ``python pcaps/regenerate.py DIRECTORY`` there;
each name and SHA-256 is printed.  README.md tells what they are; a test compares all three.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

from pktfilter.generate import blocks, generate

_HERE = Path(__file__).resolve().parent


def _block(kind: int, body: bytes) -> bytes:
    """A little-endian pcapng block, padded to 4 bytes."""
    body += b"\0" * (-len(body) % 4)
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def _section(*options: bytes) -> bytes:
    head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    return _block(0x0A0D0D0A, head + b"".join(options) + _option(0, b""))


def _interface(name: bytes, snaplen: int, *options: bytes) -> bytes:
    head = struct.pack("<HHI", 1, 0, snaplen) + _option(2, name)
    return _block(1, head + b"".join(options) + _option(0, b""))


def _packet(interface: int, ticks: int, data: bytes, wire: int, *options: bytes) -> bytes:
    head = struct.pack("<5I", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire)
    tail = b"".join(options) + _option(0, b"") if options else b""
    return _block(6, head + data + b"\0" * (-len(data) % 4) + tail)


def two_interfaces() -> bytes:
    """A pcapng file: two interfaces whose time stamps differ in unit and offset.

    Interface 0 counts microseconds; interface 1 counts nanoseconds since 1,600,000,000 s, which
    its ``if_tsoffset`` holds.  Between the packets stand a block of a type kept for local use, a
    packet block with options and, at the end, interface statistics; readers skip them.
    """
    source = b"".join(blocks(120, "mix", seed=5, format="pcap-ns", rate=7_000_000, snaplen=256))
    offset = 1_600_000_000
    out = [
        _section(_option(4, b"pktfilter")),
        _interface(b"left", 256),
        _interface(b"right", 256, _option(9, b"\x09"), _option(14, struct.pack("<q", offset))),
    ]
    at, number = 24, 0
    while at < len(source):
        seconds, fraction, captured, wire = struct.unpack_from("<4I", source, at)
        data = source[at + 16 : at + 16 + captured]
        at += 16 + captured
        time = seconds * 10**9 + fraction
        if number % 2:
            comment = (_option(1, b"with a comment"),) if number % 10 == 9 else ()
            out.append(_packet(1, time - offset * 10**9, data, wire, *comment))
        else:
            out.append(_packet(0, time // 1000, data, wire))
        if number == 60:
            out.append(_block(0x80000001, b"skip this"))
        number += 1
    out.append(_block(5, struct.pack("<III", 0, 0, 0) + _option(0, b"")))
    return b"".join(out)


def truncated() -> bytes:
    """An IMIX capture of 40 packets that ends 20 bytes into its last packet."""
    whole = b"".join(blocks(40, "imix_simple", seed=6))
    at = last = 24
    while at < len(whole):
        last = at
        at += 16 + struct.unpack_from("<I", whole, at + 8)[0]
    return whole[: last + 16 + 20]


def build(directory: Path) -> dict[str, str]:
    """Write all captures; name to SHA-256 in hex."""
    generate(directory / "demo.pcap", 2000, "mix", seed=1, rate=20_000, snaplen=92)
    generate(directory / "imix.pcap", 480, "imix_simple", seed=2)
    generate(directory / "nano.pcap", 200, "mix", seed=3, format="pcap-ns", rate=3_000_000)
    generate(directory / "big-endian.pcap", 200, "mix", seed=4, byte_order="big")
    (directory / "two-interfaces.pcapng").write_bytes(two_interfaces())
    (directory / "truncated.pcap").write_bytes(truncated())
    found = (p for p in directory.iterdir() if p.suffix in (".pcap", ".pcapng"))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(found)}


if __name__ == "__main__":
    for name, digest in build(Path(sys.argv[1]) if len(sys.argv) > 1 else _HERE).items():
        print(digest, name)
