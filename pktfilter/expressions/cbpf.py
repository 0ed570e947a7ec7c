"""Classic BPF as data: instructions, what they read and write, and which programs are legal.

The machine (McCanne and Jacobson, USENIX 1993; `bpf_filter` in libpcap is the reference for what is
left open there): an accumulator A, an index X, 16 words of memory, all of 32 bits and zero at first; a
load of bytes the capture does not have, and a division by zero, end the run with 0. Jumps count from
the next instruction; only `ja` may go back, which libpcap uses for `protochain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import ProgramError

WORD = 0xFFFFFFFF
MEMORY_WORDS = 16
#: Instructions of one program; libpcap itself has no limit, and host lists grow large.
MAX_INSNS = 1 << 17
#: Loads from here on, to the end of the table below, are of what a live socket knows besides (SKF_AD_OFF of
#: linux/filter.h). Everything else that large is a place no packet has.
ANCILLARY = 0xFFFFF000

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_ALU_OPS = {
    0x00: "add", 0x10: "sub", 0x20: "mul", 0x30: "div", 0x40: "or", 0x50: "and", 0x60: "lsh", 0x70: "rsh",
    0x80: "neg", 0x90: "mod", 0xA0: "xor",
}  # fmt: skip
_JUMP_OPS = {0x00: "ja", 0x10: "jeq", 0x20: "jgt", 0x30: "jge", 0x40: "jset"}

#: SKF_AD_* by distance.
_ANCILLARY_NAMES = {
    0: "protocol", 4: "pkttype", 8: "ifindex", 12: "nla", 16: "nla_nest", 20: "mark", 24: "queue", 28: "hatype",
    32: "rxhash", 36: "cpu", 40: "alu_xor_x", 44: "vlan_tag", 48: "vlan_tag_present", 52: "pay_offset",
    56: "random", 60: "vlan_tpid",
}  # fmt: skip


class Step(NamedTuple):
    """One decoded instruction.

    `op` is "abs", "ind", "imm", "len", "mem", "msh" (loads; `to` is "A" or "X"), "st" (`to` says of
    what), an operator, "ja", "jeq", "jgt", "jge", "jset", "ret", "tax" or "txa". `by_x`: the operand
    is X, else `k`; of "ret" that it is A. `size` in bytes, of packet loads. `jt` and `jf` are the
    places it goes on at; both the next one where it does not branch.
    """

    op: str
    k: int = 0
    to: str = "A"
    by_x: bool = False
    size: int = 0
    jt: int = 0
    jf: int = 0

    @property
    def reads_packet(self) -> bool:
        return self.op in ("abs", "ind", "msh")

    @property
    def branches(self) -> bool:
        return self.op in ("jeq", "jgt", "jge", "jset")

    @property
    def after(self) -> tuple[int, ...]:
        """Where control may go."""
        if self.op == "ret":
            return ()
        return (self.jt,) if self.jt == self.jf else (self.jt, self.jf)


def decode(program: Iterable[Sequence[int]]) -> list[Step]:
    """Decodes (code, jt, jf, k) rows. Raises `ProgramError` naming the first that is not legal."""
    rows = [tuple(row) for row in program]
    if not 0 < len(rows) <= MAX_INSNS:
        raise ProgramError(
            "a classic BPF program has no such length",
            found=len(rows),
            expected=f"1 to {MAX_INSNS}",
        )
    steps = [_decode(at, *row) for at, row in enumerate(rows)]
    for at, step in enumerate(steps):
        for target in step.after:
            if not 0 <= target < len(steps):
                raise ProgramError(
                    "classic BPF: control leaves the program", insn=at, found=f"a jump to {target}",
                    expected=f"0 to {len(steps) - 1}",
                )  # fmt: skip
    return steps


def has_loop(steps: Sequence[Step]) -> bool:
    """Whether any jump goes back."""
    return any(target <= at for at, step in enumerate(steps) for target in step.after)


def _decode(at: int, code: int, jt: int, jf: int, k: int) -> Step:
    k &= WORD
    following = at + 1
    kind = code & 7
    if kind in (LD, LDX):
        step = _load(code, k, "A" if kind == LD else "X", following)
    elif code in (ST, STX):
        step = Step("st", k, "A" if code == ST else "X", jt=following, jf=following)
    elif kind == ALU:
        step = _alu(code, k, following)
    elif kind == JMP:
        step = _jump(code, following, jt, jf, k)
    elif kind == RET and code in (0x06, 0x16):
        step = Step("ret", k, by_x=code == 0x16)
    elif code in (0x07, 0x87):
        step = Step("tax" if code == 0x07 else "txa", jt=following, jf=following)
    else:
        step = None
    if step is None:
        raise ProgramError("classic BPF: no such instruction", insn=at, found=f"code {code:#06x}")
    if step.op in ("mem", "st") and k >= MEMORY_WORDS:
        raise ProgramError(
            "classic BPF: no such word of memory", insn=at, found=k, expected="0 to 15"
        )
    if step.op == "abs" and k - ANCILLARY in _ANCILLARY_NAMES:
        raise ProgramError(
            f"classic BPF: a load of ancillary data '{_ANCILLARY_NAMES[k - ANCILLARY]}' is about a packet on a "
            "socket, which a capture does not keep",
            insn=at,
        )
    return step


def _load(code: int, k: int, to: str, following: int) -> Step | None:
    mode, size = code & 0xE0, _SIZES.get(code & 0x18, 0)
    name = {_IMM: "imm", _ABS: "abs", _IND: "ind", _MEM: "mem", _LEN: "len", _MSH: "msh"}.get(
        mode, ""
    )
    wide = size == 4
    legal = {
        "imm": wide, "mem": wide, "len": wide, "abs": size and to == "A", "ind": size and to == "A",
        "msh": size == 1 and to == "X",
    }  # fmt: skip
    if not legal.get(name):
        return None
    return Step(
        name, k, to, size=size if name in ("abs", "ind", "msh") else 0, jt=following, jf=following
    )


def _alu(code: int, k: int, following: int) -> Step | None:
    op = _ALU_OPS.get(code & 0xF0)
    if op is None:
        return None
    return Step(op, k, by_x=bool(code & 8) and op != "neg", jt=following, jf=following)


def _jump(code: int, following: int, jt: int, jf: int, k: int) -> Step | None:
    op = _JUMP_OPS.get(code & 0xF0)
    if op is None:
        return None
    if op == "ja":
        target = following + (k - (1 << 32) if k >> 31 else k)
        return Step(op, jt=target, jf=target)
    return Step(op, k, by_x=bool(code & 8), jt=following + jt, jf=following + jf)
