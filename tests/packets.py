"""Deterministic packets of many shapes for differential tests, built with struct alone.

:func:`varied` gives the same list for the same arguments.  Frames are Ethernet, at least 14 bytes
(what the kernel's test run takes; see :mod:`kernel`) and at most 3,000.  Checksums of complete
IPv4, TCP, UDP and ICMP packets are valid; :func:`varied` then damages some of the packets on
purpose: cut at a layer's edge, bits flipped, lengths that lie, bytes appended.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

MIN_FRAME, MAX_FRAME = 14, 3000
ICMP, IGMP, IPIP, TCP, UDP, IPV6, GRE, ESP, ICMP6, SCTP = 1, 2, 4, 6, 17, 41, 47, 50, 58, 132
PORTS = (22, 23, 25, 53, 80, 123, 179, 443, 445, 853, 3389, 5060, 8080, 65535, 0)
_ODD_SIZES = (14, 15, 17, 33, 34, 35, 53, 54, 55, 59, 60, 61, 63, 64, 65, 127, 128, 129, 255, 256)
_LARGE_SIZES = (
    511,
    512,
    513,
    1023,
    1024,
    1499,
    1500,
    1501,
    1513,
    1514,
    1515,
    1518,
    2048,
    2999,
    3000,
)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of ``data``."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def mac(rng: random.Random) -> bytes:
    """Unicast, multicast or broadcast."""
    choice = rng.randrange(10)
    if choice == 0:
        return b"\xff" * 6
    if choice == 1:
        return b"\x01\x00\x5e" + rng.randbytes(3)
    return b"\x02" + rng.randbytes(5)


def eth(rng: random.Random, ethertype: int, payload: bytes, tags: tuple[int, ...] = ()) -> bytes:
    """Ethernet with any number of tags; the outer of several is 802.1ad."""
    out = mac(rng) + mac(rng)
    for place, tag in enumerate(tags):
        outer = place + 1 < len(tags)
        out += struct.pack(">HH", 0x88A8 if outer else 0x8100, tag)
    return out + struct.pack(">H", ethertype) + payload


def ip4_address(rng: random.Random) -> bytes:
    """Few enough that maps and prefix tables see the same address again."""
    network = rng.choice((b"\x0a\0", b"\xc0\xa8", b"\xac\x10", b"\xc0\0", b"\xcb\0", b"\x7f\0"))
    return network + bytes((rng.randrange(4), rng.randrange(16)))


def ip4(
    rng: random.Random,
    proto: int,
    payload: bytes,
    options: bytes = b"",
    fragment: int = 0,
    pair: bytes | None = None,
) -> bytes:
    """IPv4; ``options`` a multiple of 4 long, ``fragment`` the flags and offset word."""
    pair = ip4_address(rng) + ip4_address(rng) if pair is None else pair
    ihl = 5 + len(options) // 4
    head = struct.pack(
        ">BBHHHBB",
        0x40 | ihl,
        rng.choice((0, 0, 0x10, 0xB8, 1)),
        ihl * 4 + len(payload),
        rng.randrange(65536),
        fragment or rng.choice((0, 0x4000)),
        rng.choice((1, 64, 128, 255)),
        proto,
    )
    total = checksum(head + b"\0\0" + pair + options)
    return head + struct.pack(">H", total) + pair + options + payload


def ip6(rng: random.Random, proto: int, payload: bytes, extensions: int = 0) -> bytes:
    """IPv6 with ``extensions`` headers (hop-by-hop, routing, destination, fragment) before it."""
    kinds = [0, 60, 43, 60, 44]
    chain, following = payload, proto
    for kind in reversed(kinds[:extensions]):
        if kind == 44:
            offset = rng.choice((0, 1, 185 << 3))
            chain = struct.pack(">BBHI", following, 0, offset, rng.getrandbits(32)) + chain
        else:
            units = rng.randrange(3)
            chain = struct.pack(">BB", following, units) + bytes(6 + units * 8) + chain
        following = kind
    pair = b"".join(b"\x20\x01\x0d\xb8" + bytes(11) + bytes((rng.randrange(16),)) for _ in range(2))
    first = (6 << 28) | (rng.choice((0, 0xB8)) << 20) | rng.getrandbits(20)
    return (
        struct.pack(">IHBB", first, len(chain), following, rng.choice((1, 64, 255))) + pair + chain
    )


def _with_checksum(segment: bytes, at: int, pseudo: bytes) -> bytes:
    value = checksum(pseudo + segment) or 0xFFFF
    return segment[:at] + struct.pack(">H", value) + segment[at + 2 :]


def _pseudo(pair: bytes, proto: int, length: int) -> bytes:
    return pair + struct.pack(">BBH", 0, proto, length)


def ports(rng: random.Random) -> tuple[int, int]:
    """A client's and a server's port, in either order."""
    pair = (rng.randrange(1024, 65536), rng.choice(PORTS))
    return pair if rng.random() < 0.5 else pair[::-1]


def tcp4(rng: random.Random, data: bytes = b"", flags: int | None = None) -> bytes:
    """IPv4 TCP with any flags and options, checksums valid."""
    options = rng.choice((b"", b"\2\4\5\xb4", b"\1\1\x08\x0a" + rng.randbytes(8), bytes(40)))
    flags = rng.choice((2, 18, 16, 24, 17, 4, 20, 0, 41, 63, 194)) if flags is None else flags
    source, target = ports(rng)
    words = 5 + len(options) // 4
    segment = struct.pack(
        ">HHIIBBHHH", source, target, rng.getrandbits(32), rng.getrandbits(32),
        words << 4, flags, rng.randrange(65536), 0, 0,
    ) + options + data  # fmt: skip
    pair = ip4_address(rng) + ip4_address(rng)
    segment = _with_checksum(segment, 16, _pseudo(pair, TCP, len(segment)))
    return ip4(rng, TCP, segment, pair=pair)


def udp4(
    rng: random.Random,
    data: bytes,
    port: int | None = None,
    options: bytes = b"",
    zero: bool = False,
) -> bytes:
    """IPv4 UDP; ``zero``: without a checksum."""
    source, target = ports(rng)
    target = target if port is None else port
    segment = struct.pack(">HHHH", source, target, 8 + len(data), 0) + data
    pair = ip4_address(rng) + ip4_address(rng)
    if not zero:
        segment = _with_checksum(segment, 6, _pseudo(pair, UDP, len(segment)))
    return ip4(rng, UDP, segment, options, pair=pair)


def icmp4(rng: random.Random) -> bytes:
    """Echo, or an error that quotes an IPv4 packet."""
    if rng.random() < 0.6:
        body = struct.pack(">BBHHH", rng.choice((0, 8)), 0, 0, 7, rng.randrange(65536))
        body += rng.randbytes(rng.randrange(57))
    else:
        body = struct.pack(">BBHI", rng.choice((3, 11, 12)), rng.randrange(4), 0, 0)
        body += udp4(rng, b"quoted")[:28]
    return ip4(rng, ICMP, body[:2] + struct.pack(">H", checksum(body)) + body[4:])


def arp(rng: random.Random) -> bytes:
    """Request or reply."""
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, rng.choice((1, 2)))
    return head + mac(rng) + ip4_address(rng) + mac(rng) + ip4_address(rng)


def _data(rng: random.Random) -> bytes:
    size = rng.choice((0, 1, 2, 3, 7, 12, 18, 64, 65, 200, 511, 1000, 1400, 1460, 2500))
    return rng.randbytes(size)


def _dns(rng: random.Random) -> bytes:
    name = b"".join(
        bytes((len(x),)) + x for x in rng.choice(((b"a",), (b"www", b"example", b"org")))
    )
    head = struct.pack(">6H", rng.randrange(65536), rng.choice((0x0100, 0x8180)), 1, 0, 0, 0)
    return head + name + b"\0" + struct.pack(">HH", rng.choice((1, 28, 15, 255)), 1)


def _options(rng: random.Random) -> bytes:
    return rng.choice((b"\1\1\1\0", b"\x94\4\0\0", b"\7\x07\4" + bytes(5), b"\1" * 40))


def _tags(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.choice((0, 1, 100, 4095)) | rng.randrange(8) << 13 for _ in range(count))


def _inner(rng: random.Random) -> tuple[int, bytes]:
    """An ethertype and a packet for the inside of VLANs and tunnels."""
    if rng.random() < 0.3:
        return 0x86DD, ip6(rng, UDP, struct.pack(">HHHH", 53, 1234, 8, 0), rng.randrange(3))
    return 0x0800, rng.choice((tcp4(rng, b"inner"), udp4(rng, b"inner"), icmp4(rng)))


def _gre(rng: random.Random) -> bytes:
    flags = rng.choice((0, 0x2000, 0x8000, 0x1000, 0x3000, 0xB000))
    optional = b"".join(rng.randbytes(4) for bit in (0x8000, 0x2000, 0x1000) if flags & bit)
    kind, packet = _inner(rng)
    return ip4(rng, GRE, struct.pack(">HH", flags, kind) + optional + packet)


def _overlay(rng: random.Random) -> bytes:
    kind, packet = _inner(rng)
    frame = eth(rng, kind, packet)
    if rng.random() < 0.5:
        vni = struct.pack(">II", 1 << 27, rng.getrandbits(24) << 8)
        return udp4(rng, vni + frame, 4789, zero=True)
    words = rng.randrange(3)
    head = struct.pack(">BBHI", words, 0, 0x6558, rng.getrandbits(24) << 8) + bytes(4 * words)
    return udp4(rng, head + frame, 6081, zero=True)


def _mpls(rng: random.Random) -> bytes:
    depth = rng.randrange(1, 4)
    labels = [(rng.getrandbits(20) << 12) | (i == depth - 1) << 8 | 64 for i in range(depth)]
    return struct.pack(f">{depth}I", *labels) + _inner(rng)[1]


def _six_plain(rng: random.Random) -> bytes:
    source, target = ports(rng)
    data = _data(rng)
    if rng.random() < 0.5:
        return ip6(rng, UDP, struct.pack(">HHHH", source, target, 8 + len(data), 1) + data)
    head = struct.pack(">HHIIBBHHH", source, target, 1, 2, 0x50, rng.choice((2, 16, 24)), 9, 1, 0)
    return ip6(rng, TCP, head + data)


Maker = Callable[[random.Random], bytes]

MAKERS: dict[str, Maker] = {
    "arp": lambda r: eth(r, 0x0806, arp(r)),
    "tcp": lambda r: eth(r, 0x0800, tcp4(r, _data(r))),
    "syn": lambda r: eth(r, 0x0800, tcp4(r, flags=2)),
    "telnet": lambda r: eth(r, 0x0800, tcp4(r, b"login: ", flags=24)),
    "udp": lambda r: eth(r, 0x0800, udp4(r, _data(r), zero=r.random() < 0.2)),
    "dns": lambda r: eth(r, 0x0800, udp4(r, _dns(r), 53)),
    "icmp": lambda r: eth(r, 0x0800, icmp4(r)),
    "ip-options": lambda r: eth(r, 0x0800, udp4(r, _data(r), options=_options(r))),
    "ip-other": lambda r: eth(
        r, 0x0800, ip4(r, r.choice((0, IGMP, ESP, SCTP, 89, 255)), r.randbytes(r.randrange(40)))
    ),
    "fragment-first": lambda r: eth(r, 0x0800, ip4(r, UDP, r.randbytes(200), fragment=0x2000)),
    "fragment-next": lambda r: eth(r, 0x0800, ip4(r, TCP, r.randbytes(64), fragment=0x2019)),
    "fragment-last": lambda r: eth(r, 0x0800, ip4(r, UDP, r.randbytes(9), fragment=0x0032)),
    "ipv6": lambda r: eth(r, 0x86DD, _six_plain(r)),
    "ipv6-extensions": lambda r: eth(
        r, 0x86DD, ip6(r, r.choice((TCP, UDP, ICMP6, 59)), r.randbytes(40), r.randrange(1, 6))
    ),
    "icmpv6": lambda r: eth(
        r, 0x86DD, ip6(r, ICMP6, bytes((r.choice((128, 129, 134, 135, 136)),)) + r.randbytes(31))
    ),
    "vlan": lambda r: eth(r, *_inner(r), tags=_tags(r, 1)),
    "qinq": lambda r: eth(r, *_inner(r), tags=_tags(r, r.choice((2, 2, 3)))),
    "mpls": lambda r: eth(r, 0x8847, _mpls(r)),
    "gre": lambda r: eth(r, 0x0800, _gre(r)),
    "ipip": lambda r: eth(r, 0x0800, ip4(r, IPIP, tcp4(r, b"inner"))),
    "sixinfour": lambda r: eth(r, 0x0800, ip4(r, IPV6, _six_plain(r))),
    "overlay": lambda r: eth(r, 0x0800, _overlay(r)),
    "llc": lambda r: eth(r, 38, b"\x42\x42\x03" + r.randbytes(35) + bytes(8)),
    "unknown": lambda r: eth(
        r, r.choice((0x88CC, 0x8863, 0x05FF, 0x0600, 0xFFFF)), r.randbytes(46)
    ),
    "garbage": lambda r: r.randbytes(r.choice(_ODD_SIZES + _LARGE_SIZES)),
    "constant": lambda r: bytes((r.choice((0, 0xFF, 0x45)),)) * r.choice(_ODD_SIZES + _LARGE_SIZES),
}
"""Name to maker; every maker takes a generator of random numbers and gives one frame."""


def _resized(rng: random.Random, frame: bytes) -> bytes:
    """Cut or filled to an awkward size."""
    size = rng.choice(_ODD_SIZES + _LARGE_SIZES)
    return frame[:size] + rng.randbytes(max(0, size - len(frame)))


def _flipped(rng: random.Random, frame: bytes) -> bytes:
    """Some bits of the first 64 bytes changed: types, lengths, header lengths, flags."""
    out = bytearray(frame)
    for _ in range(rng.randrange(1, 4)):
        out[rng.randrange(min(len(out), 64))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _lying(rng: random.Random, frame: bytes) -> bytes:
    """Version, header length or total length of what may be an IP header made wrong."""
    if len(frame) < 20:
        return frame
    out = bytearray(frame)
    if rng.random() < 0.5:
        out[14] = rng.choice((0x40, 0x41, 0x44, 0x46, 0x4F, 0x60, 0x05, 0xF5))
    else:
        out[16:18] = struct.pack(">H", rng.choice((0, 19, 20, 21, 28, 1500, 65535)))
    return bytes(out)


def truncations(frame: bytes) -> list[bytes]:
    """The frame cut at, just before and just after the usual layer edges, 14 bytes and up."""
    edges = (14, 18, 22, 34, 38, 42, 54, 58, 62, 74)
    sizes = sorted({edge + d for edge in edges for d in (-1, 0, 1)})
    return [frame[:size] for size in sizes if MIN_FRAME <= size < len(frame)]


def varied(n: int, seed: int = 1) -> list[bytes]:
    """``n`` frames: every maker in turn, whole first, then more and more often damaged."""
    rng = random.Random(seed)
    names = sorted(MAKERS)
    out: list[bytes] = []
    for index in range(n):
        frame = MAKERS[names[index % len(names)]](rng)
        if index >= len(names):
            damage = rng.randrange(12)
            if damage == 0:
                frame = rng.choice(truncations(frame) or [frame])
            elif damage == 1:
                frame = frame[: rng.randrange(MIN_FRAME, len(frame) + 1)]
            elif damage == 2:
                frame = _resized(rng, frame)
            elif damage == 3:
                frame = _flipped(rng, frame)
            elif damage == 4:
                frame = _lying(rng, frame)
            elif damage == 5:
                frame = frame.ljust(60, b"\0")
        out.append(frame[:MAX_FRAME])
    return out
