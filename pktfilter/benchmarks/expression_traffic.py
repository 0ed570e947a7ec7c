"""Traffic of which the benchmarks' expression matches half, or all: IMIX sizes, TCP and UDP."""

from __future__ import annotations

import struct
from pathlib import Path

#: Distinct packets, over and over: of these is what is asked for a multiple.
BLOCK = 10_000


def frame(number: int, size: int, every: int = 2) -> bytes:
    """One of `every` is a TCP segment of an open connection to port 443; others SYN, other ports, UDP."""
    matches, other = number % every == 0, number // 2 % 3
    protocol = 17 if not matches and other == 0 else 6
    port = 443 if matches or other == 1 else 80
    flags = 0x02 if not matches and other == 1 else 0x18
    source = 0x0A000000 | number * 2654435761 % (1 << 24)
    ip = struct.pack(
        ">BBHHHBBHII",
        0x45,
        0,
        size - 14,
        number & 0xFFFF,
        0x4000,
        64,
        protocol,
        0,
        source,
        0x0A0A0A0A,
    )
    ports = struct.pack(">HH", 1024 + number % 60000, port)
    tcp = ports + struct.pack(">IIBBHHH", number, 1, 0x50, flags, 65535, 0, 0)
    udp = ports + struct.pack(">HH", size - 34, 0)
    head = b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + (tcp if protocol == 6 else udp)
    return head.ljust(size, b"\x5a")


def write_matching(path: Path, packets: int, every: int = 2) -> None:
    """IMIX of which one in `every` matches."""
    sizes = (64, 570, 64, 64, 570, 64, 1518, 64, 570, 64, 570, 64)
    block = bytearray()
    for number in range(BLOCK):
        data = frame(number, sizes[number * 7 % 12], every)
        block += struct.pack("<IIII", 1_700_000_000, number, len(data), len(data)) + data
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for _ in range(packets // BLOCK):
            out.write(block)
