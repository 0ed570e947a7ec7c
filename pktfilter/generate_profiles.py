"""What the generated captures hold: packet kinds and the profiles that mix them.

A :class:`Kind` is a header template whose varying fields are zero, plus where they are; the
generator fills them for many packets at once.  Frame lengths are those stored in a capture, that
is without the four FCS octets: the "64-byte" frame of a standard is stored as 60 bytes.

Sources: frame sizes of RFC 2544 section 9.1 and its addresses 198.18.0.0/15 (RFC 2544 appendix
C.2.2); IMIX_v4_1 of FD.io CSIT ("28x64B,16x570B,4x1518B"); the simple IMIX 7:4:1 as in Cisco
TRex's ``stl/imix.py`` (60, 590 and 1514 stored); notation and purpose of IMIX: RFC 6985.  The
backbone sizes are a router's NetFlow histogram of 43 billion packets, published on the NANOG list
("Avg. Packet Size - Again?").  The shares of ``mix`` are round numbers chosen here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_MACS = bytes.fromhex("020000000002 020000000001")
_TIMESTAMPS = bytes.fromhex("0101080a 00000001 00000001")
_SYN_OPTIONS = bytes.fromhex("020405b4 0402080a 00000001 00000000 01030307")


@dataclass(frozen=True)
class Kind:
    """One kind of packet.

    Invariants: ``header`` has even length, no longer than the smallest size; ``sizes`` holds
    ``(low, high, weight)`` with inclusive stored frame lengths, uniform between them.
    """

    name: str
    header: bytes
    sizes: tuple[tuple[int, int, int], ...]
    version: int = 0
    """4 or 6 when the IP header at ``ip`` is filled per packet, else 0."""
    ip: int = 14
    proto: int = 0
    """Transport whose ports, lengths and checksum are filled; 0 leaves it as in the template."""
    l4: int = 0
    port: int = 0
    """The server's port; 0 takes one from the flow."""
    reverse: bool = False
    """From the server to the client."""
    spoofed: bool = False
    """Source address and port of every packet are its own; one victim."""
    ip_len: int = 0
    """Length of the IP packet in a padded frame; 0: all of the frame."""
    noise: tuple[int, ...] = ()
    """Offsets of 16-bit words that differ per packet (DNS id, ICMP sequence number)."""

    def __post_init__(self) -> None:
        if len(self.header) % 2 or any(len(self.header) > low for low, _, _ in self.sizes):
            raise ValueError(f"kind {self.name}: header of {len(self.header)} bytes does not fit")
        if any(at + 2 > len(self.header) or at % 2 for at in self.noise):
            raise ValueError(f"kind {self.name}: noise lies outside the header")

    @property
    def weight(self) -> int:
        """Weight of all its sizes."""
        return sum(weight for _, _, weight in self.sizes)


@dataclass(frozen=True)
class Profile:
    """A named mixture of kinds.  ``benchmark``: addresses from 198.18.0.0/15 (RFC 2544)."""

    name: str
    summary: str
    kinds: tuple[Kind, ...]
    benchmark: bool = False


def _eth(ethertype: int, *tags: int) -> bytes:
    """Ethernet header with VLAN tags; of two the outer has the 802.1ad type."""
    types = [0x88A8] * (len(tags) - 1) + [0x8100] * min(len(tags), 1)
    tagged = b"".join(struct.pack(">HH", kind, tag) for kind, tag in zip(types, tags, strict=True))
    return _MACS + tagged + struct.pack(">H", ethertype)


def _ip4(proto: int, frag: int = 0x4000, ttl: int = 64, length: int = 0) -> bytes:
    return struct.pack(">BBHHHBBHII", 0x45, 0, length, 0, frag, ttl, proto, 0, 0, 0)


def _ip6(proto: int, length: int = 0) -> bytes:
    return struct.pack(">IHBB32s", 6 << 28, length, proto, 64, bytes(32))


def _tcp(flags: int, options: bytes = b"") -> bytes:
    words = (20 + len(options)) // 4
    return struct.pack(">HHIIBBHHH", 0, 0, 0, 0, words << 4, flags, 64240, 0, 0) + options


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _inner() -> bytes:
    """A complete IPv4 UDP packet of 60 bytes for the inside of tunnels (no UDP checksum)."""
    addresses = bytes((10, 1, 0, 1, 10, 1, 0, 2))
    head = _ip4(UDP, length=60)[:12] + addresses
    head = head[:10] + struct.pack(">H", _checksum(head)) + addresses
    return head + struct.pack(">HHHH", 4000, 9, 40, 0) + bytes(range(32))


