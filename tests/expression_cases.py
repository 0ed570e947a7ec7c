"""Expressions that use every part of classic BPF, and packets that lead deep into them."""

from __future__ import annotations

import random
import struct

ETHERNET, NULL, RAW = 1, 0, 101

EXPRESSIONS = [
    "tcp port 443 and not (tcp[tcpflags] & tcp-syn != 0)",
    "ip6 protochain 6 or tcp",
    "ip protochain 17",
    "vlan and vlan 5 and host 10.0.0.1",
    "len - 14 > ip[2:2]",
    "ether[ip[1] << 2] = 7 or ip[ip[0:4] & 31:4] > ether[13] * 3 - ip[3] / 2 % 5",
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
    "not ip[6:2] & 0x1fff = 0 and greater 60",
    "geneve and tcp",
    "pppoes 4 and ip6 host ::1",
    "mpls 100 and mpls and ip",
    "ip[1] = 0 or ip[1] ^ 0xff = ip[2] | 3",
]


def packets(seed: int) -> list[bytes]:
    """Headers that lead deep into the expressions, with random fields and lengths."""
    r = random.Random(seed)
    out = []
    for _ in range(120):
        kind = r.choice(
            [b"\x08\x00", b"\x86\xdd", b"\x81\x00\x00\x05\x08\x00", b"\x88\x47\x00\x06\x40\x40\x00\x06\x41\x40",
             b"\x88\x64\x11\x00\x00\x04\x00\x20\x00\x57", b"\x81\x00\x00\x01\x81\x00\x00\x05\x08\x00"]
        )  # fmt: skip
        body = bytearray(r.randbytes(r.randint(0, 120)))
        if body:
            body[0] = r.choice([0x45, 0x46, 0x60, 0x4F, body[0]])
        for at, choices in (
            (6, (0, 43, 44, 51, 60, 6, 17)),
            (9, (6, 17, 51, 4)),
            (40, (0, 6, 51, 60, 17)),
            (41, (0, 1, 2)),
        ):
            if at < len(body) and r.random() < 0.8:
                body[at] = r.choice(choices)
        packet = r.randbytes(12) + kind + bytes(body)
        out.append(packet[: r.randint(0, len(packet))] if r.random() < 0.3 else packet)
    return out


def ipv4(protocol: int = 17, source_port: int = 53, length: int = 0) -> bytes:
    """An IPv4 packet with ports; `length` pads it."""
    udp = struct.pack(">HHHH", source_port, 4000, 8, 0)
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2"
    )
    return (header + udp).ljust(length, b"\0")


def framed(linktype: int, packet: bytes) -> bytes:
    """The packet behind this link type's header."""
    if linktype == ETHERNET:
        return b"\2" * 12 + b"\x08\0" + packet
    return struct.pack("=I", 2) + packet if linktype == NULL else packet
