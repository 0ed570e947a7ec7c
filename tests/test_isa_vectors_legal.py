"""Encoding legality against the conformance vectors and against RFC 9669's tables."""

from __future__ import annotations

import itertools
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from pktfilter import errors
from pktfilter._core import isa
from pktfilter._core.errors import exception
from pktfilter._core.tables import DIAGS, OPS
from pktfilter.errors import ProgramError

SHARED = Path(os.environ.get("PKTFILTER_SHARED", Path(__file__).parents[2] / "shared"))
VECTORS = SHARED / "isa" / "vectors.jsonl"
# Negatives that are legal encodings: one tests a runner's exit status, the other reads a register
# that was never written, which is the verifier's business.
LEGAL_NEGATIVES = {"incorrect_return_value_high_bits", "error"}
# The RFC allows an indirect call only to implementations that have it; this one refuses it.
INDIRECT = {"callx"}


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the shared conformance vectors are not there (set PKTFILTER_SHARED)")
    return [json.loads(line) for line in VECTORS.read_text().splitlines()]


def accepted(code: bytes, strict: bool = False) -> bool:
    try:
        isa.check(code, strict)
    except ProgramError:
        return False
    return True


def test_positive_vectors_are_legal() -> None:
    refused = {
        vector["name"]
        for vector in vectors()
        if vector["suite"] == "tests" and not accepted(bytes.fromhex(vector["code"]))
    }
    assert refused == INDIRECT


def test_strict_refuses_what_linux_refuses_of_constants() -> None:
    refused = set()
    for vector in vectors():
        if vector["suite"] != "tests" or vector["name"] in INDIRECT:
            continue
        try:
            isa.check(bytes.fromhex(vector["code"]), strict=True)
        except ProgramError as error:
            assert "shift" in error.message or "division" in error.message
            refused.add(vector["name"])
    assert len(refused) == 12


def test_negative_vectors_are_refused() -> None:
    legal, raw = set(), 0
    for vector in vectors():
        if vector["suite"] != "negative" or not vector["code"]:
            continue
        raw += vector["name"].startswith("unused-")
        if accepted(bytes.fromhex(vector["code"])):
            legal.add(vector["name"])
    assert legal == LEGAL_NEGATIVES
    assert raw > 40


def test_messages_name_place_found_and_expected() -> None:
    with pytest.raises(ProgramError, match=r"^instruction 1: jump to instruction -3") as caught:
        isa.check(encode(0xB7, 0, 0, 0, 0) + encode(0x05, 0, 0, -5, 0))
    assert caught.value.insn == 1
    with pytest.raises(ProgramError, match="12 bytes long, not a multiple of 8"):
        isa.check(bytes(12))
    with pytest.raises(ProgramError, match="no instructions"):
        isa.check(b"")
    with pytest.raises(ProgramError, match=r"callx \(indirect call\)"):
        isa.check(encode(0x8D, 0, 0, 0, 0) + EXIT)
    with pytest.raises(ProgramError, match="no variant with imm = 225"):
        isa.check(encode(0xD3, 0, 0, 0, 0xE1) + EXIT)


def encode(code: int, dst: int, src: int, off: int, imm: int) -> bytes:
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


EXIT = encode(0x95, 0, 0, 0, 0)
# One instruction in the middle of exits: `AT` is its slot, `SLOTS` the program's length.
AT, SLOTS = 2, 7


def frame(insn: bytes, wide: bool) -> bytes:
    return EXIT * AT + insn + (bytes(8) + EXIT * 3 if wide else EXIT * 4)


def in_program(distance: int) -> bool:
    return 0 <= AT + 1 + distance < SLOTS


# What RFC 9669 says, read from its tables and not from this project's.


def legal_alu(
    is64: bool, code: int, register: bool, dst: int, src: int, off: int, imm: int
) -> bool:
    """Sections 4.1 and 4.2."""
    if dst > 9:
        return False
    if code == 0x8:  # NEG
        return not register and src == off == imm == 0
    if code == 0xD:  # END: the source bit selects the order, and is 0 for bswap
        return not (is64 and register) and src == off == 0 and imm in (16, 32, 64)
    if code > 0xD:
        return False
    if code in (0x3, 0x9):  # DIV, MOD and their signed forms
        offsets: tuple[int, ...] = (0, 1)
    elif code == 0xB and register:  # MOV, MOVSX
        offsets = (0, 8, 16, 32) if is64 else (0, 8, 16)
    else:
        offsets = (0,)
    if off not in offsets:
        return False
    return (src <= 10 and imm == 0) if register else src == 0


def legal_jump(
    is64: bool, code: int, register: bool, dst: int, src: int, off: int, imm: int
) -> bool:
    """Section 4.3; `is64` is class JMP. A kernel function call may carry an offset in Linux."""
    if code in (0x0, 0x8, 0x9) and register:
        return False
    if code == 0x0:  # JA
        if dst or src:
            return False
        return (imm == 0 and in_program(off)) if is64 else (off == 0 and in_program(imm))
    if code == 0x8:  # CALL
        if not is64 or dst:
            return False
        if src == 1:
            return off == 0 and in_program(imm)
        return src == 2 or (src == 0 and off == 0)
    if code == 0x9:  # EXIT
        return is64 and dst == src == off == imm == 0
    if code > 0xD or dst > 10 or not in_program(off):
        return False
    return (src <= 10 and imm == 0) if register else src == 0


