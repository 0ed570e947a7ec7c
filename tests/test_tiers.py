"""Tiers: compiled before a run or while it goes on, published without anything being seen of it."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commandline import COMMAND, DEMO, ENVIRONMENT, PASS, run

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.errors import CompileError
from pktfilter.handles import tiers
from pktfilter.handles.tiers import TierUp, compile_program

ROOT = Path(__file__).parent.parent
RDONLY_PROG = 1 << 7
TAILCALL = ROOT / "examples" / "tailcall.o"

pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")
pytestmark = pytest.mark.skipif(
    tiers._machine() is not None, reason="the compiled tier is for x86-64 Linux"
)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache; and the background begins at once, since waiting for it is all a test does."""
    monkeypatch.setenv("PKTFILTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tiers, "DELAY_S", 0.0)
    monkeypatch.setattr(tiers, "POLL_S", 0.001)


def code(text: str) -> bytes:
    (made,) = assemble(text, "test.s")
    return made.insns


def returning(value: int, name: str = "") -> pf.Program:
    return pf.Program.from_bytes(code(f"r0 = {value}\nexit"), name=name or f"returns{value}")


def until(condition: Callable[[], bool]) -> None:
    """Waits for the background; a minute is for a machine that does other things."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "the background never came to it"
        time.sleep(0.002)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Programs whose names are in this list cannot be compiled."""
    from pktfilter.jit import unit

    names: list[str] = []
    genuine = unit.unit_of

    def unit_of(ref: object, facts: object) -> object:
        if ref.name in names:  # type: ignore[attr-defined]
            raise CompileError("nothing is known of it", place="instruction 7")
        return genuine(ref, facts)  # type: ignore[arg-type]

    monkeypatch.setattr(unit, "unit_of", unit_of)
    yield names


def test_engine_shows_the_tier() -> None:
    program = returning(1)
    assert program.engine == "interp"
    assert program.test_run(bytes(60)).retval == 1
    assert program.engine == "interp"
    assert program.test_run(bytes(60), engine="jit").retval == 1
    assert program.engine == "jit"
    for engine in ("auto", "interp", "checked"):
        assert program.test_run(bytes(60), engine=engine).retval == 1
    unverified = pf.Program.from_bytes(code("r0 = 1\nexit"), verify=False)
    assert unverified.engine == "checked"
    with pytest.raises(pf.ProgramError, match="only verified programs are compiled"):
        unverified.test_run(bytes(60), engine="jit")


def test_execute() -> None:
    sum_of = code(
        "r0 = 0\nr3 = r1\nr3 += 4\nr4 = r1\nr4 += r2\nif r3 > r4 goto pc+2\n"
        "r0 = *(u8 *)(r1 +3)\nr0 += r2\nexit"
    )
    for engine in ("checked", "interp", "jit", "auto"):
        assert pf.vm.execute(sum_of, b"\1\2\3\4", engine=engine) == 8
    memory = bytearray(8)
    store = code(
        "r0 = 1\nr3 = r1\nr3 += 8\nr4 = r1\nr4 += r2\nif r3 > r4 goto pc+2\n"
        "*(u64 *)(r1 +0) = 258\nr0 = 0\nexit"
    )
    assert pf.vm.execute(store, memory, engine="jit") == 0
    assert memory == struct.pack("<Q", 258)


def test_the_second_process_finds_it_in_the_cache() -> None:
    first, second = returning(2), returning(2)
    made, found = compile_program(first), compile_program(second)
    assert made is not None and found is not None
    assert (made.cached, found.cached) == (False, True)
    assert compile_program(second) is None  # nothing to do
    assert second.test_run(bytes(60)).retval == 2
    other = compile_program(returning(3), cache_only=True)
    assert other is None


def test_damage_in_the_cache_is_no_answer(tmp_path: Path) -> None:
    """An object that the loader refuses is made anew, whatever the cache thinks of it."""
    from pktfilter.handles.verification import request_of
    from pktfilter.jit import cache
    from pktfilter.jit.unit import unit_of

    program = returning(2)
    key = cache.key((unit_of(program._ref, None), request_of(program)))
    assert cache.store(key, b"\x7fELF and no more") is None
    result = compile_program(program)
    assert result is not None and not result.cached and result.reason is None
    assert program.test_run(bytes(60), engine="jit").retval == 2


def test_replay_compiles_first_when_asked() -> None:
    hook = pf.Hook("ingress")
    link = hook.attach(returning(1))
    result = pf.replay([DEMO], hook, engine="jit", swaps=[(1000, link, returning(2))])
    assert result.engine_packets == {"checked": 0, "interp": 0, "jit": 2000}
    assert (result.actions["drop"], result.actions["pass"]) == (1000, 1000)
    assert [c.program for c in result.compiled] == ["returns1", "returns2"]
    assert result.compile_s > 0
    assert result.to_json()["compiled"][0]["reason"] is None
    assert "pktfilter-tiers" not in {t.name for t in threading.enumerate()}


def test_a_program_that_cannot_be_compiled(refused: list[str]) -> None:
    refused.append("odd")
    hook = pf.Hook("ingress")
    link = hook.attach(returning(1, "odd"))
    with pytest.raises(pf.ProgramError, match="program 'odd': cannot be compiled: instruction 7"):
        pf.replay([DEMO], hook, engine="jit")
    with pytest.raises(pf.ProgramError, match="nothing is known of it"):
        link.program.test_run(bytes(60), engine="jit")  # type: ignore[union-attr]
    with hook.datapath.engine("auto") as tier:
        until(lambda: bool(tier.compiled))
    assert [(c.program, c.reason) for c in tier.compiled] == [
        ("odd", "instruction 7: nothing is known of it")
    ]
    assert tier.tier_ups == 0
    assert pf.replay([DEMO], hook).actions["drop"] == 2000


def test_updates_are_refused_while_only_compiled_code_may_run(refused: list[str]) -> None:
    refused.append("odd")
    hook = pf.Hook("ingress")
    link = hook.attach(returning(1))
    with hook.datapath.engine("jit"):
        with pytest.raises(pf.ProgramError, match="cannot be compiled"):
            link.update(returning(2, "odd"))
        with pytest.raises(pf.ProgramError, match="cannot be compiled"):
            hook.attach(returning(2, "odd"))
        with pytest.raises(pf.ProgramError, match="cannot be compiled"):
            link.shadow(returning(2, "odd"))
        assert link.generation == 1
        new = returning(2)
        assert link.update(new).generation == 2
        assert new.engine == "jit"
    link.update(returning(2, "odd"))  # afterwards anything may run


def test_tier_up_changes_the_revision_alone() -> None:
    hook = pf.Hook("ingress")
    program = returning(1)
    link = hook.attach(program)
    before = hook.datapath.revision, hook.datapath.generation, len(link.history)
    with hook.datapath.engine("auto") as tier:
        until(lambda: tier.tier_ups == 1)
        assert program.engine == "jit"
        assert hook.datapath.revision == before[0] + 1
        assert (hook.datapath.generation, len(link.history)) == before[1:]
        new = returning(2)
        link.update(new)  # a program that comes while the run goes on
        until(lambda: tier.tier_ups == 2)
        assert new.engine == "jit"
        assert hook.datapath.generation == before[1] + 1
    assert [c.program for c in tier.compiled] == ["returns1", "returns2"]


def test_tail_call_targets_come_along(refused: list[str]) -> None:
    """A chain is compiled when all that it can reach is; what a prog array gets later, too."""
    loaded = pf.load(TAILCALL)
    array = next(m for m in loaded.maps.values() if m.type == "prog_array")
    dispatch = loaded.programs["dispatch"]
    for slot, name in enumerate(n for n in loaded.programs if n != "dispatch"):
        array[slot] = loaded.programs[name]
    hook = pf.Hook("ingress")
    hook.attach(dispatch)
    expected = pf.replay([DEMO], hook, engine="interp").actions
    with hook.datapath.engine("auto"):
        until(lambda: all(p.engine == "jit" for p in loaded.programs.values()))
    assert pf.replay([DEMO], hook, engine="jit").actions == expected
    refused.append("odd")
    key = 0
    kept = array[key]
    array[key] = returning(3, "odd")
    assert pf.replay([DEMO], hook).engine_packets["interp"] == 2000
    array[key] = late = returning(3, "late")
    with hook.datapath.engine("auto"):
        until(lambda: late.engine == "jit")
    assert pf.replay([DEMO], hook).engine_packets["jit"] == 2000
    array[key] = kept


def test_a_bug_of_ours_stops_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from pktfilter.jit import translate

    def broken(unit: object) -> str:
        raise KeyError("registers")

    monkeypatch.setattr(translate, "translate", broken)
    hook = pf.Hook("ingress")
    hook.attach(returning(1))
    with hook.datapath.engine("auto") as tier:
        until(lambda: bool(tier.compiled))
    assert "internal error" in (tier.compiled[0].reason or "")
    assert pf.replay([DEMO], hook).actions["drop"] == 2000


def test_a_bug_of_ours_in_the_background_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is, the run goes on as it was."""

    def broken(ref: object) -> object:
        raise KeyError("registers")

    hook = pf.Hook("ingress")
    hook.attach(returning(1))
    with hook.datapath.engine("auto") as tier:
        until(lambda: tier.tier_ups == 1)
        monkeypatch.setattr(tiers, "program_handle", broken)
        hook.attach(returning(2), priority=1)
        until(lambda: len(tier.compiled) == 2)
        assert pf.replay([DEMO], hook, engine="interp").actions["drop"] == 2000
    assert tier.compiled[1].reason == "internal error: KeyError('registers')"


READS = """
.extern settings 1
  r1 = map[settings][0]+0
  r1 = *(u32 *)(r1 +0)
  r0 = 1
  if r1 == 1 goto out
  r0 = 2
out:
  exit
"""


def reading(value: int) -> tuple[pf.Program, pf.Map]:
    """Returns what a map holds that programs cannot write: frozen, one branch is dead."""
    settings = pf.Map(pf.MapSpec("array", 4, 4, 1, flags=RDONLY_PROG), name="settings")
    settings[0] = struct.pack("<I", value)
    return pf.Program.from_bytes(code(READS), name="reads", maps={1: settings}), settings


def test_a_map_frozen_while_its_program_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code with the contents of a frozen map is found by nobody whose map is not."""
    from pktfilter.handles import verification

    first, settings = reading(1)
    genuine = verification.facts_of

    def facts_of(program: pf.Program) -> object:
        settings.freeze()
        return genuine(program)

    monkeypatch.setattr(verification, "facts_of", facts_of)
    assert compile_program(first) is not None
    monkeypatch.setattr(verification, "facts_of", genuine)
    second, _ = reading(2)
    assert compile_program(second) is not None
    for made, value in ((first, 1), (second, 2)):
        assert made.engine == "jit"
        assert made.test_run(bytes(60), engine="jit").retval == value
        assert made.test_run(bytes(60), engine="interp").retval == value


def test_compiling_waits_until_it_pays() -> None:
    hook = pf.Hook("ingress")
    hook.attach(returning(1))
    left = [0.001]
    with TierUp(hook.datapath._ref, "auto", size=1, remaining=lambda: left[0]) as tier:
        looks = threading.active_count()
        time.sleep(0.05)
        assert tier.compiled == [] and looks > 1
        left[0] = 1000.0
        until(lambda: tier.tier_ups == 1)


def test_a_stopped_run_waits_for_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps the background sees that nobody wants its code any more."""
    from pktfilter.jit import translate

    genuine, began = translate.translate, threading.Event()
    hook = pf.Hook("ingress")
    program = returning(1)
    hook.attach(program)
    runs: list[TierUp] = []

    def slow(unit: object) -> str:
        began.set()
        until(lambda: bool(runs) and runs[0]._stop.is_set())
        return genuine(unit)  # type: ignore[arg-type]

    monkeypatch.setattr(translate, "translate", slow)
    with hook.datapath.engine("auto") as tier:
        runs.append(tier)
        assert began.wait(60)
    assert program.engine == "interp" and tier.compiled == []
    monkeypatch.setattr(translate, "translate", genuine)
    assert compile_program(program) is not None  # nothing stayed behind


def test_swaps_while_tiers_come_up() -> None:
    """Every batch is of one program and one generation, whatever the code that ran it."""
    hook = pf.Hook("ingress")
    link = hook.attach(returning(1))
    values = {link.generation: 1}
    ended, failures = threading.Event(), []
    latest = [0]

    def swapper() -> None:
        try:
            for i in range(24):
                new = returning(1 + i % 4, f"p{i}")
                update = link.update(new, wait=i % 3 != 0)
                values[update.generation] = 1 + i % 4
                until(lambda update=update: latest[0] == update.generation)
                if i % 4 == 3:
                    until(lambda new=new: new.engine == "jit")
        except BaseException as error:  # seen by the test, which the thread cannot fail
            failures.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=swapper)
    seen: list[tuple[int, set[int], set[int]]] = []
    before = hook.datapath.revision
    thread.start()
    while not ended.is_set():
        for batch in pf.batches([DEMO] * 20, hook, batch=64):
            latest[0] = batch.generation
            seen.append(
                (batch.generation, set(batch.retvals.tolist()), set(batch.generations.tolist()))
            )
            if ended.is_set():
                break
    thread.join()
    assert not failures
    assert {generation for generation, _, _ in seen} >= set(range(2, 26))
    assert hook.datapath.revision - before >= 24 + 6  # the updates, and code that came for some
    for generation, retvals, generations in seen:
        assert generations == {generation}
        assert retvals == {values[generation]}


def test_command_line(tmp_path: Path) -> None:
    result = run("replay", PASS, DEMO, "--engine", "jit", "--json").json
    assert result["engine_packets"] == {"checked": 0, "interp": 0, "jit": 2000}
    assert result["compile_s"] > 0 and result["compiled"][0]["program"] == "pass"
    assert run("replay", PASS, DEMO, "--engine", "jit", "--json").json["compiled"][0]["cached"]


def test_command_line_without_llvm(tmp_path: Path) -> None:
    """engine jit says why it cannot; auto runs in the interpreter, and says why in --json alone."""
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise ImportError('broken on purpose')\n")
    (tmp_path / "llvmlite" / "_version.py").write_text("")
    where = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]]),
        "PKTFILTER_CACHE": "off",
    }
    command = [sys.executable, "-m", "pktfilter", "replay", str(PASS), str(DEMO), "--engine"]
    done = subprocess.run(
        [*command, "jit"], env=where, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "program 'pass': cannot be compiled" in done.stderr
    assert "broken on purpose" in done.stderr
    done = subprocess.run(
        [*command, "auto"], env=where, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_while_it_compiles() -> None:
    """Ctrl-C ends the command once LLVM's step is over, with the status of an interrupt."""
    body = "".join(f"r{1 + i % 5} += r{1 + (i * 7) % 5}\n" for i in range(3000))
    text = "r0 = 2\n" + "".join(f"r{i} = {i}\n" for i in range(1, 6)) + body + "exit\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "long.s"
        source.write_text(text)
        process = subprocess.Popen(
            [*COMMAND, "replay", source, "-", "--engine", "jit"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**ENVIRONMENT, "PKTFILTER_CACHE": "off"},
        )  # fmt: skip
        with process:
            time.sleep(1.0)
            assert process.poll() is None, process.stderr and process.stderr.read()
            process.send_signal(signal.SIGINT)
            process.wait(timeout=120)
            assert process.stderr is not None
            assert process.returncode in (130, -signal.SIGINT)
            assert b"Traceback" not in process.stderr.read()
