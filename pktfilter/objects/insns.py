"""The few instruction forms that linking has to know (RFC 9669, sections 4.3 and 5.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

INSN_SIZE = 8
OP_LD_IMM64 = 0x18
OP_CALL = 0x85

# Source field of ld_imm64: map by fd, value of a map by fd, code address of a function.
PSEUDO_NONE = 0
PSEUDO_MAP_FD = 1
PSEUDO_MAP_VALUE = 2
PSEUDO_FUNC = 4
# Source field of call: helper by number, program-local function, kernel function.
CALL_HELPER = 0
CALL_LOCAL = 1
CALL_KFUNC = 2

_INSN = struct.Struct("<BBhi")
_IMM = struct.Struct("<i")


def walk(code: bytes | bytearray) -> Iterator[tuple[int, int, int, int]]:
    """Yield (index, opcode, src, imm) of every instruction; a wide one is met once.

    `code` is whole 8-byte slots. A wide instruction cut off at the end is yielded too.
    """
    second_slot = False
    for index, (opcode, regs, _, imm) in enumerate(_INSN.iter_unpack(code)):
        if second_slot:
            second_slot = False
            continue
        second_slot = opcode == OP_LD_IMM64
        yield index, opcode, regs >> 4, imm


def helper_calls(code: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Yield (index, number) of every call of a helper or kernel function: a row of helper.def."""
    for index, opcode, src, imm in walk(code):
        if opcode == OP_CALL and src in (CALL_HELPER, CALL_KFUNC):
            yield index, imm


def ld_imm64s(code: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Yield (index, src, low imm) of every ld_imm64."""
    for index, opcode, src, imm in walk(code):
        if opcode == OP_LD_IMM64:
            yield index, src, imm


def get_imm(code: bytes | bytearray, index: int) -> int:
    """The signed immediate of slot `index`."""
    return int(_IMM.unpack_from(code, index * INSN_SIZE + 4)[0])


def set_imm(code: bytearray, index: int, imm: int) -> None:
    """Set the immediate of slot `index`; any 32-bit number, signed or not."""
    struct.pack_into("<I", code, index * INSN_SIZE + 4, imm & 0xFFFFFFFF)


def set_src(code: bytearray, index: int, src: int) -> None:
    """Set the source field of slot `index`."""
    at = index * INSN_SIZE + 1
    code[at] = (code[at] & 0x0F) | src << 4
