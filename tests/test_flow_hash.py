"""The flow hash against an implementation of its own written from the header's text, over scapy's packets."""

from __future__ import annotations

import ipaddress
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pktfilter._core.trial import flow_hash

scapy = pytest.importorskip("scapy.all", reason="these packets are made with scapy")

M64 = (1 << 64) - 1
PORTS = {6, 17, 33, 132, 136}
ECHO = {1: (8, 0), 58: (128, 129)}


def mix(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & M64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & M64
    return x ^ x >> 31


def ports_of(protocol: int, rest: bytes) -> tuple[bytes, bytes]:
    if protocol in PORTS and len(rest) >= 4:
        return rest[:2], rest[2:4]
    if protocol in ECHO and len(rest) >= 6 and rest[0] in ECHO[protocol]:
        return rest[4:6], rest[4:6]
    return b"\0\0", b"\0\0"


def key_of(frame: bytes) -> tuple[int, bytes, bytes]:
    """(kind, endpoint, endpoint), each endpoint 16 bytes of address and 2 of port."""
    if len(frame) < 14:
        return 0, bytes(18), bytes(18)
    at = 12
    for _ in range(8):
        if frame[at : at + 2] not in (b"\x81\x00", b"\x88\xa8", b"\x91\x00") or len(frame) < at + 6:
            break
        at += 4
    (kind,) = struct.unpack_from(">H", frame, at)
    ip = frame[at + 2 :]
    none = (b"\0\0", b"\0\0")
    if kind == 0x0800 and len(ip) >= 20 and ip[0] >> 4 == 4 and ip[0] & 15 >= 5:
        fragment = struct.unpack_from(">H", ip, 6)[0] & 0x3FFF
        whole = not fragment and len(ip) >= (ip[0] & 15) * 4
        a, b = ports_of(ip[9], ip[(ip[0] & 15) * 4 :]) if whole else none
        return kind << 8 | ip[9], ip[12:16] + bytes(12) + a, ip[16:20] + bytes(12) + b
    if kind == 0x86DD and len(ip) >= 40 and ip[0] >> 4 == 6:
        following, rest, fragment = ip[6], ip[40:], 0
        for _ in range(8):
            if following == 44:
                size = 8
            elif following in (0, 43, 60, 135) and len(rest) >= 2:
                size = (rest[1] + 1) * 8
            elif following == 51 and len(rest) >= 2:
                size = (rest[1] + 2) * 4
            else:
                break
            if size > len(rest):
                break
            fragment = following == 44 and struct.unpack_from(">H", rest, 2)[0] & 0xFFF9
            following, rest = rest[0], rest[size:]
            if fragment:
                break
        a, b = none if fragment else ports_of(following, rest)
        return kind << 8 | following, ip[8:24] + a, ip[24:40] + b
    return kind << 8, frame[6:12] + bytes(12), frame[0:6] + bytes(12)


def expected(frame: bytes, seed: int) -> int:
    kind, a, b = key_of(frame)
    a, b = sorted((a, b))
    h = mix((seed + kind * 0x9E3779B97F4A7C15 + 1) & M64)
    for part in (a, b):
        for at, size in ((0, 8), (8, 8), (16, 2)):
            h = mix(h ^ int.from_bytes(part[at : at + size], "big"))
    return h


def frames() -> list[tuple[str, bytes, bytes]]:
    """(name, packet, the same connection's packet the other way)."""
    s = scapy
    found = []

    def add(name: str, there: object, back: object) -> None:
        found.append((name, bytes(there), bytes(back)))  # type: ignore[call-overload]

    def eth(back: bool = False) -> object:
        a, b = "02:00:00:00:00:01", "02:00:00:00:00:02"
        return s.Ether(src=b, dst=a) if back else s.Ether(src=a, dst=b)

    def ip4(back: bool = False, **fields: object) -> object:
        a, b = "10.9.8.7", "10.1.2.3"
        return s.IP(src=b, dst=a, **fields) if back else s.IP(src=a, dst=b, **fields)

    def ip6(back: bool = False) -> object:
        a, b = "2001:db8::1", "fe80::2"
        return s.IPv6(src=b, dst=a) if back else s.IPv6(src=a, dst=b)

    for name, layer in (("tcp", s.TCP), ("udp", s.UDP), ("sctp", s.SCTP)):
        there, back = layer(sport=4000, dport=80), layer(sport=80, dport=4000)
        add(f"ip4 {name}", eth() / ip4() / there, eth(True) / ip4(True) / back)
        add(f"ip6 {name}", eth() / ip6() / there, eth(True) / ip6(True) / back)
        tag, outer = s.Dot1Q(vlan=5), s.Dot1AD(vlan=9)
        add(f"vlan {name}", eth() / tag / ip4() / there, eth(True) / ip4(True) / back)
        add(f"qinq {name}", eth() / outer / tag / ip6() / there, eth(True) / tag / ip6(True) / back)
        option = s.IPOption(b"\x94\x04\x00\x00")
        add(f"options {name}", eth() / ip4(options=[option]) / there, eth(True) / ip4(True) / back)
        chain = s.IPv6ExtHdrHopByHop() / s.IPv6ExtHdrDestOpt(options=[s.PadN(optdata=b"x" * 12)])
        add(f"chain {name}", eth() / ip6() / chain / there, eth(True) / ip6(True) / back)
        whole = s.IPv6ExtHdrFragment(offset=0, m=0, id=7)
        add(f"atomic {name}", eth() / ip6() / whole / there, eth(True) / ip6(True) / back)
    add(
        "ip4 fragments",
        eth() / ip4(flags="MF") / s.UDP(sport=1, dport=2),
        eth(True) / ip4(True, frag=60, proto=17) / b"no ports here",
    )
    add(
        "ip6 fragments",
        eth() / ip6() / s.IPv6ExtHdrFragment(m=1, id=7) / s.UDP(sport=1, dport=2),
        eth(True) / ip6(True) / s.IPv6ExtHdrFragment(offset=9, id=7, nh=17) / b"no ports here",
    )
    add("echo", eth() / ip4() / s.ICMP(id=7), eth(True) / ip4(True) / s.ICMP(type=0, id=7, seq=3))
    add(
        "echo6",
        eth() / ip6() / s.ICMPv6EchoRequest(id=7),
        eth(True) / ip6(True) / s.ICMPv6EchoReply(id=7, seq=3),
    )
    add("arp", eth() / s.ARP(), eth(True) / s.ARP(op=2))
    return found


@pytest.mark.parametrize("name, there, back", frames(), ids=[f[0] for f in frames()])
def test_both_directions_and_the_value(name: str, there: bytes, back: bytes) -> None:
    for seed in (0, 1, M64):
        assert flow_hash(there, seed) == flow_hash(back, seed) == expected(there, seed)


@pytest.mark.parametrize("name, there, back", frames(), ids=[f[0] for f in frames()])
def test_every_truncation(name: str, there: bytes, back: bytes) -> None:
    for length in range(len(there)):
        assert flow_hash(there[:length], 3) == expected(there[:length], 3), length


def test_different_connections_differ() -> None:
    """Over 20,000 connections no two 64-bit hashes are equal, and one in 20 falls below a twentieth."""
    rng = random.Random(1)
    seen, below = set(), 0
    for _ in range(20_000):
        a, b = (ipaddress.IPv4Address(rng.getrandbits(32)).packed for _ in range(2))
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + a + b
        packet = bytes(12) + b"\x08\x00" + ip + struct.pack(">HH", rng.getrandbits(16), 443)
        value = flow_hash(packet)
        seen.add(value)
        below += value >> 32 < (1 << 32) // 20
    assert len(seen) == 20_000
    assert abs(below - 1000) < 5 * (20_000 * 0.05 * 0.95) ** 0.5


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.integers(0, M64), st.sampled_from([0, 1, 2, 3]))
def test_any_bytes(data: bytes, seed: int, shape: int) -> None:
    """Noise, and noise behind the beginnings of IP packets."""
    head = (b"", b"\x08\x00\x45", b"\x86\xdd\x60", b"\x81\x00\x00\x07\x86\xdd\x60")[shape]
    frame = bytes(12) + head + data if head else data
    assert flow_hash(frame, seed) == expected(frame, seed)
