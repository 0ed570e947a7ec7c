"""Assembly and disassembly: what one prints the other reads back."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel import KernelProgram, requires_kernel

from pktfilter._core import isa
from pktfilter._core.tables import HELPERS, OPS, Op
from pktfilter.assembler import AsmProgram, assemble, assemble_file, forms
from pktfilter.disasm import disassemble
from pktfilter.errors import AssemblerError, InputError
from pktfilter.objects.spec import FuncInfo, LineInfo, ObjectSpec

SHARED = Path(os.environ.get("PKTFILTER_SHARED", Path(__file__).parents[2] / "shared"))
EXAMPLES = Path(__file__).parents[1] / "examples"
JUMPS = {"JA": "off", "JA32": "imm", "JMP_IMM": "off", "JMP_REG": "off"}


def one(text: str) -> bytes:
    """The bytes of the instructions before the exit that is put behind them."""
    return assemble(text + "\nexit", "t.s")[0].insns[:-8]


def encode(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def target_field(op: Op) -> str | None:
    """The field that holds a distance in instructions."""
    if op.name in ("CALL_LOCAL", "LDDW_FUNC"):
        return "imm"
    return JUMPS.get(op.form)


I16 = st.integers(-(1 << 15), (1 << 15) - 1)
I32 = st.one_of(st.integers(-(1 << 31), (1 << 31) - 1), st.sampled_from([0, 1, -1, 64, 255]))


@st.composite
def programs(draw: st.DrawFn) -> bytes:
    """A legal program of random instructions; its last is an exit."""
    ops = [*draw(st.lists(st.sampled_from(OPS), max_size=30)), OPS[-1]]
    assert ops[-1].name == "EXIT"
    starts, slot = [], 0
    for op in ops:
        starts.append(slot)
        slot += 2 if op.form == "LDDW" else 1
    code = b""
    for op, start in zip(ops, starts, strict=True):
        values = {"dst": 0, "src": 0, "off": 0, "imm": 0, "imm2": 0}
        for name in op.fields:
            if name in ("dst", "src"):
                values[name] = draw(st.integers(0, 9))
            else:
                values[name] = draw(I16 if name == "off" else I32)
        field = target_field(op)
        if field is not None:
            values[field] = draw(st.sampled_from(starts)) - start - 1
        if op.selector != "none":
            values[op.selector] = op.value
        code += encode(op.opcode, values["dst"], values["src"], values["off"], values["imm"])
        if op.form == "LDDW":
            code += encode(0, imm=values["imm2"])
    return code


def listed(code: bytes, **more: Any) -> AsmProgram:
    return AsmProgram("p", "xdp", code, functions=[FuncInfo(0, "p")], **more)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_random_legal_programs_round_trip(code: bytes) -> None:
    isa.check(code)
    (back,) = assemble(disassemble(listed(code)), "t.s")
    assert back.insns == code


@pytest.mark.parametrize("op", OPS, ids=[op.name for op in OPS])
def test_every_row_round_trips_at_its_limits(op: Op) -> None:
    limits = {
        "dst": (0, 9),
        "src": (0, 10),
        "off": (-(1 << 15), (1 << 15) - 1, 0, 8),
        "imm": (-(1 << 31), (1 << 31) - 1, 0, 5, -1),
        "imm2": (-(1 << 31), (1 << 31) - 1, 0, 5),
    }
    for round_ in range(5):
        values = {name: limits[name][round_ % len(limits[name])] for name in op.fields}
        if op.name.startswith("ATOMIC"):
            values["src"] = round_
        field = target_field(op)
        if field is not None:
            values[field] = 1
        if op.selector != "none":
            values[op.selector] = op.value
        halves = {name: values.pop(name, 0) for name in ("imm2",)}
        code = encode(op.opcode, **{"dst": 0, **values})
        if op.form == "LDDW":
            code += encode(0, imm=halves["imm2"])
        code += encode(0x95) * 3
        text = disassemble(listed(code))
        assert assemble(text, "t.s")[0].insns == code, text


def vector_codes() -> Iterator[tuple[str, bytes]]:
    path = SHARED / "isa" / "vectors.jsonl"
    if not path.exists():
        pytest.skip("the shared conformance vectors are not there (set PKTFILTER_SHARED)")
    for line in path.read_text().splitlines():
        vector = json.loads(line)
        if vector["code"] and vector["suite"] == "tests" and vector["name"] != "callx":
            yield vector["name"], bytes.fromhex(vector["code"])


def test_vectors_round_trip() -> None:
    count = 0
    for name, code in vector_codes():
        assert assemble(disassemble(listed(code)), name)[0].insns == code, name
        count += 1
    assert count == 312


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.o")), ids=lambda path: str(path.stem))
def test_example_objects_round_trip(path: Path) -> None:
    spec = ObjectSpec.from_file(path)
    assert spec.programs
    for program in spec.programs.values():
        for maps in (None, spec.maps):
            text = disassemble(program, maps=maps)
            (back,) = assemble(text, "t.s")
            assert back.insns == program.insns
            assert back.map_refs == program.map_refs
            assert (back.name, back.section) == (program.name, program.section)
        if program.lines:
            assert f"@ {program.lines[0].file}:{program.lines[0].line}" in text
            assert "@ " not in disassemble(program, source=False)


SOURCE = """\
.license GPL
.map conns lru_hash 4 8 1024          # flags are optional
.map cfg array 4 16 1 0x80
.program fw
        r6 = r1                       ; kept over calls
        *(u32 *)(r10 - 4) = 0
        r1 = map[conns]
        r2 = r10
        r2 += -4
        call map_lookup_elem          // by name, with or without bpf_
        if r0 == 0 goto out
