"""Checks the reclamation protocol's model with spin: the protocol itself, then every mutant of it.

    python tests/model/run.py            # what CI runs, under a minute
    python tests/model/run.py --deep     # larger shapes of the protocol too: minutes, 1.5 GiB
    python tests/model/run.py --traces   # also rewrites traces/, one shortest counterexample a mutant

The machine (machine.pml) is translated by spin and compiled once for each number of workers and kind of search; a
protocol or mutant (protocol.c) is then one small C file more. Every search is exhaustive: no bit-state hashing, no
partial order reduction, no depth limit that is reached. Exit status 0: the protocol holds and every mutant is refuted.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TRACES = HERE / "traces"

PROPERTIES = {
    0: "the waiting writer can never go on, though all workers ended",
    1: "a freed world is used",
    2: "a world is used before it was built",
    3: "one batch uses two worlds",
    4: "an old world is used after the waiting update returned",
    5: "a worker goes back to an older world",
    6: "a worker that came after the publication holds back its grace period",
    7: "a counter is ahead of the token",
    8: "a retired world is never freed",
}


@dataclass(frozen=True)
class Mutant:
    """One thing taken away from the protocol; `broken` is the property it must violate."""

    name: str
    broken: int
    what: str
    shape: tuple[str, ...] = ("WAITS=2",)
    workers: int = 1


QUIESCENT = ("STYLE=1", "WAITS=2")
SANITIZED = ("SANITIZED", "WAITS=2")
WAITING = ("WAITS=3",)

MUTANTS = [
    # Orders of the worker.
    Mutant("NO_FENCE_A", 1, "I1: no fence between the counter's store and the slot's load"),
    Mutant("FENCE_A_EARLY", 1, "I1: the fence stands before the counter's store"),
    Mutant("SLOT_ACQUIRE", 2, "W1: the slot's load is relaxed"),
    Mutant("OFFLINE_RELEASE", 1, "I2: offline stores 0 relaxed"),
    Mutant("QUIESCENT_RELEASE", 1, "I2: quiescent stores the counter relaxed", QUIESCENT),
    Mutant("QUIESCENT_ACQUIRE", 1, "I2: quiescent loads the token relaxed", QUIESCENT),
    # Orders of the writer.
    Mutant("NO_FENCE_B", 1, "I3: no fence between the token's increment and the poll"),
    Mutant("XCHG_RELEASE", 2, "W3: the slot's exchange is relaxed"),
    Mutant("ADVANCE_RELEASE", 1, "I3: the token's increment is relaxed"),
    Mutant("POLL_ACQUIRE", 4, "I3: the poll is relaxed", WAITING),
    # Steps of the worker.
    Mutant("NO_TOKEN_LOAD", 6, "I1: online and quiescent store 1 instead of the token"),
    Mutant("NO_COUNTER_STORE", 1, "I1: online does not store the counter"),
    Mutant("SLOT_FIRST", 1, "I1: the slot is loaded before the worker is online"),
    Mutant("SLOT_TWICE", 3, "W1: the slot is loaded a second time within the batch"),
    Mutant("NO_OFFLINE", 0, "I2: a quiescent worker never goes offline", QUIESCENT),
    Mutant("TOKEN_FROM_0", 1, "I0: tokens start at 0, so that an online worker's counter is 0"),
    # Steps of the writer.
    Mutant("XCHG_BEFORE_BUILD", 2, "W3: the slot is exchanged before the world is built"),
    Mutant("NO_XCHG", 1, "I3: the slot keeps the old world, which is retired"),
    Mutant("NO_INCREMENT", 1, "I3: the token is read, not incremented"),
    Mutant("ADVANCE_BEFORE_XCHG", 1, "I3: the token is incremented before the exchange"),
    Mutant("NO_POLL", 1, "I4: the retired world is freed without a look at the counters"),
    Mutant("POLL_BEFORE_XCHG", 1, "I3: the counters are polled before the exchange"),
    Mutant("POLL_MISSES_ONE", 1, "I4: the last worker's counter is not polled", ("WAITS=2",), 2),
    Mutant("PASSES_ONE_EARLY", 1, "I4: a counter one below the token passes"),
    Mutant("ZERO_IS_A_TOKEN", 0, "I4: a worker that is offline is waited for", WAITING),
    # The sanitizer's build, which has seq_cst operations and no fences.
    Mutant("COUNTER_SC", 1, "TSan: the counter's exchange is a release", SANITIZED),
    Mutant("SLOT_SC", 1, "TSan: the slot's load is an acquire", SANITIZED),
    Mutant("XCHG_SC", 1, "TSan: the slot's exchange is a release", SANITIZED),
    Mutant("POLL_SC", 1, "TSan: the poll is an acquire", SANITIZED),
]

# Workers, and the shape: all that protocol.c can be told.
PROTOCOLS = [
    (2, ("STYLE=2", "WAITS=2")),
    (2, ("STYLE=0", *SANITIZED)),
    (1, ("BATCHES=4", "UPDATES=3", "STYLE=0", "WAITS=4")),
    (1, ("BATCHES=4", "UPDATES=3", "STYLE=0", "WAITS=5")),
    (1, ("BATCHES=3", "UPDATES=3", "STYLE=1", "WAITS=5")),
]
DEEP = [
    (2, ("STYLE=1", "WAITS=2")),
    (2, ("STYLE=0",)),
    (2, ("STYLE=2",)),
    (2, ("UPDATES=3", "STYLE=2", "WAITS=4")),
    (2, ("BATCHES=3", "STYLE=0", "WAITS=2")),
    (1, ("BATCHES=4", "UPDATES=3", "STYLE=1", "WAITS=4")),
    (1, ("BATCHES=4", "UPDATES=3", "STYLE=1", "WAITS=7")),
]


class CheckError(Exception):
    """The model could not be checked at all: a tool failed."""


def call(command: list[str], where: Path) -> str:
    """A tool's output. CheckError with all it printed when it fails."""
    done = subprocess.run(command, cwd=where, capture_output=True, text=True)
    if done.returncode:
        raise CheckError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def machine(where: Path, workers: int, shortest: bool) -> Path:
    """The compiled machine. shortest: breadth first, for shortest counterexamples."""
    folder = where / f"machine-{workers}-{shortest:d}"
    folder.mkdir()
    call(["spin", "-a", f"-DWORKERS={workers}", str(HERE / "machine.pml")], folder)
    flags = ["-O1", "-w", f"-I{HERE}", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=6000"]
    call(["gcc", *flags, *(["-DBFS"] if shortest else []), "-c", "pan.c"], folder)
    return folder / "pan.o"


def checker(where: Path, built: Path, name: str, switches: list[str]) -> Path:
    """The machine linked with one protocol, in a folder of its own (spin writes its trail there)."""
    folder = where / name
    folder.mkdir()
    flags = [f"-D{switch}" for switch in switches]
    source = str(HERE / "protocol.c")
    call(
        ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", *flags, source, str(built), "-o", "pan"],
        folder,
    )
    return folder


@dataclass(frozen=True)
class Found:
    """What one search found."""

    errors: int
    states: int
    seconds: float
    steps: tuple[str, ...] = ()
    broken: int = 0


def search(folder: Path) -> Found:
    """Searches everything; with an error, replays the trail."""
    text = subprocess.run(["./pan", "-m100000", "-w22"], cwd=folder, capture_output=True, text=True)
    errors = re.search(r"errors: (\d+)", text.stdout)
    states = re.search(r"^ *([\d.e+]+) states, stored", text.stdout, re.MULTILINE)
    seconds = re.search(r"elapsed time ([\d.]+)", text.stdout)
    whole = "Search not completed" not in text.stdout and "max search depth" not in text.stdout
    if not errors or not states or (errors[1] == "0" and not whole):
        raise CheckError(f"{folder.name}: {text.stdout}{text.stderr}")
    found = Found(int(errors[1]), int(float(states[1])), float(seconds[1]) if seconds else 0.0)
    if not found.errors:
        return found
    replay = subprocess.run(
        ["./pan", "-r", "machine.pml.trail"], cwd=folder, capture_output=True, text=True
    ).stdout
    steps = tuple(re.findall(r"^((?:writer|worker).*,.*)$", replay, re.MULTILINE))
    broken = re.search(r"^violated: (\d+)", replay, re.MULTILINE)
    # No violated assertion: it is the other kind of error, a state that nobody can leave.
    if not broken and "invalid end state (" not in text.stdout:
        raise CheckError(f"{folder.name}: unexpected error: {text.stdout}")
    return Found(found.errors, found.states, found.seconds, steps, int(broken[1]) if broken else 0)


def trace(mutant: Mutant, found: Found) -> str:
    """The counterexample as text."""
    lines = [
        f"Mutant {mutant.name} - {mutant.what}.",
        f"Violated: {mutant.broken}, {PROPERTIES[mutant.broken]}.",
        f"Shortest: {len(found.steps)} operations, in the order in which they were performed.",
        f"Workers: {mutant.workers}; switches: {' '.join(('M_' + mutant.name, *mutant.shape))}.",
        "",
        *(f"{number:3} {step}" for number, step in enumerate(found.steps, 1)),
        "",
    ]
    return "\n".join(lines)


def check_mutant(mutant: Mutant, where: Path, built: Path, rewrite: bool) -> tuple[bool, str]:
    """Refuted, by the property named, in as many steps as the trace that is kept?"""
    folder = checker(where, built, mutant.name, [f"M_{mutant.name}", *mutant.shape])
    found = search(folder)
    line = f"mutant {mutant.name}: "
    if not found.errors:
        return False, f"{line}NOT REFUTED ({found.states:,} states)"
    line += f"refuted in {len(found.steps)} operations: {PROPERTIES[found.broken]}"
    path = TRACES / f"{mutant.name.lower()}.txt"
    if rewrite:
        path.write_text(trace(mutant, found))
    kept = path.read_text() if path.is_file() else ""
    if found.broken != mutant.broken:
        return False, f"{line}; EXPECTED: {PROPERTIES[mutant.broken]}"
    if f"Shortest: {len(found.steps)} operations" not in kept:
        return False, f"{line}; THE KEPT TRACE IS NOT OF THIS LENGTH"
    return True, line


def check_protocol(
    workers: int, shape: tuple[str, ...], where: Path, built: Path
) -> tuple[bool, str]:
    """Does the protocol hold in this shape?"""
    folder = checker(where, built, "-".join(("protocol", str(workers), *shape)), list(shape))
    found = search(folder)
    line = f"protocol, {workers} worker(s) {' '.join(shape)}: "
    if found.errors:
        steps = "\n  ".join(found.steps)
        return False, f"{line}VIOLATED: {PROPERTIES[found.broken]}\n  {steps}"
    return True, f"{line}holds, {found.states:,} states, {found.seconds:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the model of the reclamation protocol.")
    parser.add_argument("--deep", action="store_true", help="larger shapes too (minutes)")
    parser.add_argument("--traces", action="store_true", help="rewrite the kept counterexamples")
    args = parser.parse_args()
    results: list[tuple[bool, str]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool,
    ):
        where = Path(folder)
        kinds = [(1, False), (2, False), (1, True), (2, True)]
        machines = dict(
            zip(kinds, pool.map(lambda kind: machine(where, *kind), kinds), strict=True)
        )
        jobs = [
            pool.submit(check_protocol, workers, shape, where, machines[workers, False])
            for workers, shape in PROTOCOLS + (DEEP if args.deep else [])
        ]
        jobs += [
            pool.submit(check_mutant, mutant, where, machines[mutant.workers, True], args.traces)
            for mutant in MUTANTS
        ]
        for job in jobs:
            results.append(job.result())
            print(results[-1][1], flush=True)
    failed = sum(not good for good, _ in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CheckError as error:
        sys.exit(f"error: {error}")
