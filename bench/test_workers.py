"""Several workers beside one, and a thread that reads beside one that runs. Needs two CPUs and an idle machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from measure import Sample, alternate, machine, ratio
from pytest_benchmark.fixture import BenchmarkFixture

import pktfilter as pf

PACKETS = 2_000_000
ROUNDS = 11
LEAST_SPEEDUP = 1.7
#: Instructions of the loop that makes a program compute-bound: far more than reading a packet takes.
TURNS = 200

COMPUTE = f"""
.section xdp
.program busy
busy:
r0 = {TURNS}
r1 = 1
again:
r1 *= 0x9e3779b1
r1 += 12345
r0 += -1
if r0 != 0 goto again
r0 = 2
exit
"""


@pytest.fixture
def all_cpus(one_cpu: int) -> Iterator[int]:
    """Undoes the pinning of the other benchmarks; skips where there is one CPU."""
    del one_cpu
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    count = len(os.sched_getaffinity(0))
    if count < 2:
        os.sched_setaffinity(0, pinned)
        pytest.skip("needs two CPUs")
    yield count
    os.sched_setaffinity(0, pinned)


def _compute() -> pf.Hook:
    from pktfilter.assembler import assemble

    (made,) = assemble(COMPUTE, "busy.s")
    hook = pf.Hook("bench")
    hook.attach(pf.Program.from_bytes(made.insns, name=made.name))
    return hook


def _seconds(path: Path, hook: pf.Hook, **options: object) -> float:
    result = pf.replay(path, hook, **options)
    assert result.actions["pass"] == result.packets
    return result.elapsed_s


def test_two_workers_on_a_compute_bound_program(
    benchmark: BenchmarkFixture, captures: dict[str, Path], tmp_path: Path, all_cpus: int
) -> None:
    """The captures' first packets only: each takes about a microsecond."""
    path = _front(captures["64"], tmp_path / "front.pcap", 200_000)
    hook = _compute()
    one, two = alternate(
        ROUNDS,
        lambda: _seconds(path, hook, workers=1, overlap=False),
        lambda: _seconds(path, hook, workers=2),
    )
    benchmark.pedantic(_seconds, args=(path, hook), kwargs={"workers": 2}, rounds=3)
    speedup = ratio(one, two)
    benchmark.extra_info.update(
        machine(), rounds=ROUNDS, cpus_allowed=all_cpus, speedup=speedup,
        speedup_of_least=round(min(one.seconds) / min(two.seconds), 3),
        one_ns=one.ns(200_000), two_ns=two.ns(200_000),
    )  # fmt: skip
    assert min(one.seconds) / min(two.seconds) >= LEAST_SPEEDUP, benchmark.extra_info


@pytest.mark.parametrize("profile", ["64", "imix_csit_v4_1"])
@pytest.mark.parametrize("name", ["pass", "filter64"])
@pytest.mark.parametrize("write", [None, "/dev/null"], ids=["quiet", "written"])
def test_ways_to_run(
    benchmark: BenchmarkFixture, captures: dict[str, Path], examples: Path, profile: str, name: str,
    write: str | None, all_cpus: int,
) -> None:  # fmt: skip
    """One worker in turns, one with a thread that reads, two: what the choice of `overlap` stands on."""
    hook = pf.Hook("bench")
    (program,) = pf.load(examples / f"{name}.o", cpus=2).programs.values()
    hook.attach(program)
    path = captures[profile]

    def run(**options: object) -> float:
        return pf.replay(path, hook, write=write, **options).elapsed_s

    ways: dict[str, dict[str, object]] = {
        "turns": {"overlap": False},
        "overlapped": {"overlap": True},
        "two workers": {"workers": 2},
        "two workers, unordered": {"workers": 2, "unordered": True},
    }
    samples: list[Sample] = alternate(5, *(lambda o=o: run(**o) for o in ways.values()))
    benchmark.pedantic(run, kwargs={"overlap": False}, rounds=1)
    benchmark.extra_info.update(
        machine(),
        cpus_allowed=all_cpus,
        ns={way: sample.ns(PACKETS) for way, sample in zip(ways, samples, strict=True)},
        over_turns={
            way: ratio(sample, samples[0]) for way, sample in zip(ways, samples, strict=True)
        },
    )


def _front(path: Path, to: Path, packets: int) -> Path:
    """A capture of the first packets, which all have the same length."""
    with open(path, "rb") as file:
        head = file.read(40)
        record = 16 + int.from_bytes(head[32:36], "little")
        file.seek(0)
        to.write_bytes(file.read(24 + packets * record))
    return to
