"""Programs that use the connection table, and the packets that say what they ask: the same bytes for the kernel
and the engine.

A packet has at byte 14 the struct bpf_ct_opts and at 32 the struct bpf_sock_tuple that a program passes, at 72
numbers of its own; from 96 on it writes what it got.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass

from pktfilter.assembler import assemble
from pktfilter.objects.kinds import kfunc_by_name

OPTIONS, TUPLE, NUMBERS, OUT = 14, 32, 72, 96
ANSWER = struct.Struct("<qI4xQ16sI4xIHBBQ40s40sQ")
SIZE = OUT + ANSWER.size
#: struct nf_conn, where programs read (csrc/prog/conn.h).
TIMEOUT, ZONE, WAYS, STATUS, MARK = 8, 12, (32, 88), 128, 168


def code(source: str) -> bytes:
    """Assembles; `call bpf_ct_...` calls the kernel function of that name."""

    def number(match: re.Match[str]) -> str:
        row = kfunc_by_name(match[1])
        return f"call kernel-function#{row.number}" if row else match[0]

    return assemble(re.sub(r"call (bpf_\w+)", number, source), "ct.s")[0].insns


BEGIN = f"""
    r9 = r1
    r8 = *(u32 *)(r1 +0)
    r2 = *(u32 *)(r1 +4)
    r1 = r8
    r1 += {SIZE}
    if r1 > r2 goto short
"""
END = "out: r0 = 2\nexit\nshort: r0 = 1\nexit\n"


def _copy(source: int, target: int, size: int) -> str:
    return "".join(
        f"r1 = *(u32 *)(r8 +{source + at})\n*(u32 *)(r10 {target + at:+d}) = r1\n"
        for at in range(0, size, 4)
    )


def ask(
    function: str, tuple_size: int = 12, size: int = 16, *, zero: tuple[bool, bool] = (False, False)
) -> str:
    """A lookup or an allocation; r7 is what it gave, and the options go back into the packet."""
    return f"""
        {_copy(OPTIONS, -16, 16)}{_copy(TUPLE, -56, 36)}
        r1 = r9
        {"r2 = 0" if zero[0] else "r2 = r10" + chr(10) + "r2 += -56"}
        r3 = {tuple_size}
        {"r4 = 0" if zero[1] else "r4 = r10" + chr(10) + "r4 += -16"}
        r5 = {size}
        call bpf_xdp_ct_{function}
        r7 = r0
    """ + "".join(
        f"r1 = *(u32 *)(r10 {at - 16})\n*(u32 *)(r8 +{OUT + 24 + at}) = r1\n"
        for at in range(0, 16, 4)
    )


def fields(at: int = OUT) -> str:
    """What can be read of r7, into the packet; of the time, what is left of it."""
    tuples = [
        (way + part, at + 64 + 40 * number + part, width)
        for number, way in enumerate(WAYS)
        for part, width in [(x, 32) for x in (0, 4, 8, 12, 20, 24, 28, 32)]
        + [(16, 16), (18, 16), (36, 16), (38, 8), (39, 8)]
    ]
    loads = [(STATUS, at + 56, 64), (MARK, at + 48, 32), (ZONE, at + 52, 16), (ZONE + 2, at + 54, 8),
             (ZONE + 3, at + 55, 8), *tuples]  # fmt: skip
    return f"""
        r1 = 1
        *(u32 *)(r8 +{at + 8}) = r1
        call bpf_jiffies64
        r1 = *(u32 *)(r7 +{TIMEOUT})
        *(u32 *)(r8 +{at + 40}) = r1
        w1 -= w0
        *(u64 *)(r8 +{at + 16}) = r1
    """ + "".join(
        f"r1 = *(u{width} *)(r7 +{source})\n*(u{width} *)(r8 +{target}) = r1\n"
        for source, target, width in loads
    )


def result(at: int = OUT) -> str:
    return f"*(u64 *)(r8 +{at}) = r0\n"


def number(which: int, register: str = "r2") -> str:
    """One of the packet's own numbers."""
    return f"{register} = *(u32 *)(r8 +{NUMBERS + 4 * which})\n"


