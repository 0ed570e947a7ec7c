"""Arithmetic, moves, byte swaps and conditions: one entry for each instruction of insn.def.

Semantics: RFC 9669 section 4.1: division by zero gives 0, modulo by zero the dividend, the smallest
number divided by -1 itself; shift counts are masked; 32-bit forms zero the upper half.
"""

from __future__ import annotations

from collections.abc import Callable

from .emit import Emitter, literal
from .unit import Insn

Handler = Callable[[Emitter, Insn], bool]
#: (emitter, width, dividend or left operand, other operand) -> result, all of that width.
Binary = Callable[[Emitter, int, str, str], str]

_SIMPLE = {"ADD": "add", "SUB": "sub", "MUL": "mul", "OR": "or", "AND": "and", "XOR": "xor"}
_SHIFTS = {"LSH": "shl", "RSH": "lshr", "ARSH": "ashr"}
_CONDITIONS = {
    "JEQ": "eq", "JNE": "ne", "JGT": "ugt", "JGE": "uge", "JLT": "ult", "JLE": "ule",
    "JSGT": "sgt", "JSGE": "sge", "JSLT": "slt", "JSLE": "sle",
}  # fmt: skip


def _number(text: str) -> int | None:
    return int(text) if text.lstrip("-").isdigit() else None


def _simple(word: str) -> Binary:
    def emit(e: Emitter, bits: int, a: str, b: str) -> str:
        return e.let(f"{word} i{bits} {a}, {b}")

    return emit


def _shift(word: str) -> Binary:
    def emit(e: Emitter, bits: int, a: str, b: str) -> str:
        count = _number(b)
        by = str(count & bits - 1) if count is not None else e.let(f"and i{bits} {b}, {bits - 1}")
        return e.let(f"{word} i{bits} {a}, {by}")

    return emit


def _divide(word: str, *, remainder: bool) -> Binary:
    """Unsigned: the divisor 0 is replaced by 1 before dividing."""

    def emit(e: Emitter, bits: int, a: str, b: str) -> str:
        if _number(b):
            return e.let(f"{word} i{bits} {a}, {b}")
        zero = e.let(f"icmp eq i{bits} {b}, 0")
        by = e.let(f"select i1 {zero}, i{bits} 1, i{bits} {b}")
        result = e.let(f"{word} i{bits} {a}, {by}")
        return e.let(f"select i1 {zero}, i{bits} {a if remainder else 0}, i{bits} {result}")

    return emit


def _divide_signed(word: str, *, remainder: bool) -> Binary:
    """Signed: 0 and -1 are replaced by 1, which covers the quotient that does not fit too."""

    def emit(e: Emitter, bits: int, a: str, b: str) -> str:
        count = _number(b)
        if count is not None and count not in (0, -1):
            return e.let(f"{word} i{bits} {a}, {b}")
        zero = e.let(f"icmp eq i{bits} {b}, 0")
        minus = e.let(f"icmp eq i{bits} {b}, -1")
        special = e.let(f"or i1 {zero}, {minus}")
        by = e.let(f"select i1 {special}, i{bits} 1, i{bits} {b}")
        result = e.let(f"{word} i{bits} {a}, {by}")
        other = "0" if remainder else e.let(f"sub i{bits} 0, {a}")
        result = e.let(f"select i1 {minus}, i{bits} {other}, i{bits} {result}")
        return e.let(f"select i1 {zero}, i{bits} {a if remainder else 0}, i{bits} {result}")

    return emit


def _second(_e: Emitter, _bits: int, _a: str, b: str) -> str:
    return b


_BINARY: dict[str, Binary] = {
    **{name: _simple(word) for name, word in _SIMPLE.items()},
    **{name: _shift(word) for name, word in _SHIFTS.items()},
    "DIV": _divide("udiv", remainder=False),
    "MOD": _divide("urem", remainder=True),
    "SDIV": _divide_signed("sdiv", remainder=False),
    "SMOD": _divide_signed("srem", remainder=True),
    "MOV": _second,
}