def _exact(header: bytes, weight: int) -> tuple[tuple[int, int, int], ...]:
    return ((len(header), len(header), weight),)


def _tcp4(
    name: str,
    port: int,
    sizes: tuple[tuple[int, int, int], ...] | int,
    flags: int = _ACK,
    data: bytes = b"",
    options: bytes = b"",
    tags: tuple[int, ...] = (),
    reverse: bool = False,
    spoofed: bool = False,
) -> Kind:
    """IPv4 TCP; ``sizes`` as an int is the weight of the frame that is just the header."""
    link = _eth(0x0800, *tags)
    header = link + _ip4(TCP) + _tcp(flags, options) + data
    length = 0
    if isinstance(sizes, int):
        length = len(header) - len(link) if len(header) < 60 else 0
        header = header.ljust(60, b"\0")
        sizes = _exact(header, sizes)
    return Kind(
        name, header, sizes, 4, len(link), TCP, len(link) + 20, port, reverse, spoofed, length
    )


def _udp4(
    name: str,
    port: int,
    sizes: tuple[tuple[int, int, int], ...] | int,
    data: bytes = b"",
    tags: tuple[int, ...] = (),
    reverse: bool = False,
    noise: tuple[int, ...] = (),
) -> Kind:
    link = _eth(0x0800, *tags)
    header = link + _ip4(UDP) + bytes(8) + data
    sizes = _exact(header, sizes) if isinstance(sizes, int) else sizes
    l4 = len(link) + 20
    return Kind(
        name,
        header,
        sizes,
        4,
        len(link),
        UDP,
        l4,
        port,
        reverse,
        noise=tuple(l4 + n for n in noise),
    )


def _six(
    name: str,
    proto: int,
    port: int,
    sizes: tuple[tuple[int, int, int], ...] | int,
    data: bytes,
    reverse: bool = False,
    noise: tuple[int, ...] = (),
) -> Kind:
    header = _eth(0x86DD) + _ip6(proto) + data
    sizes = _exact(header, sizes) if isinstance(sizes, int) else sizes
    places = tuple(54 + n for n in noise)
    return Kind(name, header, sizes, 6, 14, proto, 54, port, reverse, noise=places)


_QUESTION = b"\4mail\7example\3org\0" + struct.pack(">HH", 1, 1)
_DNS_QUERY = struct.pack(">6H", 0, 0x0100, 1, 0, 0, 0) + _QUESTION
_DNS_ANSWER = (
    struct.pack(">6H", 0, 0x8180, 1, 1, 0, 0)
    + _QUESTION
    + struct.pack(">HHHIH4s", 0xC00C, 1, 1, 300, 4, bytes((192, 0, 2, 25)))
)
_HTTP_GET = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\n\r\n"
_HTTP_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
_TLS_DATA = bytes.fromhex("170303 0100 00")
# SMB 2 NEGOTIATE for dialects 2.0.2 and 2.1, behind its NetBIOS length.
_SMB2 = (
    bytes.fromhex("00000068 fe534d42 4000 0000 00000000 0000 0100")
    + bytes(44)
    + struct.pack("<HHHHI24xHH", 36, 2, 1, 0, 0, 0x0202, 0x0210)
)


def _even(data: bytes) -> bytes:
    return data + b"\n" * (len(data) % 2)