FOUND = "if r7 == 0 goto out\n"
RELEASE = "r1 = r7\ncall bpf_ct_release\n"
INSERT = "r1 = r7\ncall bpf_ct_insert_entry\nr7 = r0\n"
SCRIPTS = {
    "lookup": ask("lookup") + FOUND + fields() + RELEASE,
    "lookup6": ask("lookup", 36) + FOUND + fields() + RELEASE,
    "lookup_old": ask("lookup", size=12) + FOUND + fields() + RELEASE,
    "lookup_sizes": ask("lookup", 13) + FOUND + fields() + RELEASE,
    "lookup_nothing": ask("lookup", 0, zero=(True, False)) + FOUND + RELEASE,
    "lookup_short": ask("lookup", size=8) + FOUND + fields() + RELEASE,
    # Zeroed, and new to the table: read before it is inserted.
    "unconfirmed": ask("alloc") + FOUND + fields() + INSERT + FOUND + RELEASE,
    "unconfirmed6": ask("alloc", 36) + FOUND + fields() + INSERT + FOUND + RELEASE,
    "insert": ask("alloc") + FOUND + INSERT + FOUND + fields() + RELEASE,
    "insert_old": ask("alloc", size=12) + FOUND + INSERT + FOUND + fields() + RELEASE,
    "alloc_sizes": ask("alloc", 13) + FOUND + INSERT + FOUND + RELEASE,
    "alloc_nothing": ask("alloc", 0, zero=(True, False)) + FOUND + INSERT + FOUND + RELEASE,
    # Numbers: timeout in milliseconds, status, mark.
    "set": ask("alloc") + FOUND + number(0) + "r1 = r7\ncall bpf_ct_set_timeout\n"
    + number(1) + "r1 = r7\ncall bpf_ct_set_status\n" + result()
    + number(2, "r1") + f"*(u32 *)(r7 +{MARK}) = r1\n" + INSERT + FOUND + fields() + RELEASE,
    "set6": ask("alloc", 36) + FOUND + number(0) + "r1 = r7\ncall bpf_ct_set_timeout\n"
    + number(1) + "r1 = r7\ncall bpf_ct_set_status\n" + result()
    + number(2, "r1") + f"*(u32 *)(r7 +{MARK}) = r1\n" + INSERT + FOUND + fields() + RELEASE,
    "change_timeout": ask("lookup") + FOUND + number(0) + "r1 = r7\ncall bpf_ct_change_timeout\n"
    + result() + fields() + RELEASE,
    "change_status": ask("lookup") + FOUND + number(1) + "r1 = r7\ncall bpf_ct_change_status\n"
    + result() + fields() + RELEASE,
    "mark": ask("lookup") + FOUND + number(2, "r1") + f"*(u32 *)(r7 +{MARK}) = r1\n" + fields() + RELEASE,
    "mark_half": ask("lookup") + FOUND + number(2, "r1") + f"*(u16 *)(r7 +{MARK}) = r1\n" + fields() + RELEASE,
    "mark_added": ask("lookup") + FOUND + number(2, "r1") + f"lock *(u32 *)(r7 +{MARK}) += r1\n" + fields()
    + RELEASE,
    "twice": ask("alloc") + FOUND + INSERT + FOUND + RELEASE + ask("alloc") + FOUND + INSERT + FOUND + RELEASE
    + "r1 = 77\n*(u32 *)(r8 +96) = r1\n",
}  # fmt: skip


def script(name: str) -> bytes:
    return code(BEGIN + SCRIPTS[name] + END)


def tuple_of(source: str, source_port: int, target: str, target_port: int) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    return addresses + struct.pack(">HH", source_port, target_port)


@dataclass(frozen=True)
class Ask:
    """What a packet asks."""

    tuple: bytes
    netns: int = -1
    protocol: int = 6
    zone: int = 0
    zone_dir: int = 0
    reserved: bytes = bytes(3)
    numbers: tuple[int, ...] = (0, 0, 0)
    error: int = 77
    way: int = 9

    def packet(self) -> bytes:
        options = struct.pack("<iiBBHB3s", self.netns, self.error, self.protocol, self.way, self.zone,
                              self.zone_dir, self.reserved)  # fmt: skip
        head = (bytes(OPTIONS) + options).ljust(TUPLE, b"\0") + self.tuple.ljust(40, b"\0")
        return (head + struct.pack("<3I", *self.numbers)).ljust(OUT, b"\0") + bytes(ANSWER.size)


@dataclass(frozen=True)
class Answer:
    """What a packet says afterwards; `left` and `timeout` are the clock's, all else is to be the same."""

    retval: int
    result: int
    read: int
    options: bytes
    rest: bytes
    left: int
    timeout: int

    @classmethod
    def of(cls, retval: int, data: bytes) -> Answer:
        result, read, left, options, timeout = struct.unpack_from("<qI4xQ16sI", data, OUT)
        return cls(retval, result, read, options, data[OUT + 48 :], left, timeout)

    def agrees(self, other: Answer) -> bool:
        """Everything but the clock; that within a second, at 250 jiffies each."""
        same = (self.retval, self.result, self.read, self.options, self.rest) == (
            other.retval, other.result, other.read, other.options, other.rest,
        )  # fmt: skip
        # Before it is inserted it says how long, not until when.
        confirmed = self.rest[8] & 8
        return same and (
            abs(self.left - other.left) < 250 if confirmed else self.timeout == other.timeout
        )