def _alu(name: str, bits: int, *, by_register: bool) -> Handler:
    binary = _BINARY[name]
    moves = name == "MOV"

    def emit(e: Emitter, insn: Insn) -> bool:
        if bits == 64:
            b = e.get(insn.src) if by_register else literal(insn.imm)
            e.put(insn.dst, binary(e, 64, "0" if moves else e.get(insn.dst), b))
        else:
            b = e.get32(insn.src) if by_register else literal(insn.imm, 32)
            e.put32(insn.dst, binary(e, 32, "0" if moves else e.get32(insn.dst), b))
        return False

    return emit


def _move_signed(bits: int, width: int) -> Handler:
    def emit(e: Emitter, insn: Insn) -> bool:
        low = e.let(f"trunc i64 {e.get(insn.src)} to i{width}")
        value = e.let(f"sext i{width} {low} to i{bits}")
        (e.put if bits == 64 else e.put32)(insn.dst, value)
        return False

    return emit


def _negate(bits: int) -> Handler:
    def emit(e: Emitter, insn: Insn) -> bool:
        if bits == 64:
            e.put(insn.dst, e.let(f"sub i64 0, {e.get(insn.dst)}"))
        else:
            e.put32(insn.dst, e.let(f"sub i32 0, {e.get32(insn.dst)}"))
        return False

    return emit


def _swap(bits: int, *, swaps: bool) -> Handler:
    """The host is little-endian: `le` only cuts."""

    def emit(e: Emitter, insn: Insn) -> bool:
        value = e.get(insn.dst)
        if bits < 64:
            value = e.let(f"trunc i64 {value} to i{bits}")
        if swaps:
            value = e.let(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {value})")
        e.put(insn.dst, value if bits == 64 else e.let(f"zext i{bits} {value} to i64"))
        return False

    return emit


def _jump(condition: str, bits: int, *, by_register: bool) -> Handler:
    def emit(e: Emitter, insn: Insn) -> bool:
        if not e.splits():
            e.leave()
            return True
        wide = bits == 64
        a = e.get(insn.dst) if wide else e.get32(insn.dst)
        if by_register:
            b = e.get(insn.src) if wide else e.get32(insn.src)
        else:
            b = literal(insn.imm, bits)
        if condition == "JSET":
            a, b, word = e.let(f"and i{bits} {a}, {b}"), "0", "ne"
        else:
            word = _CONDITIONS[condition]
        e.branch(e.let(f"icmp {word} i{bits} {a}, {b}"))
        return True

    return emit


def _goto(e: Emitter, _: Insn) -> bool:
    e.leave()
    return True


def _exit(e: Emitter, _: Insn) -> bool:
    e.do(f"ret i64 {e.get(0)}")
    return True


def _table() -> dict[str, Handler]:
    table: dict[str, Handler] = {}
    for bits in (64, 32):
        for name in _BINARY:
            table[f"{name}{bits}_IMM"] = _alu(name, bits, by_register=False)
            table[f"{name}{bits}_REG"] = _alu(name, bits, by_register=True)
        for name in (*_CONDITIONS, "JSET"):
            table[f"{name}{bits}_IMM"] = _jump(name, bits, by_register=False)
            table[f"{name}{bits}_REG"] = _jump(name, bits, by_register=True)
        for width in (8, 16, 32)[: 3 if bits == 64 else 2]:
            table[f"MOVSX{bits}_{width}"] = _move_signed(bits, width)
        table[f"NEG{bits}"] = _negate(bits)
    for bits in (16, 32, 64):
        table[f"LE{bits}"] = _swap(bits, swaps=False)
        table[f"BE{bits}"] = table[f"BSWAP{bits}"] = _swap(bits, swaps=True)
    table["JA"] = table["JA32"] = _goto
    table["EXIT"] = _exit
    return table


#: Handlers say whether they ended the block.
HANDLERS = _table()
