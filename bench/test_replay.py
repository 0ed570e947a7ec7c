"""What the replay loop costs beyond read(2) of the same file, and how much memory it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from measure import alternate, difference_ns, least_difference_ns, machine, read_file
from pytest_benchmark.fixture import BenchmarkFixture

import pktfilter as pf

PACKETS = 2_000_000
ROUNDS = 21
LIMIT_NS = 14.0
LIMIT_MEMORY = 100e6


def _hook(program: Path | None) -> pf.Hook:
    hook = pf.Hook("bench")
    if program is not None:
        (only,) = pf.load(program).programs.values()
        hook.attach(only)
    return hook


@pytest.mark.parametrize("profile", ["64", "imix_csit_v4_1"])
def test_pass_costs_at_most_14_ns_over_read(
    benchmark: BenchmarkFixture, captures: dict[str, Path], examples: Path, profile: str
) -> None:
    path = captures[profile]
    passing, empty = _hook(examples / "pass.o"), _hook(None)
    engines: dict[str, int] = {}

    def run(hook: pf.Hook) -> float:
        result = pf.replay(path, hook)
        assert result.packets == result.actions["pass"] == PACKETS
        engines.update({name: n for name, n in result.engine_packets.items() if n})
        return result.elapsed_s

    read, none, passed = alternate(
        ROUNDS, lambda: read_file(path), lambda: run(empty), lambda: run(passing)
    )
    benchmark.pedantic(run, args=(passing,), rounds=5)
    least = least_difference_ns(passed, read, PACKETS)
    benchmark.extra_info.update(
        machine(),
        rounds=ROUNDS,
        packets=PACKETS,
        engines=sorted(engines),
        limit_ns=LIMIT_NS,
        read_ns=read.ns(PACKETS),
        pass_ns=passed.ns(PACKETS),
        pass_over_read_ns=difference_ns(passed, read, PACKETS),
        pass_over_read_least_ns=least,
        no_program_over_read_ns=difference_ns(none, read, PACKETS),
    )
    # The least of either, since other load on the machine only adds.
    assert least <= LIMIT_NS, benchmark.extra_info


LAUNCHER = """
import os, sys
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ,
                       file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(child, 0)
print(usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def _peak(arguments: list[str]) -> int:
    """Peak resident bytes of a Python child; it must succeed.

    On Linux a process counts the memory of the one that started it in its own peak, from before
    execve: so a small interpreter stands between the test, which is large, and the child.
    """
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, *arguments]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_the_capture(
    benchmark: BenchmarkFixture, big_capture: Path, examples: Path
) -> None:
    started = _peak(["-c", "import pktfilter"])
    replay = ["-m", "pktfilter", "replay", str(examples / "pass.o"), str(big_capture), "--json"]
    peak = benchmark.pedantic(_peak, args=(replay,), rounds=1)
    benchmark.extra_info.update(
        machine(),
        capture_bytes=big_capture.stat().st_size,
        launcher_bytes=_peak(["-I", "-S", "-c", ""]),
        interpreter_bytes=started,
        replay_bytes=peak,
        over_interpreter_bytes=peak - started,
    )
    assert started > benchmark.extra_info["launcher_bytes"], "the launcher hides the child"
    assert peak - started < LIMIT_MEMORY
