"""The verifier from Python and the command line; its verdicts on the frozen corpus."""

from __future__ import annotations

import itertools
import json
from functools import lru_cache
from pathlib import Path

import pytest
import verifier_corpus
from commandline import DEMO, EXAMPLES, program, run

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.handles.verification import Verification
from pktfilter.objects import ObjectSpec, ProgramSpec
from pktfilter.objects.btf import parse_btf
from pktfilter.objects.functions import global_functions

UNCHECKED_READ = """
    r2 = *(u32 *)(r1 +0)
    r0 = *(u8 *)(r2 +33)
    r0 = 2
    exit
"""
CHECKED_READ = """
    r2 = *(u32 *)(r1 +0)
    r3 = *(u32 *)(r1 +4)
    r4 = r2
    r4 += 34
    r0 = 2
    if r4 > r3 goto out
    r0 = *(u8 *)(r2 +33)
out:
    exit
"""


def code(text: str) -> bytes:
    return assemble(text, "test.s")[0].insns


def test_a_verdict() -> None:
    result = pf.verify(code(CHECKED_READ))
    assert result.ok
    assert result.diagnostics == ()
    assert result.insns_processed >= 9
    assert result.elapsed_us > 0
    assert 0 < result.memory_peak < 1 << 20


def test_a_refusal_names_cause_place_and_remedy() -> None:
    result = pf.verify(code(UNCHECKED_READ))
    assert not result.ok
    (found,) = result.diagnostics
    assert found.insn == 1
    assert found.text == "r0 = *(u8 *)(r2 +33)"
    assert "34" in found.message
    assert "data_end" in found.help
    assert "r2" in found.registers
    text = found.render("filter")
    assert text.startswith("error[") and "help: " in text


@pytest.mark.parametrize("insns", [b"", b"abc", bytes(8), bytes(range(80)), b"\xff" * 64])
def test_nothing_raises(insns: bytes) -> None:
    result = pf.verify(insns)
    assert not result.ok
    assert result.diagnostics[0].message


def test_refused_programs_cannot_be_made() -> None:
    with pytest.raises(pf.VerifierError) as caught:
        pf.Program.from_bytes(code(UNCHECKED_READ), name="filter")
    assert caught.value.diagnostics[0].insn == 1
    assert "filter" in str(caught.value)
    unverified = pf.Program.from_bytes(code(UNCHECKED_READ), verify=False)
    assert unverified.engine == "checked"
    assert pf.Program.from_bytes(code(CHECKED_READ)).engine == "interp"


def test_the_log_is_there_when_asked_for() -> None:
    assert pf.verify(code(CHECKED_READ)).log == ""
    assert len(pf.verify(code(CHECKED_READ), log=True).log.splitlines()) >= 9


def test_facts_say_what_holds_on_every_path() -> None:
    facts = pf.verify(code(CHECKED_READ), facts=True).facts
    kind, _, _, proved, *_ = facts[1][2]
    assert (kind, proved) == ("packet", 0)
    kind, _, _, proved, *_ = facts[6][2]  # behind the comparison
    assert (kind, proved) == ("packet", 34)
    kind, _, _, proved, *_ = facts[7][2]  # both ways come together
    assert (kind, proved) == ("packet", 0) or kind == "any"


def test_source_lines_of_a_refused_object() -> None:
    broken = verifier_corpus.PROGRAMS / "broken"
    seen = 0
    for path in sorted(broken.glob("*.o")):
        spec = ObjectSpec.from_file(path)
        for p in spec.programs.values():
            maps = {number: spec.maps[name] for number, name in p.map_refs.items()}
            for found in pf.verify(p.insns, maps=maps, spec=p).diagnostics:
                seen += found.source is not None and found.source.line > 0
    assert seen >= 10


def test_every_refusal_says_what_to_do() -> None:
    speechless = set()
    for entry in entries():
        result = pf.verify(entry.insns, type=entry.type, maps=entry.maps)
        speechless |= {found.code for found in result.diagnostics if not found.help}
    assert not speechless


def test_command_line(tmp_path: Path) -> None:
    assert "ok" in run("verify", EXAMPLES / "portfw.o").text
    assert run("verify", EXAMPLES / "tailcall.o").text.count(": ok: ") == 6
    path = program(tmp_path, UNCHECKED_READ)
    done = run("verify", path, code=1)
    assert "error[" in done.text and "help: " in done.text
    (row,) = run("verify", path, "--json", code=1).json["programs"]
    assert row["ok"] is False and row["insns"] == 4
    (found,) = row["diagnostics"]
    assert set(found) >= {"code", "message", "insn", "source", "path", "registers", "help"}
    assert json.dumps(found)
    assert len(run("verify", EXAMPLES / "pass.o", "--log").text.splitlines()) > 2
    assert run("replay", path, DEMO, "--unverified", "--json").json["packets"] == 2000


# What cases need beyond the basics, and the engine has.
SUPPORTED = {"spin_lock", "sk_lookup"}


@lru_cache(maxsize=1)
def entries() -> list[verifier_corpus.Entry]:
    return [
        entry
        for entry in itertools.chain(verifier_corpus.cases(), verifier_corpus.programs())
        if entry.needs <= SUPPORTED
    ]


# Where this verifier and Linux differ, each explained in docs/verifier.md.
DIFFERENCES = Path(__file__).parent / "verifier_cases" / "differences.txt"


def expected_differences() -> set[str]:
    return {line.split()[0] for line in DIFFERENCES.read_text().splitlines() if line.strip()}


def judge(entry: verifier_corpus.Entry) -> Verification:
    """The verdict on an entry, with all that its object knows."""
    btf = parse_btf(entry.btf, entry.name) if entry.btf else None
    spec = ProgramSpec(entry.name, "xdp", entry.insns, license=entry.license)
    spec.globals = global_functions(entry.functions, btf)
    return pf.verify(entry.insns, entry.type, entry.maps, spec=spec, cpus=4)


@lru_cache(maxsize=1)
def verdicts() -> list[tuple[verifier_corpus.Entry, Verification]]:
    return [(entry, judge(entry)) for entry in entries()]


def test_verdicts_are_those_of_linux() -> None:
    """Every entry of the corpus agrees with the kernel, but for the listed differences."""
    found = [(entry, "accept" if result.ok else "reject") for entry, result in verdicts()]
    differ = {entry.name for entry, verdict in found if verdict != entry.expected}
    assert differ == expected_differences()
    assert len(differ) <= 0.02 * len(found)
