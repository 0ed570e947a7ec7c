"""Frames of protocols that few programs speak, complete with their options, for the scored corpus."""

from __future__ import annotations

import random
import struct

import packets
from packets import ICMP6, SCTP, TCP, UDP, Maker, eth, ip4, ip6, udp4


def _inner(rng: random.Random) -> bytes:
    return rng.choice((packets.tcp4(rng, b"inner"), udp4(rng, b"inner"), packets.icmp4(rng)))


def _dhcp(rng: random.Random) -> bytes:
    options = [bytes((53, 1, rng.choice((1, 2, 5)))), bytes((54, 4)) + packets.ip4_address(rng)]
    options += [b"\0", bytes((12, 5)) + b"hosts", bytes((82, 20)) + bytes(20)]
    if rng.random() < 0.1:
        options.append(b"\x07\0")
    rng.shuffle(options)
    body = struct.pack(">BBBB", 2, 1, 6, 0) + rng.randbytes(232) + b"\x63\x82\x53\x63"
    data = body + b"".join(options) + b"\xff"
    head = struct.pack(">HHHH", 67, 68, 8 + len(data), 0)
    return eth(rng, 0x0800, ip4(rng, UDP, head + data))


def _gtpu(rng: random.Random) -> bytes:
    flags = rng.choice((0x30, 0x32, 0x34, 0x36, 0x20))
    optional = b""
    if flags & 7:
        steps = rng.randrange(3)
        optional = struct.pack(">HBB", 1, 0, 0x85 if steps else 0)
        for step in range(steps):
            optional += bytes((1, 0, rng.randrange(64), 0 if step == steps - 1 else 0x85))
    inner = _inner(rng)
    head = struct.pack(">BBHI", flags, rng.choice((255, 255, 255, 1)), len(inner), rng.randrange(6))
    return eth(rng, 0x0800, udp4(rng, head + optional + inner, 2152))


def _pppoe(rng: random.Random) -> bytes:
    six = rng.random() < 0.3
    inner = ip6(rng, UDP, struct.pack(">HHHH", 1, 2, 8, 0)) if six else _inner(rng)
    code = rng.choice((0, 0, 0, 9))
    proto = rng.choice((0x57 if six else 0x21,) * 4 + (0xC021,))
    head = struct.pack(">BBHHH", 0x11, code, rng.randrange(5), len(inner) + 2, proto)
    return eth(rng, 0x8864, head + inner)


def _quic(rng: random.Random) -> bytes:
    first = rng.choice((0x40, 0x5F, 0xC0, 0xE3, 0x00))
    ident = bytes((0, 0, rng.randrange(4), rng.randrange(4))) + rng.randbytes(4)
    if first & 0x80:
        size = rng.choice((8, 8, 20, 3))
        data = struct.pack(">BIB", first, 1, size) + ident.ljust(size, b"\1")[:size] + b"\0"
    else:
        data = bytes((first,)) + ident
    return eth(rng, 0x0800, udp4(rng, data + rng.randbytes(40), 443))


def _sctp(rng: random.Random) -> bytes:
    chunks = b""
    for _ in range(rng.randrange(1, 6)):
        size = rng.choice((0, 4, 12, 17))
        chunks += struct.pack(">BBH", rng.choice((0, 1, 2, 3, 10, 130)), 0, 4 + size)
        chunks += rng.randbytes(size + -size % 4)
    source, target = packets.ports(rng)
    return eth(rng, 0x0800, ip4(rng, SCTP, struct.pack(">HHII", source, target, 7, 0) + chunks))


