"""SYN cookies of listening sockets: errors, MSS, and which cookies are taken, beside the kernel's.

The kernel's cookies themselves depend on a secret: each side checks its own.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import kernel
import live_net
import pytest
from test_sockets import ENGINES, World, code, tuple_of

import pktfilter as pf

IP_AT, TCP_AT, TUPLE_AT, SIZE = 14, 54, 120, 160
SYN, ACK, RST, FIN = 2, 16, 4, 1
pytestmark = kernel.requires_kernel()


def ask(helper: str, tuple_size: int, ip_size: int, tcp_size: int, lookup: str) -> bytes:
    """Finds the socket of the tuple and asks about the packet's headers; the answer goes to the first bytes."""
    return code(
        f"""
        r6 = r1
        r7 = *(u32 *)(r1 +0)
        r2 = *(u32 *)(r1 +4)
        r3 = r7
        r3 += {SIZE}
        if r3 > r2 goto none
        r2 = r7
        r2 += {TUPLE_AT}
        r3 = {tuple_size}
        r4 = -1
        r5 = 0
        call bpf_{lookup}
        if r0 == 0 goto none
        r8 = r0
        r1 = r8
        r2 = r7
        r2 += {IP_AT}
        r3 = {ip_size}
        r4 = r7
        r4 += {TCP_AT}
        r5 = {tcp_size}
        call bpf_{helper}
        *(u64 *)(r7 +0) = r0
        r1 = r8
        call bpf_sk_release
        r0 = 2
        exit
        none: r0 = 1
        exit
        """
    )


def headers(
    version: int,
    flags: int,
    *,
    seq: int = 1000,
    ack: int = 0,
    options: bytes = b"",
    words: int | None = None,
) -> tuple[bytes, bytes]:
    if version == 4:
        ip = struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            0,
            40,
            0,
            0,
            64,
            6,
            0,
            bytes([127, 0, 0, 9]),
            bytes([127, 0, 0, 1]),
        )
    else:
        ip = struct.pack(
            ">IHBB16s16s", version << 28, 20, 6, 64, bytes(15) + b"\x09", bytes(15) + b"\x01"
        )
    words = words or 5 + len(options) // 4
    return ip, struct.pack(
        ">HHIIBBHHH", 4000, 1000, seq, ack, words << 4, flags, 512, 0, 0
    ) + options


def frame(asked: bytes, ip: bytes, tcp: bytes) -> bytes:
    packet = bytearray(SIZE)
    packet[IP_AT : IP_AT + len(ip)] = ip
    packet[TCP_AT : TCP_AT + len(tcp)] = tcp
    packet[TUPLE_AT : TUPLE_AT + len(asked)] = asked
    return bytes(packet)


def answer(packet: bytes) -> int:
    return int(struct.unpack_from("<q", packet)[0])


def shape(number: int) -> int:
    """What of an answer does not depend on the secret: an error, or the MSS above the cookie."""
    return number if number < 0 else number >> 32


MSS = [b"\2\4" + struct.pack(">H", n) for n in (100, 536, 1299, 1300, 1439, 1440, 1460, 8940, 9000)]
OPTIONS = [b"", *MSS, b"\1\1\1\1\2\4\5\xb4", b"\2\4\0\0", b"\2\3\5\0", b"\0\0\0\0\2\4\5\xb4"]
SYNS = [
    *((SYN, options) for options in OPTIONS),
    *((flags, b"") for flags in (0, ACK, SYN | ACK, SYN | FIN, SYN | RST)),
]  # fmt: skip
#: What is added to the number that acknowledges a cookie; 1 means another MSS of the table, others nothing.
WRONG = (0, 1, 1 << 24, 1 << 31)
FLAGS = (ACK, SYN | ACK, ACK | RST, 0, ACK | FIN)
SIZES = [(20, 20), (40, 20), (20, 24), (40, 24), (20, 19), (19, 20), (40, 28), (39, 20)]


class Both:
    """One helper on both sides."""

    def __init__(
        self, helper: str, sizes: tuple[int, int], six: bool, world: World, lookup: str
    ) -> None:
        insns = ask(helper, 36 if six else 12, *sizes, lookup)
        self.ours = pf.Program.from_bytes(insns)
        self.theirs = kernel.KernelProgram.load(insns)
        self.network = pf.Network(
            link=[{"ifindex": 1, "ifname": "lo"}],
            socket=[
                dict(row, syncookies=True) if "remote" not in row else row for row in world.rows
            ],
        )

    def kernel(self, packet: bytes) -> tuple[int, int]:
        run = self.theirs.test_run(packet)
        return run.retval, answer(run.packet)

    def engine(self, packet: bytes, engine: str) -> tuple[int, int]:
        run = self.ours.test_run(packet, network=self.network, engine=engine, time_ns=10**15)
        return run.retval, answer(run.data)