again:  r1 = map[cfg][0]+8
        w3 = *(u8 *)(r1)
        call helper
        if w0 s> -1 goto again
        gotol out
out:
        r0 = 2
        exit
helper: r2 = subprog[helper]
        r0 = 0x1122334455667788 ll
        exit
.section xdp.frags
.program second
        r0 = 1
        exit
"""


def test_directives_labels_and_comments() -> None:
    text = SOURCE.replace("w3 = *(u8 *)(r1)", "r3 = *(u8 *)(r1)")
    first, second = assemble(text, "f.s")
    assert (first.name, first.section, first.license) == ("fw", "xdp/fw", "GPL")
    assert (second.name, second.section, second.license) == ("second", "xdp.frags", "GPL")
    assert second.insns == encode(0xB7, imm=1) + encode(0x95)
    assert first.map_refs == {1: "conns", 2: "cfg"}
    assert second.map_refs == {}
    conns, cfg = first.maps["conns"], first.maps["cfg"]
    assert (conns.type, conns.key_size, conns.value_size, conns.max_entries) == (
        "lru_hash",
        4,
        8,
        1024,
    )
    assert (cfg.flags, cfg.max_entries) == (0x80, 1)
    assert first.insns == b"".join(
        (
            encode(0xBF, 6, 1),
            encode(0x62, 10, 0, -4, 0),
            encode(0x18, 1, 1, imm=1) + encode(0),
            encode(0xBF, 2, 10),
            encode(0x07, 2, imm=-4),
            encode(0x85, imm=1),
            encode(0x15, 0, 0, 6),
            encode(0x18, 1, 2, imm=2) + encode(0, imm=8),
            encode(0x71, 3, 1),
            encode(0x85, 0, 1, imm=4),
            encode(0x66, 0, 0, -5, -1),
            encode(0x06),
            encode(0xB7, imm=2),
            encode(0x95),
            encode(0x18, 2, 4, imm=-1) + encode(0),
            encode(0x18, imm=0x55667788) + encode(0, imm=0x11223344),
            encode(0x95),
        )
    )
    assert [(info.insn, info.name) for info in first.functions] == [(0, "fw"), (16, "helper")]
    assert first.lines[0] == LineInfo(0, "f.s", 5, 9, "r6 = r1")
    listing = disassemble(first, maps=first.maps)
    (back,) = assemble(listing, "g.s")
    assert (back.insns, back.maps, back.map_refs) == (first.insns, first.maps, first.map_refs)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("r1 = -2147483648", encode(0xB7, 1, imm=-(1 << 31))),
        ("r1 = 0xffffffff", encode(0xB7, 1, imm=-1)),
        ("r1=-0x10", encode(0xB7, 1, imm=-16)),
        ("if r1 & 0x80000000 goto pc+0", encode(0x45, 1, imm=-(1 << 31))),
        ("r1 = -1 ll", encode(0x18, 1, imm=-1) + encode(0, imm=-1)),
        ("r1 = 18446744073709551615 ll", encode(0x18, 1, imm=-1) + encode(0, imm=-1)),
        ("call 7", encode(0x85, imm=7)),
        ("call bpf_redirect", encode(0x85, imm=23)),
        ("call bpf_brand_new#9999", encode(0x85, imm=9999)),
        ("call unknown#-1", encode(0x85, imm=-1)),
        ("r1 %= r2", encode(0x9F, 1, 2)),
        ("w1 s%= 3", encode(0x94, 1, off=1, imm=3)),
        ("r1 = (s32)r2", encode(0xBF, 1, 2, 32)),
        ("r1 = btf_var[5]@6", encode(0x18, 1, 3, imm=5) + encode(0, imm=6)),
        ("    0: (bf) r1 = r2 ; text @ a.c:1", encode(0xBF, 1, 2)),
    ],
)
def test_instructions(text: str, code: bytes) -> None:
    assert one(text) == code


@pytest.mark.parametrize(
    ("text", "line", "column", "parts"),
    [
        (
            "r0 = 2147483648",
            1,
            6,
            ["'2147483648'", "-2147483648 to 2147483647 or a bit pattern up to 0xffffffff"],
        ),
        ("r0 = 0x100000000", 1, 6, ["'0x100000000'"]),
        ("goto NOT_A_LABEL", 1, 6, ["'NOT_A_LABEL'", "label"]),
        ("lock r0", 1, 6, ["'r0'", "'*'"]),
        ("lock *(u64 *)(r1 +0) +=", 1, 24, ["end of the line", "r0 to r10"]),
        ("ldxq r0, [r1]", 1, 1, ["'ldxq'", "an instruction"]),
        ("r0 = *(u32 *)r1", 1, 14, ["'r1'", "'('"]),
        ("r0 = *(u32 *)(r1 +0x10000)", 1, 19, ["'0x10000'", "-32768 to 32767"]),
        ("exit 1", 1, 6, ["'1'", "the end of the line"]),
        ("r50 = 1", 1, 1, ["'r50'"]),
        ("r0 += r50", 1, 7, ["'r50'", "r0 to r10"]),
        ("r0 += w1", 1, 7, ["'w1'"]),
        ("r1 = -r2", 1, 7, ["'r2'", "'r1'"]),
        (".byte x", 1, 1, ["unknown directive", "'.byte'", ".map"]),
        ("exit\nr0 = 1 §", 2, 8, ["'§'"]),
        ("call bpf_nothing", 1, 6, ["'bpf_nothing'", "helper's name"]),
        ("call bpf_redirect#24", 1, 19, ["'24'", "23, the number of bpf_redirect"]),
        ("r1 = map[nowhere]", 1, 10, ["'nowhere'", ".map or .extern"]),
        ("a:\na: exit", 2, 1, ["defined twice"]),
        ("r1: exit", 1, 1, ["cannot be called so"]),
        ("3: exit", 1, 1, ["found 3, expected 0"]),
        ("0: (bf) exit", 1, 9, ["found (bf), expected (95)"]),
        ("0:", 1, 3, ["no instruction after the index"]),
        (".map m hash 4 8", 1, None, ["4 operands", ".map NAME"]),
        (".map m hash 4 8 1 0 7", 1, 21, ["'7'", "numa=N"]),
        (".map m hash 4 8 1 numa=x", 1, 24, ["'x'", "0 to"]),
        (".map m hash 4 8 1 numa=1 numa=1", 1, 26, ["'numa=1'"]),
        (".map m hash 4 8 1 inner array 4 8 1", 1, 6, ["does not fit its type", "an inner map"]),
        (".map m array_of_maps 4 4 1", 1, 6, ["no inner map"]),
        (".map m array_of_maps 4 4 1 inner array 4 8", 1, None, ["3 operands"]),
        (".map m array_of_maps 4 4 1 inner what 4 8 1", 1, 6, ["not supported", "what"]),
        (".data data 8", 1, 7, ["'data'", ".rodata, .data or .bss"]),
        (".data .data 0", 1, 13, ["at least 1 byte"]),
        (".data .bss 67108864\n.data .data 1", 2, 13, ["too much data", "67108864 bytes"]),
        (".bytes .data 0 00", 1, 8, ["no such data", ".data line"]),
        (".map m array 4 8 1\n.bytes m 0 00", 2, 8, ["no such data"]),
        (".data .data 4\n.bytes .data 0 0", 2, 16, ["'0'", "hex digits"]),
        (".data .data 4\n.bytes .data 2 00 0000", 2, 19, ["bytes 3 to 5", "at most 4"]),
        (".map m hash 4 8 1\n.slot m 0 m", 2, 7, ["'m'", "prog_array"]),
        (".map m prog_array 4 4 1\n.slot m 1 p", 2, 9, ["found 1", "below 1"]),
        (".map m prog_array 4 4 2\n.slot m 1 p\n.slot m 1 p", 3, 9, ["filled twice"]),
        (".map m prog_array 4 4 1\n.slot m 0 p\nexit", 2, 11, ["'p'", "a program of this file"]),
        (
            ".map m array_of_maps 4 4 1 inner array 4 8 1\n.slot m 0 m\nexit",
            2,
            11,
            ["'m'", "a map of a .map line"],
        ),
        (".map m prog_array 4 4 4000000000\n.slot m 3999999999 p", 2, 9, ["too much data"]),
        (".map m hash 4 8 x", 1, 17, ["'x'", "0 to 4294967295"]),
        (".map m nothing 4 8 1", 1, 6, ["map type is not supported", "nothing"]),
        (".map m hash 0 8 1", 1, 6, ["key_size"]),
        (".map m hash 4 8 1\n.map m hash 4 8 1", 2, 6, ["defined twice"]),
        (".extern a 1\n.extern b 1", 2, 9, ["number is taken"]),
        (".section tc", 1, 10, ["'tc'", "xdp"]),
        (".program 5x", 1, 10, ["'5x'"]),
        ("r10 = 1\nexit", 1, None, ["r10 is read only"]),
        ("r0 = 1", 1, None, ["control runs past"]),
        ("exit\ngoto pc+5", 2, None, ["outside the program"]),
        ("goto pc+1\nr1 = 0 ll\nexit", 1, None, ["middle of the 64-bit immediate"]),
    ],
)
def test_errors_say_where_found_and_expected(
    text: str, line: int, column: int | None, parts: list[str]
) -> None:
    with pytest.raises(AssemblerError) as caught:
        assemble(text, "bad.s")
    error = caught.value
    assert (error.file, error.line, error.column) == ("bad.s", line, column)
    for part in parts:
        assert part in str(error)


@pytest.mark.parametrize("text", ["", "; nothing\n\n", ".program a\n.program b\nexit"])
def test_empty_programs_are_refused(text: str) -> None:
    with pytest.raises(AssemblerError, match="no instructions"):
        assemble(text, "empty.s")


def test_labels_too_far_away() -> None:
    body = "r1 = 1\n" * 40000
    with pytest.raises(AssemblerError, match=r"too far away.*gotol") as caught:
        assemble(f"goto end\n{body}end: exit", "far.s")
    assert (caught.value.line, caught.value.column) == (1, 6)
    (program,) = assemble(f"gotol end\n{body}end: exit", "far.s")
    assert program.insns[:8] == encode(0x06, imm=40000)


@settings(deadline=None, max_examples=200)
@given(
    st.text(
        st.sampled_from("rw0123456789+-*/%<>=!&|^()[]:;#@.,sul goto\n\t\r$_pcmapcall"), max_size=60
    )
)
def test_any_text_assembles_or_is_refused(text: str) -> None:
    try:
        for program in assemble(text, "any.s"):
            isa.check(program.insns)
    except AssemblerError:
        pass


def test_hostile_names_stay_comments_or_numbers() -> None:
    code = encode(0x18, 1, 1, imm=1) + encode(0) + encode(0x18, 1, 1, imm=2) + encode(0)
    code += encode(0x95)
    program = AsmProgram("a\nr0 = 1", "xdp/\nexit", code, license="GPL\nexit")
    program.map_refs = {1: "x]\nexit", 2: "ok"}
    program.functions = [FuncInfo(0, "r1"), FuncInfo(2, "two\nexit")]
    program.lines = [LineInfo(0, "f\n.c", 1, 1, "text\nexit\r\u2028exit")]
    listing = disassemble(program)
    (back,) = assemble(listing, "h.s")
    assert back.insns == code
    assert back.map_refs == {2: "ok"}
    assert "map[fd:1]" in listing


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "drop all.s"
    path.write_bytes(b"r0 = 1\r\nexit\r\n")
    (program,) = assemble_file(path)
    assert (program.name, program.insns) == ("prog", encode(0xB7, imm=1) + encode(0x95))
    path.write_bytes(b"exit\n\xff")
    with pytest.raises(AssemblerError, match="line 2: the file is not UTF-8"):
        assemble_file(path)
    with pytest.raises(InputError, match="cannot be read"):
        assemble_file(tmp_path / "none.s")


# ---- the tables behind it


def test_a_row_without_a_parser_is_found() -> None:
    row = OPS[0]
    for text, message in (
        ("%D += %Z", "no parser for '%Z'"),
        ("%D += 5", "does not show its fields"),
        ("%D ~ %i", "cannot parse '~'"),
    ):
        with pytest.raises(RuntimeError, match=message):
            forms._elements(row._replace(text=text))
    root = forms._Node()
    forms._insert(root, forms._elements(row), row)
    with pytest.raises(RuntimeError, match="same text"):
        forms._insert(root, forms._elements(row), row)


def test_tables_are_those_of_the_core() -> None:
    assert [op.number for op in OPS] == list(range(len(OPS)))
    assert len({(op.opcode, op.value) for op in OPS}) == len(OPS)
    names = {helper.name: helper for helper in HELPERS}
    assert names["map_lookup_elem"].number == 1
    assert names["trace_printk"].gpl
    assert not names["map_lookup_elem"].gpl
    assert not names["skb_store_bytes"].supported


@requires_kernel()
def test_syntax_is_that_of_the_kernel_log() -> None:
    """The running kernel's verifier prints every form as the tables say."""
    setup, lines = ["r6 = r1", "*(u64 *)(r10 -8) = 1", "r1 = 1", "r2 = 2", "r0 = 3"], []
    left_out = {"JA", "JA32", "EXIT", "LDDW", "CALL_LOCAL", "CALL_KFUNC", "CALL_HELPER"}
    for op in OPS:
        if op.name in left_out or op.form == "LDDW" or op.group == "LINUX":
            continue
        text = op.text.replace("%D %o", "r10 -8").replace("%S %o", "r10 -8")
        if text.startswith(("%D = *(s", "%D = *(u")):
            text = text.replace("%D", "r1")
        for letter, value in zip(
            "DdSsixJ", ("r1", "w1", "r2", "w2", "5", "0x5", "+0"), strict=True
        ):
            text = text.replace(f"%{letter}", value)
        # Known scalars before each, so that every register may be used.
        lines += ["r1 = 1", "r2 = 2", "*(u64 *)(r10 -8) = 1", text]
    lines += ["goto pc+0", "gotol pc+0", "r1 = 77", "call bpf_get_prandom_u32#7", "call pc+2"]
    lines += ["r0 = 2", "exit", "r0 = 0", "exit"]
    (program,) = assemble("\n".join(setup + lines), "k.s")
    with KernelProgram.load(program.insns, log_level=2) as loaded:
        log = loaded.log
    shown: dict[int, str] = {}
    for line in log.splitlines():
        found = re.match(r"(\d+): \(([0-9a-f]{2})\) (.*?)\s*(?:;.*)?$", line)
        if found:
            shown[int(found[1])] = f"({found[2]}) {found[3]}"
    mine = {
        slot: f"({program.insns[8 * slot]:02x}) {text}"
        for slot, text in enumerate(isa.text(program.insns))
    }
    assert len(shown) > 400
    assert shown == {slot: mine[slot] for slot in shown}