def _neighbour(rng: random.Random) -> bytes:
    station = b"\x02" + rng.randbytes(5)
    told = station if rng.random() < 0.8 else rng.randbytes(6)
    target = b"\x20\x01\x0d\xb8" + bytes(11) + bytes((rng.randrange(8),))
    options = b"".join(
        (b"\2\1" + told, b"\x05\1" + bytes(6), b"\x0e\2" + bytes(14))[i]
        for i in range(rng.randrange(4))
    )
    kind = rng.choice((136, 136, 135))
    body = struct.pack(">BBHI", kind, 0, 0, 0x60000000) + target + options
    packet = bytearray(ip6(rng, ICMP6, body))
    packet[7] = rng.choice((255, 255, 255, 64))
    return b"\x33\x33\0\0\0\1" + station + b"\x86\xdd" + bytes(packet)


def _geneve(rng: random.Random) -> bytes:
    options = b""
    for _ in range(rng.randrange(4)):
        words = rng.randrange(3)
        kind = rng.choice((1, 2, 3, 0x81))
        options += struct.pack(">HBB", rng.choice((0x0102, 0x0104, 0xFFFF)), kind, words)
        options += bytes(4 * words)
    head = struct.pack(">BBHI", len(options) // 4, 0, 0x6558, rng.randrange(9) << 8)
    inner = eth(rng, 0x0800, _inner(rng))
    return eth(rng, 0x0800, udp4(rng, head + options + inner, 6081, zero=True))


def _vxlan(rng: random.Random) -> bytes:
    head = struct.pack(">II", rng.choice((1 << 27, 1 << 27, 0)), rng.randrange(9) << 8)
    inner = eth(rng, 0x0800, _inner(rng), (5,) if rng.random() < 0.2 else ())
    return eth(rng, 0x0800, udp4(rng, head + inner, 4789, zero=True))


def _mpls(rng: random.Random) -> bytes:
    depth = rng.randrange(1, 8)
    words = [rng.randrange(16, 21) << 12 | (i == depth - 1) << 8 | 64 for i in range(depth)]
    return eth(rng, 0x8847, struct.pack(f">{depth}I", *words) + _inner(rng))


def _six_tcp(rng: random.Random) -> bytes:
    source, target = packets.ports(rng)
    flags = rng.choice((2, 2, 16, 24, 18, 17))
    options = rng.choice((b"", b"\2\4\5\xb4", b"\2\4\x05\xa0\1\3\3\7\4\2\0\0"))
    words = 5 + len(options) // 4
    head = struct.pack(">HHIIBBHHH", source, target, 1, 2, words << 4, flags, 9, 0, 0)
    return eth(rng, 0x86DD, ip6(rng, TCP, head + options, rng.choice((0, 0, 0, 1))))


def _cut_quote(rng: random.Random) -> bytes:
    """An ICMP error about a packet that the program may have sent."""
    quoted = packets.tcp4(rng, bytes(8))[: rng.choice((20, 24, 28, 60))]
    kind, code = rng.choice(((3, 4), (3, 3), (11, 0)))
    body = struct.pack(">BBHHH", kind, code, 0, 0, 1400) + quoted
    total = packets.checksum(body)
    return eth(rng, 0x0800, ip4(rng, packets.ICMP, body[:2] + struct.pack(">H", total) + body[4:]))


def _knock(rng: random.Random) -> bytes:
    """One of a few flows, so that programs see the same flow again, at any stage of it."""
    who = rng.randrange(4)
    pair = bytes((10, 0, 0, who, 192, 168, 0, 1))
    flags = rng.choice((2, 18, 16, 24, 17, 4))
    port = rng.choice((7000, 8000, 9000, 22, 80))
    head = struct.pack(">HHIIBBHHH", 4000 + who, port, 5, 6, 0x50, flags, 512, 0, 0)
    tags = (100,) if rng.random() < 0.1 else ()
    return eth(
        rng, 0x0800, ip4(rng, TCP, head + rng.randbytes(rng.choice((0, 6))), pair=pair), tags
    )


def _hello(rng: random.Random) -> bytes:
    """The beginning of a TLS handshake."""
    session, suites = rng.choice((0, 32, 33)), 2 * rng.choice((0, 1, 8, 300))
    body = struct.pack(">BBHH", rng.choice((1, 1, 1, 2)), 0, 200, 0x0303) + bytes(32)
    body += bytes((session,)) + bytes(session) + struct.pack(">H", suites) + bytes(suites) + b"\1\0"
    data = struct.pack(">BHH", rng.choice((22, 22, 22, 23)), 0x0301, len(body)) + body
    head = struct.pack(">HHIIBBHHH", 4000, 443, 1, 2, 0x50, 24, 9, 0, 0)
    return eth(rng, 0x0800, ip4(rng, TCP, head + data))


def _dns_any(rng: random.Random) -> bytes:
    """A question for everything, as amplification attacks ask it."""
    name = rng.choice((b"\1a\2de\0", b"\0", b"\3www\7example\3org\0"))
    head = struct.pack(">6H", 7, rng.choice((0x0100, 0x0100, 0x8180)), 1, 0, 0, 0)
    kind = rng.choice((255, 255, 1))
    return eth(rng, 0x0800, udp4(rng, head + name + struct.pack(">HH", kind, 1), 53))


def _nested(rng: random.Random) -> bytes:
    """Up to five tunnels in one another, then TCP with options, an error or something unknown."""
    options = rng.choice(
        (b"\2\4\5\xb4\4\2\1\1", b"\1\3\3\7\x08\x0a" + bytes(8) + b"\0\0", b"\x07\1\0\0")
    )
    words = 5 + len(options) // 4
    head = struct.pack(">HHIIBBHHH", 1, 2, 3, 4, words << 4, 16, 9, 0, 0)
    kind, packet = rng.choice(((TCP, head + options), (packets.ICMP, bytes(8)), (99, bytes(4))))
    six = False
    for depth in range(rng.randrange(2, 7)):
        six = rng.random() < 0.3
        if six:
            packet = ip6(rng, kind, packet, rng.choice((0, 0, 1, 3, 4)))
        else:
            packet = ip4(rng, kind, packet, bytes(4) if rng.random() < 0.2 else b"")
        proto = 0x86DD if six else 0x0800
        if depth and rng.random() < 0.4:
            port, over = rng.choice(((4789, 1 << 27), (6081, 0x6558)))
            inner = eth(rng, proto, packet, (7,) if rng.random() < 0.3 else ())
            data = struct.pack(">II", over, 5 << 8) + inner
            kind, packet = UDP, struct.pack(">HHHH", 9, port, 8 + len(data), 0) + data
        elif rng.random() < 0.4:
            flags = rng.choice((0, 0x2000, 0x8000))
            more = bytes(4) if flags else b""
            kind, packet = packets.GRE, struct.pack(">HH", flags, proto) + more + packet
        else:
            kind = packets.IPV6 if six else packets.IPIP
    return eth(rng, 0x0800, ip4(rng, kind, packet))


MAKERS: dict[str, Maker] = {
    "dhcp": _dhcp,
    "dns-any": _dns_any,
    "flow": _knock,
    "geneve": _geneve,
    "gtpu": _gtpu,
    "hello": _hello,
    "icmp-quote": _cut_quote,
    "ipv6-tcp": _six_tcp,
    "mpls": _mpls,
    "neighbour": _neighbour,
    "nested": _nested,
    "pppoe": _pppoe,
    "quic": _quic,
    "sctp": _sctp,
    "vxlan": _vxlan,
}


def rare(count: int, seed: int) -> list[bytes]:
    """`count` frames, the makers in turn; every eighth is cut somewhere."""
    rng = random.Random(seed)
    names = sorted(MAKERS)
    made = []
    for index in range(count):
        frame = MAKERS[names[index % len(names)]](rng)
        if index % 8 == 7:
            frame = frame[: rng.randrange(packets.MIN_FRAME, len(frame) + 1)]
        made.append(frame)
    return made
