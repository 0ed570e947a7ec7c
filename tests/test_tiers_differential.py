"""The engines against each other: both interpreters, compiled code with and without facts,
and compiled code against the kernel.

The comparison itself is fuzz/tiers*.c, built here; `fuzz/tiers.py` and `fuzz/tiers_corpus.py` run more of it.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import compiled
import kernel
import packets
import pytest
from commandline import ENVIRONMENT
from differential import kernel_map
from readers import shared_folder

import pktfilter as pf
from pktfilter.jit import llvm
from pktfilter.objects import MapSpec

FUZZ = Path(__file__).parent.parent / "fuzz"
sys.path.append(str(FUZZ))
REASON = llvm.reason_against()

pytestmark = [
    pytest.mark.skipif(
        shutil.which("make") is None or shutil.which("gcc") is None, reason="needs make and gcc"
    ),
    pytest.mark.skipif(REASON is not None, reason=f"nothing can be compiled here: {REASON}"),
]


@pytest.fixture(scope="module")
def library_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libtiers.so, compiled with warnings as errors."""
    build = tmp_path_factory.mktemp("tiers")
    command = ["make", "-s", f"BUILD={build}", f"PYTHON={sys.executable}", "tiers"]
    done = subprocess.run(command, cwd=FUZZ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return build / "libtiers.so"


@pytest.fixture(scope="module")
def engines(library_path: Path) -> Any:
    """The library with the pool and a quarter of dense programs."""
    from tiers_library import Library
    from tiers_program import Engines

    return Engines(Library(library_path, library_path.parent / "corpus.bin", 20, 40))


def compare_samples(engines: Any, seed: int, count: int) -> Any:
    """Sums over accepted programs of a seed."""
    from tiers_program import Totals, described, plan

    library, totals = engines.library, Totals()
    for index in range(count):
        runs = library.sample(seed, index)
        program = library.sample_program()
        if not program:
            continue
        if library.refusal(program) is None:
            why = engines.compile(program, library.sample_world())
            assert why is None, f"program {index}: {why}"
            report = library.compare(program, plan(runs, 48, 3, 40, engines.forms))
            totals.add(report)
            totals.compared += 1
            if report.found:
                totals.findings.append(f"seed {seed} program {index}, {described(report)}")
        library.program_free(program)
    return totals


def test_programs_of_the_campaign(engines: Any) -> None:
    totals = compare_samples(engines, 41, 40)
    assert totals.findings == []
    assert totals.compared >= 12
    assert totals.pairs >= 0.95 * totals.compared * (48 + 3 * 40)
    assert totals.covered > 0.5 * totals.reachable


def group_over(engines: Any, cases: Iterator[Any], singles: int) -> Any:
    from tiers_corpus import Group

    group = Group(engines, singles, 2)
    for case in cases:
        group.run(case)
    assert group.totals.findings == []
    # Everything compiles, but what LLVM would be at for minutes.
    assert [
        line for line in group.totals.fallbacks if "too many conditional jumps" not in line
    ] == []
    return group.totals


def test_examples(engines: Any) -> None:
    from tiers_corpus import examples

    totals = group_over(engines, examples(FUZZ.parent / "examples"), 100)
    assert totals.compared >= 10


def test_verifiers_corpus(engines: Any) -> None:
    """One entry of forty; tiers_corpus.py takes all of them."""
    from tiers_corpus import corpus

    assert group_over(engines, islice(corpus(), 3, None, 40), 40).compared >= 8


def test_instruction_set_vectors(engines: Any) -> None:
    from tiers_corpus import vectors

    path = shared_folder() / "isa" / "vectors.jsonl"
    if not path.is_file():
        pytest.skip("no shared vectors: set PKTFILTER_SHARED or place them beside the repository")
    totals = group_over(engines, vectors(path), 1)
    assert totals.compared >= 300
    assert totals.pairs >= 300


@pytest.mark.parametrize(
    ("right", "wrong"),
    [(" ashr ", " lshr "), (" sext ", " zext "), ("icmp slt", "icmp ult"), (" udiv ", " sdiv ")],
)
def test_a_wrong_translation_is_found(
    engines: Any, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    import tiers_program

    translate = tiers_program.translate
    monkeypatch.setattr(
        tiers_program, "translate", lambda unit: translate(unit).replace(right, wrong)
    )
    for seed in range(7, 12):
        if compare_samples(engines, seed, 10).findings:
            return
    pytest.fail(f"nobody noticed {wrong} for {right}")


COMPARABLE = ("array", "hash", "percpu_array", "percpu_hash")
SHARED_HELPERS = (1, 8)  # map_lookup_elem, get_smp_processor_id
ZEROED = b"".join(struct.pack("<BBhi", 0x7A, 10, -8 * slot, 0) for slot in range(1, 17))
"""Linux does not zero stacks: the slots that dense programs use."""


def comparable(insns: bytes, names: dict[int, str]) -> set[int] | None:
    """The maps a program names; None when it asks for what the kernel answers in its own way."""
    used: set[int] = set()
    rows = list(struct.iter_unpack("<BBhi", insns))
    for at, (code, registers, _, imm) in enumerate(rows):
        if code == 0x85 and (registers >> 4 or imm not in SHARED_HELPERS):
            return None
        if code == 0x18 and registers >> 4 in (1, 2):
            used.add(imm)
        assert code != 0x18 or at + 1 < len(rows)
    return used if all(names.get(place) in COMPARABLE for place in used) else None


@kernel.requires_kernel()
def test_compiled_programs_agree_with_the_kernel(engines: Any) -> None:
    """Dense programs: return value, packet and maps."""
    library = engines.library
    shapes = dict(enumerate(library.maps(library.pool())))
    names = {place: shape.type for place, shape in shapes.items()}
    done = 0
    for index in range(400):
        library.sample(43, index)
        insns = library.sample_code()
        used = comparable(insns, names)
        if library.sample_world() != library.pool() or used is None or done == 20:
            continue
        specs = {
            place: MapSpec(
                m.type, m.key_size, m.value_size, m.max_entries, m.flags, name=f"m{place}"
            )
            for place, m in shapes.items()
            if place in used
        }
        mine = {place: pf.Map(s, cpus=kernel.possible_cpus()) for place, s in specs.items()}
        try:
            program = pf.Program(ZEROED + insns, name="dense", maps=mine)
        except (pf.ProgramError, pf.VerifierError):
            continue
        compiled.stage(program)
        with ExitStack() as stack:
            maps = {place: kernel_map(stack, spec) for place, spec in specs.items()}
            try:
                theirs = stack.enter_context(kernel.KernelProgram.load(ZEROED + insns, maps=maps))
            except kernel.KernelError:
                continue
            for packet in packets.varied(30, seed=index):
                want = theirs.test_run(packet)
                got = compiled.run(program, packet, "jit")
                assert got[:2] == (want.retval, want.packet), f"program {index}: {packet.hex()}"
            for place, m in mine.items():
                assert dict(m.items()) == maps[place].items(), f"program {index}, map {place}"
        done += 1
    assert done >= 15


SAME = """
    .extern values 1
    r9 = *(u32 *)(r1 + 0)
    r7 = *(u32 *)(r1 + 4)
    r0 = r9
    r0 += 60
    if r0 > r7 goto out
    r5 = map[values][0] + 0
    r8 = *(s32 *)(r9 + 56)
    r8 >>= 60
    r8 <<= 1
    r1 = r5
    r1 += r8
    *(u64 *)(r1 + 34) = r8
    out:
    exit
"""
COMPILE = """
import sys
import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.jit.llvm import compile_ir
from pktfilter.jit.translate import translate
from pktfilter.jit.unit import unit_of
from pktfilter.objects import MapSpec
(made,) = assemble(sys.stdin.read(), "same.s")
values = pf.Map(MapSpec("array", 4, 256, 1, name="values"))
program = pf.Program(made.insns, name="same", maps={1: values})
print("bytes:", len(compile_ir(translate(unit_of(program._ref, None)))))
"""


def test_a_store_of_what_its_address_is_made_of() -> None:
    """LLVM 22 ends the process when it sees that address and value come from one number."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        input=SAME,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd="/",
    )
    assert done.stdout.startswith("bytes: "), done.stderr[-2000:]
