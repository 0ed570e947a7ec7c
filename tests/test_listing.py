"""`disasm --llvm` and `--native`: what programs became, with their instructions between."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commandline import ENVIRONMENT, EXAMPLES, OUT_OF_BOUNDS, assembly, program, run

llvm = pytest.importorskip("llvmlite.binding", reason="the compiled tier needs llvmlite")

from pktfilter.jit.llvm import compile_ir, reason_against  # noqa: E402

here = pytest.mark.skipif(reason_against() is not None, reason="the compiled tier is not for here")
#: Of objects with several programs, one.
NAMES = {"tailcall": "dispatch", "vlan": "vlan_pop"}
PROGRAMS = [
    f"{path}:{NAMES[path.stem]}" if path.stem in NAMES else str(path)
    for path in sorted(EXAMPLES.glob("*.o"))
]
BRANCH = assembly(
    "branch",
    "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 2\nr0 = 1\n"
    "if r4 > r3 goto out\nr5 = *(u8 *)(r2 +1)\nr0 = 2\nif r5 == 77 goto out\nr0 = 1\nout:\nexit\n",
)


@here
@pytest.mark.parametrize("prog", PROGRAMS, ids=lambda p: p.rpartition("/")[2])
def test_the_native_code_of_every_example(prog: str) -> None:
    text = run("disasm", prog, "--native").text
    assert re.search(r"^pf_run:$", text, re.M) and re.search(r"^pf_packets:$", text, re.M)
    assert re.search(r"^    ret", text, re.M)
    assert not re.search(r"\.loc|\.debug|\.cfi|Ltmp", text)
    plain = run("disasm", prog, "--no-source").text
    shown = re.findall(r"^    # (\d+): (\([0-9a-f]{2}\) .*)$", text, re.M)
    assert shown or "pass.o" in prog  # which has nothing to show but a constant
    for slot, instruction in shown:
        assert re.search(rf"^ *{slot}: {re.escape(instruction)}", plain, re.M), (slot, instruction)


@here
@pytest.mark.parametrize("prog", PROGRAMS, ids=lambda p: p.rpartition("/")[2])
def test_the_ir_of_every_example_is_ir(prog: str) -> None:
    """It can be given to LLVM's own tools, which is what it is printed for."""
    text = run("disasm", prog, "--llvm").text
    assert "!dbg" not in text and "!DI" not in text
    llvm.parse_assembly(text).verify()
    assert compile_ir(text).startswith(b"\x7fELF")


@here
def test_instructions_stand_before_their_code(tmp_path: Path) -> None:
    lines = run("disasm", program(tmp_path, BRANCH), "--native").text.splitlines()
    places = [n for n, line in enumerate(lines) if re.search(r"\b(cmp|sub|xor)\w* +\$77\b", line)]
    assert places, lines
    for place in places:
        above = [line for line in lines[:place] if line.startswith("    # ")]
        assert re.search(r"# [68]: ", above[-1]), above[-1]  # the load, or the comparison with it


@here
def test_source_lines_are_shown_where_the_object_has_them() -> None:
    path = EXAMPLES / "filter64.o"
    for way in ("--native", "--llvm"):
        assert "filter64.c:" in run("disasm", path, way).text
        assert "filter64.c:" not in run("disasm", path, way, "--no-source").text


@here
def test_hostile_source_text_stays_in_its_comment(tmp_path: Path) -> None:
    """Comments are one line of printable text each, whatever the object's strings hold."""
    data = (EXAMPLES / "filter64.o").read_bytes()
    assert b"data_end" in data
    path = tmp_path / "h.o"
    path.write_bytes(data.replace(b"data_end", b"da\n\x1b\rnd\x07"))
    done = run("disasm", path, "--native")
    assert b"\x1b" not in done.out and b"\x07" not in done.out and b"\r" not in done.out


def test_what_is_no_program_is_said(tmp_path: Path) -> None:
    bad = program(tmp_path, OUT_OF_BOUNDS, "oob.s")
    for way in ("--native", "--llvm"):
        assert "oob" in run("disasm", bad, way, code=1).error
        assert "several" in run("disasm", EXAMPLES / "tailcall.o", way, code=2).error
    error = run("disasm", EXAMPLES / "pass.o", "--native", "--llvm", code=2).error
    assert "ask for one" in error
    error = run("disasm", EXAMPLES / "pass.o", "--native", "--all", code=2).error
    assert "ask for one" in error
    assert "cannot be read" in run("disasm", tmp_path / "none.o", "--native", code=1).error


def test_without_llvm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise ImportError('none here')\n")
    path = f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", path)
    error = run("disasm", EXAMPLES / "pass.o", "--native", code=1).error
    assert "llvmlite cannot be imported: none here" in error
    assert "pass.o: " in error
