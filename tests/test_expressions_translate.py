"""The translation of classic BPF, against a machine of our own and against libpcap's."""

from __future__ import annotations

import pytest
from classic_bpf import Row, run
from expression_cases import EXPRESSIONS, packets
from hypothesis import given, settings
from hypothesis import strategies as st

import pktfilter as pf
from pktfilter.expressions.cbpf import decode
from pktfilter.expressions.compile import compile_expression
from pktfilter.expressions.translate import translate

LD_ABS, LD_IND, MSH = {1: 0x30, 2: 0x28, 4: 0x20}, {1: 0x50, 2: 0x48, 4: 0x40}, 0xB1
ALU = (0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xA0)

words = st.one_of(
    st.integers(0, 40),
    st.sampled_from(
        [0, 1, 31, 32, 255, 0x800, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
    ),
    st.integers(0, 0xFFFFFFFF),
)
#: Where loads are: within short packets, at their end, far outside.
places = st.one_of(
    st.integers(0, 70), st.sampled_from([0x7FFF, 0x8000, 0xFFFB, 0xFFFF, 0x10000, 0xFFFFFFF0])
)


@st.composite
def programs(draw: st.DrawFn) -> list[Row]:
    """Legal programs whose jumps go forward; each ends in a return."""
    count = draw(st.integers(1, 24))
    rows: list[Row] = []
    for at in range(count):
        left = count - at - 1
        kind = draw(
            st.sampled_from(
                ["abs", "abs", "ind", "load", "store", "alu", "jump", "jump", "misc", "ret"]
            )
        )
        row: Row
        if kind == "abs":
            row = (draw(st.sampled_from([*LD_ABS.values(), MSH])), 0, 0, draw(places))
        elif kind == "ind":
            row = (draw(st.sampled_from([*LD_IND.values()])), 0, 0, draw(places))
        elif kind == "load":
            code = draw(st.sampled_from([0x00, 0x01, 0x60, 0x61, 0x80, 0x81]))
            row = (code, 0, 0, draw(st.integers(0, 3)) if code & 0x60 else draw(words))
        elif kind == "store":
            row = (draw(st.sampled_from([0x02, 0x03])), 0, 0, draw(st.integers(0, 7)))
        elif kind == "alu":
            op = draw(st.sampled_from([*ALU, 0x80]))
            operand = draw(words)
            if op in (0x60, 0x70):
                operand %= 40
            row = (4 | op | (0 if op == 0x80 else draw(st.sampled_from([0, 8]))), 0, 0, operand)
        elif kind == "jump" and left:
            op = draw(st.sampled_from([0x00, 0x10, 0x20, 0x30, 0x40]))
            to = st.integers(0, left - 1) if left > 1 else st.just(0)
            if op == 0:
                row = (5, 0, 0, draw(to))
            else:
                source = draw(st.sampled_from([0, 0, 8]))
                row = (5 | op | source, draw(to), draw(to), draw(words))
        elif kind == "ret":
            row = draw(st.sampled_from([(6, 0, 0, 0), (6, 0, 0, 65535), (0x16, 0, 0, 0)]))
        else:
            row = (draw(st.sampled_from([0x07, 0x87])), 0, 0, 0)
        rows.append(row)
    rows.append(draw(st.sampled_from([(6, 0, 0, 0), (6, 0, 0, 262144), (0x16, 0, 0, 0)])))
    return rows


def actions(rows: list[Row], packet: bytes, wire_len: int) -> set[pf.XDP]:
    program = pf.Program.from_bytes(translate(decode(rows)), type="pcap")
    return {
        program.test_run(packet, wire_len=wire_len, engine=engine).action
        for engine in ("checked", "interp")
    }


@settings(max_examples=400, deadline=None)
@given(programs(), st.binary(max_size=80), st.integers(1, 2000))
def test_any_program_over_any_packet(rows: list[Row], packet: bytes, more: int) -> None:
    wire_len = len(packet) + more
    want = pf.XDP.PASS if run(rows, packet, wire_len) else pf.XDP.DROP
    assert actions(rows, packet, wire_len) == {want}


@settings(max_examples=200, deadline=None)
@given(programs(), st.binary(max_size=80), st.integers(1, 2000))
def test_the_machine_of_these_tests_is_that_of_libpcap(
    rows: list[Row], packet: bytes, more: int
) -> None:
    cypcap = pytest.importorskip("cypcap")
    # What libpcap's validator refuses or C leaves undefined is not its to judge.
    rows = [
        (c, t, f, 1 if c in (0x34, 0x94) and k == 0 else k % 32 if c in (0x64, 0x74) else k)
        for c, t, f, k in rows
    ]
    if not _written_first(rows):
        return
    header = cypcap.Pkthdr(0.0, len(packet), len(packet) + more)
    matched = cypcap.BpfProgram(rows).offline_filter(header, packet)
    assert bool(matched) == bool(run(rows, packet, len(packet) + more))


def _written_first(rows: list[Row]) -> bool:
    """Whether no path reads a word of memory before it wrote it: libpcap leaves those as they were."""
    written: dict[int, frozenset[int]] = {0: frozenset()}
    for at, (code, jt, jf, k) in enumerate(rows):
        if at not in written:
            continue
        known = written[at]
        if code in (0x60, 0x61) and k not in known:
            return False
        if code in (2, 3):
            known |= {k}
        targets = () if code & 7 == 6 else (at + 1,)
        if code & 7 == 5:
            targets = (at + 1 + k,) if code == 5 else (at + 1 + jt, at + 1 + jf)
        for target in targets:
            written[target] = written.get(target, known) & known
    return True


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_are_what_libpcap_does_with_them(expression: str, optimize: bool) -> None:
    cypcap = pytest.importorskip("cypcap")
    with cypcap.open_dead(cypcap.DatalinkType.EN10MB, 262144) as capture:
        theirs = capture.compile(expression, optimize)
    steps = compile_expression(expression, optimize=optimize)
    program = pf.Program.from_bytes(translate(steps), type="pcap")
    matched = 0
    for packet in packets(len(expression)):
        wire_len = len(packet) + 30
        want = bool(theirs.offline_filter(cypcap.Pkthdr(0.0, len(packet), wire_len), packet))
        for engine in ("checked", "interp"):
            got = program.test_run(packet, wire_len=wire_len, engine=engine).action
            assert got == (pf.XDP.PASS if want else pf.XDP.DROP), packet.hex()
        matched += want
    assert matched < 120
