"""Compiled arithmetic against a model in Python, with operands known and not known to LLVM."""

from __future__ import annotations

import struct
from collections.abc import Callable

import compiled
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pktfilter._core.tables import OPS

pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")

M64 = (1 << 64) - 1
EDGES = [0, 1, 2, 31, 32, 63, 64, 65, 0x7F, 0x80, 0xFF80, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
EDGES += [1 << 32, 1 << 63, (1 << 63) - 1, M64, M64 - 1, 0x0123456789ABCDEF]
WORD = st.one_of(st.sampled_from(EDGES), st.integers(0, M64))


def as_signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def quotient(a: int, b: int) -> int:
    """Toward zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


Model = Callable[[int, int, int], int]
BINARY: dict[str, Model] = {
    "ADD": lambda a, b, n: a + b,
    "SUB": lambda a, b, n: a - b,
    "MUL": lambda a, b, n: a * b,
    "OR": lambda a, b, n: a | b,
    "AND": lambda a, b, n: a & b,
    "XOR": lambda a, b, n: a ^ b,
    "MOV": lambda a, b, n: b,
    "DIV": lambda a, b, n: a // b if b else 0,
    "MOD": lambda a, b, n: a % b if b else a,
    "SDIV": lambda a, b, n: quotient(as_signed(a, n), as_signed(b, n)) if b else 0,
    "SMOD": lambda a, b, n: (
        as_signed(a, n) - as_signed(b, n) * quotient(as_signed(a, n), as_signed(b, n)) if b else a
    ),
    "LSH": lambda a, b, n: a << (b & n - 1),
    "RSH": lambda a, b, n: a >> (b & n - 1),
    "ARSH": lambda a, b, n: as_signed(a, n) >> (b & n - 1),
}


def swapped(value: int, size: int) -> int:
    return int.from_bytes((value & (1 << size * 8) - 1).to_bytes(size, "little"), "big")


def model(name: str, a: int, b: int) -> int:
    """The new dst of `name` with dst = a and src = b."""
    base, _, width = name.removesuffix("_REG").partition("_")
    if base.startswith("MOVSX"):
        bits = 64 if "64" in base else 32
        return as_signed(b, int(width)) & (1 << bits) - 1
    if base.startswith("NEG"):
        return -a & (M64 if base.endswith("64") else 0xFFFFFFFF)
    for prefix in ("LE", "BE", "BSWAP"):
        if base.startswith(prefix) and base[len(prefix) :].isdigit():
            size = int(base[len(prefix) :]) // 8
            return a & (1 << size * 8) - 1 if prefix == "LE" else swapped(a, size)
    bits = int(base[-2:])
    mask = (1 << bits) - 1
    return BINARY[base[:-2]](a & mask, b & mask, bits) & mask


#: Every instruction whose result depends on the values of dst and src alone.
NAMES = [op.name for op in OPS if op.form in ("ALU_REG", "UNARY", "SWAP")]
_OP = {op.name: op for op in OPS}


def insn(opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, dst | src << 4, off, imm)


def encoded(name: str, dst: int, src: int) -> bytes:
    op = _OP[name]
    off = op.value if op.selector == "off" else 0
    imm = op.value if op.selector == "imm" else 0
    return insn(op.opcode, dst, src if op.form == "ALU_REG" else 0, off, imm)


def load64(dst: int, value: int) -> bytes:
    low, high = as_signed(value, 32), as_signed(value >> 32, 32)
    return insn(0x18, dst, 0, 0, low) + insn(0, 0, 0, 0, high)


END = insn(0xB7) + insn(0x95)


def guard(size: int) -> bytes:
    """Ends the program where the memory is shorter, which proves the size."""
    return insn(0xB7) + insn(0x35, 2, 0, 1, size) + insn(0x95)


OUT = 16  # results start behind the two operands


def loaded_program() -> bytes:
    """Every operation on the two words at r1; results one after another behind them."""
    code = guard(OUT + 8 * len(NAMES))
    for place, name in enumerate(NAMES):
        code += insn(0x79, 3, 1, 0) + insn(0x79, 4, 1, 8)
        code += encoded(name, 3, 4) + insn(0x7B, 1, 3, OUT + 8 * place)
    return code + END


@pytest.fixture(scope="module", params=[True, False], ids=["facts", "no-facts"])
def program(request: pytest.FixtureRequest) -> object:
    made = compiled.memory_program(loaded_program(), size=OUT + 8 * len(NAMES))
    compiled.stage(made, facts=request.param)
    return made


@settings(max_examples=400, deadline=None)
@given(a=WORD, b=WORD)
@example(a=1 << 63, b=M64)
@example(a=0x80000000, b=0xFFFFFFFF)
@example(a=5, b=0)
def test_operands_that_are_not_known(program: object, a: int, b: int) -> None:
    memory = bytearray(struct.pack("<QQ", a, b) + bytes(8 * len(NAMES)))
    compiled.run_memory(program, memory)  # type: ignore[arg-type]
    for place, name in enumerate(NAMES):
        (found,) = struct.unpack_from("<Q", memory, OUT + 8 * place)
        assert found == model(name, a, b), name


# Division's guards and the masks of shifts only show where LLVM knows the operands: it would take the
# undefined result for anything. Each of these fails without them (ops_alu: _divide, _divide_signed, _shift).
KNOWN = [
    (name, a, b)
    for name in NAMES
    for a in (0x80000000, 1 << 63, 7, M64)
    for b in (0, M64, 0xFFFFFFFF, 3, 65)
    if not (name[:3] in ("LSH", "RSH", "ARS") and b >= int(name.split("_")[0][-2:]))
]


@pytest.mark.parametrize("facts", [True, False], ids=["facts", "no-facts"])
def test_operands_that_are_known(facts: bool) -> None:
    code = guard(8 * len(KNOWN))
    for place, (name, a, b) in enumerate(KNOWN):
        code += load64(3, a) + load64(4, b) + encoded(name, 3, 4)
        code += insn(0x7B, 1, 3, 8 * place)
    made = compiled.memory_program(code + END, size=8 * len(KNOWN))
    compiled.stage(made, facts=facts)
    memory = bytearray(8 * len(KNOWN))
    compiled.run_memory(made, memory)
    for place, (name, a, b) in enumerate(KNOWN):
        (found,) = struct.unpack_from("<Q", memory, 8 * place)
        assert found == model(name, a, b), (name, a, b)


def test_shift_counts_that_llvm_comes_to_know() -> None:
    """Fails without the mask in ops_alu._shift: the count is in memory for the verifier, known to LLVM."""
    made = compiled.memory_program(
        guard(8)
        + insn(0x7A, 1, 0, 0, 65)  # *(u64 *)(r1 + 0) = 65
        + insn(0x79, 4, 1, 0)
        + insn(0xB7, 0, 0, 0, 3)
        + insn(0x6F, 0, 4)  # r0 <<= r4
        + insn(0xB7, 3, 0, 0, 1)
        + insn(0x6C, 3, 4)  # w3 <<= w4
        + insn(0x0F, 0, 3)
        + insn(0x95),
        size=8,
    )
    compiled.stage(made)
    assert compiled.run_memory(made, bytearray(8)) == 6 + 2
