"""Verification time beside the kernel's own: the 20 largest programs of the corpus, in one run.

The kernel's figure is the `verification time` of its verifier log (log level 4, BPF_LOG_STATS), ours
`Verification.elapsed_us`: either is the verifier alone, without the system call or the loader.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import pytest
from measure import machine
from pytest_benchmark.fixture import BenchmarkFixture

import pktfilter as pf
from pktfilter.objects import ObjectSpec, ProgramSpec

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import differential  # noqa: E402
import kernel  # noqa: E402

PROGRAMS = 20
ROUNDS = 11
LARGE = ("large_balancer", "large_firewall", "large_parser")
BPF_LOG_STATS = 4
_TIME = re.compile(r"verification time (\d+) usec")


def _accepted() -> Iterator[tuple[str, ObjectSpec, ProgramSpec]]:
    """Every program of the corpus and the examples that pktfilter accepts."""
    folders = (ROOT / "tests/programs", ROOT / "tests/corpus/v3", ROOT / "examples")
    for path in sorted(path for folder in folders for path in folder.glob("*.o")):
        try:
            spec = ObjectSpec.from_file(path)
        except pf.ObjectError:
            continue  # names a kernel function that is not known here
        for name, program in spec.programs.items():
            try:
                spec.check_supported(name)
            except pf.ObjectError:
                continue
            if _verify(spec, program).ok:
                yield f"{path.stem}:{name}", spec, program


def _verify(spec: ObjectSpec, program: ProgramSpec) -> pf.Verification:
    maps = {number: spec.maps[name] for number, name in program.map_refs.items()}
    return pf.verify(program.insns, program.type, maps, spec=program)


def _kernel_us(program: ProgramSpec, maps: dict[str, kernel.KernelMap]) -> float:
    flags = kernel.BPF_F_XDP_HAS_FRAGS if program.frags else 0
    numbers = {fd: maps[name] for fd, name in program.map_refs.items()}
    with kernel.KernelProgram.load(
        program.insns, maps=numbers, prog_flags=flags, log_level=BPF_LOG_STATS
    ) as loaded:
        found = _TIME.search(loaded.log)
    assert found, "the kernel's log has no verification time"
    return float(found[1])


@pytest.mark.timeout(600)
@kernel.requires_kernel()
def test_verification_against_the_kernel(benchmark: BenchmarkFixture) -> None:
    largest = sorted(_accepted(), key=lambda entry: entry[2].insn_count, reverse=True)
    rows = {}
    for name, spec, program in largest:
        with ExitStack() as stack:
            try:
                btf = spec.btf.raw if spec.btf else b""
                maps = {n: differential.kernel_map(stack, m, btf) for n, m in spec.maps.items()}
                _kernel_us(program, maps)
            except kernel.KernelError:
                continue  # an object that Linux wants loaded with BTF: there is nothing to compare
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(_verify(spec, program).elapsed_us)
                theirs.append(_kernel_us(program, maps))
        peak = _verify(spec, program).memory_peak
        # The kernel's clock here has whole microseconds.
        rows[name] = (program.insn_count, median(ours), max(median(theirs), 1.0), peak)
        if len(rows) == PROGRAMS:
            break
    ratios = {name: ours / theirs for name, (_, ours, theirs, _) in rows.items()}
    for name, (insns, ours, theirs, peak) in rows.items():
        print(
            f"{name:32} {insns:6} insns  {ours:9.0f} us  kernel {theirs:9.0f} us  "
            f"ratio {ratios[name]:5.2f}  {peak / 1024:7.0f} KiB"
        )
    print(f"median ratio {median(ratios.values()):.2f}")
    slowest = max(ratios, key=lambda name: ratios[name])
    spec, program = next((s, p) for name, s, p in largest if name == slowest)
    benchmark.pedantic(_verify, args=(spec, program), rounds=5)
    benchmark.extra_info.update(
        machine(),
        rounds=ROUNDS,
        programs={
            name: {
                "insns": insns,
                "us": round(ours, 1),
                "kernel_us": theirs,
                "ratio": round(ratios[name], 3),
                "memory_peak": peak,
            }
            for name, (insns, ours, theirs, peak) in rows.items()
        },
        median_ratio=round(median(ratios.values()), 3),
    )
    assert len(rows) == PROGRAMS
    assert {f"{name}:{name}" for name in LARGE} <= rows.keys()
    assert max(ratios.values()) <= 1.0, (slowest, ratios[slowest])
    assert median(ratios.values()) <= 0.5