def _mix_ipv4() -> list[Kind]:
    ts = _TIMESTAMPS
    push = _PSH | _ACK
    full = ((1514, 1514, 1500), (200, 1513, 700))
    web = ((1514, 1514, 450), (150, 1513, 250))
    return [
        _tcp4("https-data", 443, full, push, _TLS_DATA, ts, reverse=True),
        _tcp4("https-request", 443, ((120, 600, 500),), push, _TLS_DATA, ts),
        _tcp4("https-ack", 443, 1500, _ACK, b"", ts),
        _tcp4("http-get", 80, 300, push, _even(_HTTP_GET), ts),
        _tcp4("http-response", 80, web, push, _even(_HTTP_OK), ts, reverse=True),
        _tcp4("ssh", 22, ((90, 300, 300),), push, b"", ts),
        _tcp4("telnet", 23, 200, push, b"login:"),
        _tcp4("smb", 445, 250, push, _SMB2),
        _tcp4("syn", 443, 300, _SYN, b"", _SYN_OPTIONS),
        _tcp4("syn-ack", 443, 250, _SYN | _ACK, b"", _SYN_OPTIONS, reverse=True),
        _tcp4("fin", 443, 200, _FIN | _ACK, b"", ts),
        _tcp4("rst", 443, 50, _RST),
        _tcp4("syn-flood", 80, 500, _SYN, b"", b"\2\4\5\xb4", spoofed=True),
        _udp4("dns-query", 53, 250, _DNS_QUERY, noise=(8,)),
        _udp4("dns-response", 53, 250, _DNS_ANSWER, reverse=True, noise=(8,)),
        _udp4("quic", 443, ((1242, 1292, 500),), b"\x40\0\0\0", reverse=True, noise=(10,)),
        _udp4("ntp", 123, 50, b"\x23\0\6\xec" + bytes(44), noise=(48, 50, 52, 54)),
        _udp4("rtp", 0, ((214, 214, 200),), b"\x80\0\0\0", noise=(10,)),
        Kind(
            "ping", _eth(0x0800) + _ip4(ICMP) + b"\x08".ljust(8, b"\0"), ((98, 98, 50),),
            4, 14, ICMP, 34, noise=(38, 40),
        ),
        Kind(
            "pong", _eth(0x0800) + _ip4(ICMP) + bytes(8), ((98, 98, 50),),
            4, 14, ICMP, 34, reverse=True, noise=(38, 40),
        ),
        # A checksum over the whole datagram cannot be known from one fragment: 0 means none.
        Kind(
            "fragment-first",
            _eth(0x0800) + _ip4(UDP, 0x2000) + struct.pack(">HHHH", 5000, 5001, 3000, 0),
            ((1514, 1514, 25),), 4, 14, spoofed=True,
        ),
        Kind(
            "fragment-last", _eth(0x0800) + _ip4(UDP, 185), ((60, 1200, 25),), 4, 14, spoofed=True,
        ),
        _tcp4("vlan-data", 443, ((1518, 1518, 150),), push, _TLS_DATA, ts, (0x0064,), reverse=True),
        _tcp4("vlan-ack", 443, 100, _ACK, b"", ts, (0x6064,)),
        _udp4("vlan-rtp", 0, ((218, 218, 40),), b"\x80\0\0\0", (0xA0C8,), noise=(10,)),
        _udp4("qinq-dns", 53, 10, _DNS_QUERY, (0x0064, 0x000A), noise=(8,)),
    ]  # fmt: skip


def _mix_ipv6() -> list[Kind]:
    ack = _tcp(_ACK, _TIMESTAMPS)
    data = _tcp(_PSH | _ACK, _TIMESTAMPS) + _TLS_DATA
    solicit = struct.pack(">BBHI16s", 135, 0, 0, 0, bytes.fromhex("fe80" + "00" * 13 + "02"))
    jump = bytes.fromhex("3a00 0104 00000000")
    return [
        _six("ipv6-data", TCP, 443, ((1514, 1514, 300), (200, 1513, 100)), data, reverse=True),
        _six("ipv6-ack", TCP, 443, 340, ack),
        _six("ipv6-syn", TCP, 443, 20, _tcp(_SYN, _SYN_OPTIONS)),
        _six("ipv6-dns-query", UDP, 53, 80, bytes(8) + _DNS_QUERY, noise=(8,)),
        _six("ipv6-dns-response", UDP, 53, 80, bytes(8) + _DNS_ANSWER, True, (8,)),
        _six("ipv6-quic", UDP, 443, ((1262, 1262, 40),), bytes(8) + b"\x40\0\0\0", True, (10,)),
        _six("ipv6-solicit", ICMP6, 0, 20, solicit),
        _six("ipv6-ping", ICMP6, 0, ((118, 118, 10),), b"\x80" + bytes(7), noise=(4, 6)),
        Kind(
            "ipv6-hop-by-hop", _eth(0x86DD) + _ip6(0) + jump + b"\x80" + bytes(7),
            ((118, 118, 10),), 6, 14, ICMP6, 62,
        ),
    ]  # fmt: skip