@pytest.fixture(scope="module")
def net() -> Iterator[live_net.Net]:
    with live_net.namespace() as made:
        yield made


def _world(cookies: int) -> tuple[World, list[bytes]]:
    for name in ("all", "lo"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")
    Path("/proc/sys/net/ipv4/tcp_syncookies").write_text(str(cookies))
    world = World()
    stream = socket.SOCK_STREAM
    world.bind(stream, "127.0.0.1", 1000)
    world.bind(stream, "::", 1002)
    world.bind(stream, "::1", 1003, v6only=True)
    client = world.bind(stream, "127.0.0.1", 0, to=("127.0.0.1", 1000))
    return world, [
        tuple_of("127.0.0.9", 4000, "127.0.0.1", 1000),
        tuple_of("127.0.0.9", 4000, "127.0.0.1", 1002),
        tuple_of("::9", 4000, "::1", 1002),
        tuple_of("::9", 4000, "::1", 1003),
        tuple_of("127.0.0.1", 1000, "127.0.0.1", client),
    ]


def _made() -> None:
    world, tuples = _world(2)
    made = 0
    try:
        for sizes, six, lookup in itertools.product(
            SIZES, (False, True), ("sk_lookup_tcp", "skc_lookup_tcp")
        ):
            both = Both("tcp_gen_syncookie", sizes, six, world, lookup)
            with both.theirs:
                for asked in (each for each in tuples if (len(each) == 36) == six):
                    for (flags, options), version in itertools.product(SYNS, (4, 5, 6)):
                        packet = frame(asked, *headers(version, flags, options=options))
                        retval, number = both.kernel(packet)
                        made += number > 0
                        for engine in ENGINES:
                            found = both.engine(packet, engine)
                            place = (
                                sizes,
                                lookup,
                                asked.hex(),
                                flags,
                                options,
                                version,
                                engine,
                                number,
                                found,
                            )
                            assert (found[0], shape(found[1])) == (retval, shape(number)), place
    finally:
        world.close()
    assert made > 50


def _taken() -> None:
    world, tuples = _world(2)
    taken = 0
    try:
        for (ip_size, version, six), lookup in itertools.product(
            ((20, 4, False), (40, 6, True)), ("sk_lookup_tcp", "skc_lookup_tcp")
        ):
            makes = Both("tcp_gen_syncookie", (ip_size, 20), six, world, lookup)
            checks = Both("tcp_check_syncookie", (ip_size, 20), six, world, lookup)
            with makes.theirs, checks.theirs:
                for asked in (each for each in tuples if (len(each) == 36) == six):
                    syn = frame(asked, *headers(version, SYN))
                    cookies = {"kernel": makes.kernel(syn)[1]}
                    cookies |= {engine: makes.engine(syn, engine)[1] for engine in ENGINES}
                    for wrong, flags in itertools.product(WRONG, FLAGS):
                        sent = {
                            side: frame(
                                asked,
                                *headers(
                                    version, flags, seq=1001, ack=(number + 1 + wrong) & 0xFFFFFFFF
                                ),
                            )
                            for side, number in cookies.items()
                        }
                        expected = checks.kernel(sent["kernel"])
                        taken += expected[1] == 0
                        for engine in ENGINES:
                            found = checks.engine(sent[engine], engine)
                            assert found == expected, (asked.hex(), wrong, flags, engine, lookup)
        for sizes, version, six in itertools.product(SIZES, (4, 5, 6), (False, True)):
            both = Both("tcp_check_syncookie", sizes, six, world, "sk_lookup_tcp")
            with both.theirs:
                for asked in (each for each in tuples if (len(each) == 36) == six):
                    packet = frame(asked, *headers(version, ACK, ack=77))
                    expected = both.kernel(packet)
                    for engine in ENGINES:
                        assert both.engine(packet, engine) == expected, (
                            sizes,
                            version,
                            asked.hex(),
                            engine,
                        )
    finally:
        world.close()
    assert taken >= 4


def test_cookies_are_made_where_linux_makes_them(net: live_net.Net) -> None:
    net.call(_made)


def test_cookies_are_taken_where_linux_takes_them(net: live_net.Net) -> None:
    net.call(_taken)