def legal_memory(kind: int, size: int, mode: int, dst: int, src: int, off: int, imm: int) -> bool:
    """Sections 5.1 to 5.4; `size` 0 to 3 is W, H, B, DW. Load-acquire and store-release: Linux."""
    if kind == 0:  # LD: only the 64-bit immediate, legacy packet access is not for XDP
        if mode != 0 or size != 3 or dst > 9 or off != 0 or src > 6:
            return False
        # A function's address needs a target: inside, and not this instruction's second half.
        return src != 4 or (in_program(imm) and imm != 0)
    if kind == 1:  # LDX
        sizes = {3: (0, 1, 2, 3), 4: (0, 1, 2)}.get(mode, ())
        return size in sizes and dst <= 9 and src <= 10 and imm == 0
    if kind == 2:  # ST
        return mode == 3 and dst <= 10 and src == 0
    if mode == 3:  # STX
        return dst <= 10 and src <= 10 and imm == 0
    if mode != 6 or dst > 10 or src > 10:
        return False
    if imm == 0x100:
        return dst <= 9
    if imm == 0x110:
        return True
    if size not in (0, 3):
        return False
    if imm in (0x00, 0x40, 0x50, 0xA0, 0xF1):
        return True
    return imm in (0x01, 0x41, 0x51, 0xA1, 0xE1) and src <= 9


def legal(opcode: int, dst: int, src: int, off: int, imm: int) -> bool:
    kind, register = opcode & 7, bool(opcode & 8)
    if kind in (4, 7):
        return legal_alu(kind == 7, opcode >> 4, register, dst, src, off, imm)
    if kind in (5, 6):
        return legal_jump(kind == 5, opcode >> 4, register, dst, src, off, imm)
    return legal_memory(kind, opcode >> 3 & 3, opcode >> 5, dst, src, off, imm)


def interesting() -> list[tuple[int, int, int, int]]:
    """Field values that tell variants, reserved fields and registers apart."""
    sources = (0, 1, 2, 3, 4, 5, 6, 7, 10, 11)
    offsets = (0, 1, 2, 7, 8, 16, 32, -1, -4)
    narrow = itertools.product((0, 9, 10, 11, 15), sources, offsets, (0, 1, -1))
    atomics = (0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, 0xE0, 0xE1, 0xF0, 0xF1, 0x100, 0x101, 0x110)
    wide = itertools.product((0, 10), (0, 1, 10), (0, 1), (2, 3, 4, 8, 16, 32, 64, -4, *atomics))
    return [*narrow, *wide]


@pytest.mark.parametrize(
    "kind", range(8), ids=["ld", "ldx", "st", "stx", "alu", "jmp", "jmp32", "alu64"]
)
def test_every_opcode_and_variant_against_the_rfc(kind: int) -> None:
    seen = set()
    combinations = interesting()
    for opcode in range(kind, 256, 8):
        for fields in combinations:
            want = legal(opcode, *fields)
            got = accepted(frame(encode(opcode, *fields), opcode == 0x18))
            assert got == want, f"opcode {opcode:#04x}, dst, src, off, imm {fields}"
            if want:
                seen.add(opcode)
    # Every opcode of this class in insn.def was met as legal, and no other.
    assert seen == {op.opcode for op in OPS if op.opcode & 7 == kind}


def test_every_diagnostic_becomes_one_sentence() -> None:
    families: dict[str, type[Exception] | tuple[type[Exception], ...]] = {
        "NATIVE": ProgramError,
        "ISA": ProgramError,
        "PROG": ProgramError,
        "VM": errors.ExecutionFault,
        "VER": errors.VerifierError,
        "MAP": errors.MapError,
        "IO": (errors.CaptureError, errors.OutputError),
        "HOOK": errors.LinkError,
        "RUN": errors.InputError,
        "LIVE": (errors.InterfaceError, errors.OutputError),
    }
    for code, row in enumerate(DIAGS):
        if not code:
            continue
        error = exception(22, code, insn=3, offset=40, found=(1 << 64) - 5, expected=9, name="x")
        assert isinstance(error, families[row.name.split("_")[0]]), row.name
        text = str(error)
        assert "{{" not in text
        assert "18446744073709551611" not in text, "decimal fields are signed"
        assert text.count("instruction 3") == row.text.count("instruction {insn}")
        if "{offset}" in row.text:
            assert "40" in text
        if isinstance(error, OSError):
            assert error.errno == 22
    named = {row.name: exception(22, code) for code, row in enumerate(DIAGS) if code}
    assert type(named["HOOK_DETACHED"]) is errors.LinkDetached
    assert type(named["HOOK_STALE_PROGRAM"]) is errors.StaleProgram
    assert type(named["HOOK_STALE_GENERATION"]) is errors.StaleGeneration