def _mix_rest() -> list[Kind]:
    inner = _inner()
    ether = _MACS + b"\x08\0" + inner
    vxlan = struct.pack(">HHHHII", 49152, 4789, 16 + len(ether), 0, 1 << 27, 77 << 8) + ether
    geneve = struct.pack(">HHHHHHI", 49152, 6081, 16 + len(ether), 0, 0, 0x6558, 7 << 8) + ether
    arp = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + _MACS[6:] + bytes(4) + bytes(6) + bytes(4)
    reply = arp[:7] + b"\2" + arp[8:18] + _MACS[:6] + bytes(4)
    mpls = struct.pack(">I", (16 << 12) | 0x100 | 64)
    stp = bytes.fromhex("0180c2000000 020000000001 0026 424203 0000000000") + bytes(40)

    def tunnel(name: str, proto: int, data: bytes, weight: int) -> Kind:
        header = _eth(0x0800) + _ip4(proto) + data
        return Kind(name, header, _exact(header, weight), 4, 14)

    def plain(name: str, header: bytes, weight: int, noise: tuple[int, ...] = ()) -> Kind:
        header = header.ljust(60, b"\0")
        return Kind(name, header, _exact(header, weight), noise=noise)

    return [
        plain("arp-request", _eth(0x0806) + arp, 50, (28, 30, 38, 40)),
        plain("arp-reply", _eth(0x0806) + reply, 50, (28, 30, 38, 40)),
        plain("mpls", _eth(0x8847) + mpls + inner, 5),
        plain("stp", stp, 20),
        tunnel("gre", 47, b"\0\0\x08\0" + inner, 10),
        tunnel("ipip", 4, inner, 10),
        tunnel("vxlan", UDP, vxlan, 15),
        tunnel("geneve", UDP, geneve, 5),
        tunnel("sixinfour", 41, _ip6(59), 5),
        Kind(
            "igmp",
            (_eth(0x0800) + _ip4(2) + bytes.fromhex("16000904e00000fb")).ljust(60, b"\0"),
            ((60, 60, 5),), 4, 14, ip_len=28,
        ),
    ]  # fmt: skip


# Share of packets per IP length, in thousandths, for the bins between the two modes.
_BACKBONE_BINS = (
    (65, 96, 77), (97, 128, 43), (129, 160, 22), (161, 192, 12), (193, 224, 11), (225, 256, 6),
    (257, 288, 7), (289, 320, 4), (321, 352, 4), (353, 384, 5), (385, 416, 3), (417, 448, 3),
    (449, 480, 3), (481, 512, 5), (513, 544, 2), (545, 576, 7), (577, 1024, 21),
)  # fmt: skip


def _backbone() -> Profile:
    """First bin (33-64): drawn as 40 or 52; last (1025-1536): 1500 nine times in ten."""
    middle = tuple((low + 14, high + 14, share * 5) for low, high, share in _BACKBONE_BINS)
    large = ((1514, 1514, 3375), (1039, 1514, 375))
    kinds = (
        _tcp4("ack", 443, 1910),
        _tcp4("ack-timestamps", 443, 1910, options=_TIMESTAMPS),
        _tcp4("data", 443, middle + large, _PSH | _ACK, _TLS_DATA, reverse=True),
        _udp4("udp", 0, middle),
    )
    return Profile("backbone", "bimodal backbone sizes: 38 % at most 64, 38 % over 1024", kinds)


def _udp_profile(name: str, summary: str, *sizes: tuple[int, int]) -> Profile:
    kind = _udp4("udp", 0, tuple((size, size, weight) for size, weight in sizes))
    return Profile(name, summary, (kind,), benchmark=True)


@lru_cache(maxsize=1)
def profiles() -> dict[str, Profile]:
    """All profiles by name."""
    made = [
        _udp_profile(
            f"rfc2544_{size}", f"RFC 2544: {size} with FCS, {size - 4} stored", (size - 4, 1)
        )
        for size in (64, 128, 256, 512, 1024, 1280, 1518)
    ]
    made += [
        _udp_profile("64", "64-byte frames: 60 stored, without the FCS", (60, 1)),
        _udp_profile(
            "imix_csit_v4_1", "28x64 16x570 4x1518 with FCS", (60, 28), (566, 16), (1514, 4)
        ),
        _udp_profile(
            "imix_simple", "7:4:1 of 60, 590 and 1514 stored", (60, 7), (590, 4), (1514, 1)
        ),
        _backbone(),
        Profile(
            "synflood",
            "60-byte SYNs with random sources to one host",
            (_tcp4("syn-flood", 80, 1, _SYN, options=b"\2\4\5\xb4", spoofed=True),),
        ),
        Profile(
            "mix",
            "protocols: VLAN 3 %, IPv6 10 %, fragments 0.5 %, ARP, ICMP, DNS, HTTP, tunnels...",
            tuple(_mix_ipv4() + _mix_ipv6() + _mix_rest()),
        ),
    ]
    return {profile.name: profile for profile in made}
