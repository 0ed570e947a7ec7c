"""Questions to tests/network/ask.o: built, answered by an engine or by the kernel, read back."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pktfilter as pf

ASK = Path(__file__).parent / "network" / "ask.o"
INET, INET6 = 2, 10
DIRECT, OUTPUT, SKIP_NEIGH, TBID, SRC, MARK = 1, 2, 4, 8, 16, 32
ENGINES = ("checked", "interp", "jit")
#: A packet in, the packet after the program out.
Asked = Callable[[bytes], bytes]


class Fib(NamedTuple):
    """A question to bpf_fib_lookup; bytes that a family does not use are marked, to see that they stay."""

    to: str
    source: str
    ifindex: int
    flags: int = 0
    length: int = 0
    tos: int = 0
    table: int = 0
    mark: int = 0
    size: int = 64
    family: int | None = None

    def packet(self) -> bytes:
        to, source = ipaddress.ip_address(self.to).packed, ipaddress.ip_address(self.source).packed
        family = self.family if self.family is not None else INET if len(to) == 4 else INET6
        params = struct.pack(
            "<BBHHHII16s16sII8s",
            family, 6, 0x1234, 0x5678, self.length, self.ifindex, self.tos, source.ljust(16, b"\xaa"),
            to.ljust(16, b"\xbb"), self.table, self.mark, b"\xcc" * 8,
        )  # fmt: skip
        return bytes(16) + struct.pack("<IIq", self.flags, self.size, 0x7777) + params


def fib(asked: Asked, question: Fib) -> tuple[int, bytes]:
    """The answer, and struct bpf_fib_lookup as it is then."""
    out = asked(question.packet())
    return struct.unpack_from("<q", out, 24)[0], out[32:96]


def mtu(
    asked: Asked, ifindex: int = 0, length: int = 0, diff: int = 0, flags: int = 0, size: int = 100
) -> tuple[int, int]:
    """The answer of bpf_check_mtu, and *mtu_len."""
    question = bytes(16) + struct.pack("<IIiIQq", ifindex, length, diff, 0, flags, 0x7777)
    out = asked(question.ljust(size, b"\0"))
    return struct.unpack_from("<q", out, 40)[0], struct.unpack_from("<I", out, 20)[0]


def cookie(asked: Asked, ip: bytes, tcp: bytes, size: int | None = None) -> tuple[int, int]:
    """What the gen helper says to this segment, and what the check helper says."""
    question = bytes(16) + struct.pack(
        "<qqII", 0x7777, 0x7777, len(tcp) if size is None else size, 0
    )
    out = asked(question + ip + tcp.ljust(60, b"\0"))
    return struct.unpack_from("<qq", out, 16)


def ours(program: pf.Program, engine: str, **options: Any) -> Asked:
    """Asks an engine."""
    return lambda packet: program.test_run(packet, engine=engine, **options).data
