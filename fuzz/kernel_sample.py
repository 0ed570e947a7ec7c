"""Give the campaign's programs to the running kernel's verifier and compare verdicts.

Reads what ``campaign --dump DIR`` wrote.  Every load is bounded: a timer's signal ends the kernel's
verifier (EAGAIN), and the program counts as undecided.  Undecided ones that we refuse are loaded
again without a bound, since the kernel may accept them; of those that we do not prove within our
own budget only a sample.  Counts both kinds of disagreement, with the reasons given.  Needs bpf(2).
"""

from __future__ import annotations

import argparse
import collections
import errno
import multiprocessing
import os
import re
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kernel import MAP_TYPES, KernelError, KernelMap, KernelProgram, available

READ_ONLY_PLACE = 9
"""PF_POOL_RODATA of campaign.h, with the words that campaign_world.c puts there."""
READ_ONLY_WORDS = (0, 1, 8, 40, 63, 200, (1 << 64) - 1, 1 << 63)
RDONLY_PROG = 1 << 7
KEPT_OF_A_KIND = 5
REFUSED, ACCEPTED, OUT_OF_BUDGET = 0, 1, 2
_HEAD = struct.Struct("<4I")


class Sample(NamedTuple):
    """One program: its place in the file, its instructions, and what our verifier said."""

    at: int
    insns: bytes
    world: int
    verdict: int
    refusal: int


class Row(NamedTuple):
    """One map of maps.txt."""

    type: int
    key_size: int
    value_size: int
    entries: int
    flags: int


class Worlds:
    """The maps that programs name, made when first needed; equal ones are one."""

    def __init__(self, path: Path) -> None:
        self._rows: dict[int, dict[int, tuple[Row, Row | None]]] = {}
        self._made: dict[tuple[Row, Row | None, bool], KernelMap] = {}
        inner: Row | None = None
        for line in path.read_text().splitlines():
            world, place, *words = (int(word) for word in line.split())
            if place < 0:
                inner = Row(*words)
            else:
                self._rows.setdefault(world, {})[place] = (Row(*words), inner)
                inner = None

    def maps(self, world: int) -> dict[int, KernelMap]:
        """By place; KernelError when the kernel does not make one of them."""
        return {
            place: self._map(row, inner, world == 0 and place == READ_ONLY_PLACE)
            for place, (row, inner) in self._rows.get(world, {}).items()
        }

    def _map(self, row: Row, inner: Row | None, constant: bool) -> KernelMap:
        key = (row, inner, constant)
        if key not in self._made:
            template = None if inner is None else self._map(inner, None, False)
            self._made[key] = made = KernelMap(*_named(row), inner=template)
            if constant:
                made.update(bytes(4), struct.pack("<8Q", *READ_ONLY_WORDS))
                made.freeze()
        return self._made[key]


def _named(row: Row) -> tuple[str, int, int, int, int]:
    name = next(name for name, number in MAP_TYPES.items() if number == row.type)
    # Programs never write to device maps; the kernel sets that flag itself and does not take it.
    flags = row.flags & ~RDONLY_PROG if "devmap" in name else row.flags
    return name, row.key_size, row.value_size, row.entries, flags


def samples(path: Path) -> Iterator[Sample]:
    """The programs of a dump, in order."""
    with path.open("rb") as file:
        at = 0
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            count, world, verdict, refusal = _HEAD.unpack(head)
            yield Sample(at, file.read(count * 8), world, verdict, refusal)
            at += 1


def reason(log: str) -> str:
    """The kernel's last words that are about the program, numbers taken out."""
    lines = [
        line
        for line in log.splitlines()
        if line and not re.match(r"(processed|verification time|stack depth|\d+: )", line)
    ]
    return re.sub(r"0x[0-9a-f]+|-?\d+", "N", lines[-1]) if lines else "(no reason)"


def load(insns: bytes, maps: dict[int, KernelMap], bound: float, log_level: int = 0) -> str | None:
    """None when the kernel accepts, else its reason; empty: undecided within ``bound`` s (0: none)."""
    # Again and again, in case one signal comes before the system call has begun.
    signal.setitimer(signal.ITIMER_REAL, bound, bound)
    try:
        KernelProgram.load(insns, maps=maps, log_level=log_level).close()
    except KernelError as error:
        if bound and error.errno in (errno.EAGAIN, errno.EINTR):
            return ""
        return reason(error.log) if log_level else "refused"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


class Tally:
    """Counts by kind, counts of reasons, and a few programs of each kind of disagreement."""

    def __init__(self, keep: Path | None) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.reasons: collections.Counter[tuple[str, str]] = collections.Counter()
        self._keep = keep

    def disagree(self, side: str, why: str, sample: Sample) -> None:
        """Count one, and keep it if there are few of its kind."""
        self.counts[side] += 1
        self.reasons[side, why] += 1
        if self._keep and self.reasons[side, why] <= KEPT_OF_A_KIND:
            kind = re.sub(r"\W+", "-", why)[:60]
            name = f"{side}-{kind}-w{sample.world}-{sample.at}.bin"
            (self._keep / name).write_bytes(sample.insns)

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        self.counts.update(other.counts)
        self.reasons.update(other.reasons)


class Comparison:
    """One worker's share of the sample."""

    def __init__(self, options: argparse.Namespace, texts: dict[int, str]) -> None:
        self.tally = Tally(options.keep)
        self._worlds = Worlds(options.dir[0] / "maps.txt")
        self._texts = texts
        self._bound: float = options.bound
        self._again: int = options.again

    def one(self, sample: Sample) -> None:
        """Compare one program."""
        counts = self.tally.counts
        counts["programs"] += 1
        try:
            maps = self._worlds.maps(sample.world)
        except KernelError:
            counts["not compared: the kernel does not make a map"] += 1
            return
        try:
            theirs = load(sample.insns, maps, self._bound)
        except ValueError:
            counts["not compared: names a map that is not there"] += 1
            return
        if theirs == "":
            theirs = self._undecided(sample, maps)
            if theirs == "":
                return
        if theirs is None:
            counts["kernel accepts"] += 1
        if (sample.verdict == ACCEPTED) == (theirs is None):
            counts["both accept" if theirs is None else "both refuse"] += 1
        elif theirs is None:
            self.tally.disagree("we-refuse", self._texts[sample.refusal], sample)
        else:
            why = load(sample.insns, maps, 10 * self._bound, 1) or "(undecided when asked again)"
            self.tally.disagree("kernel-refuses", why, sample)

    def _undecided(self, sample: Sample, maps: dict[int, KernelMap]) -> str | None:
        """The unbounded verdict where it can be an accept that we refuse; empty when it is not asked for."""
        counts = self.tally.counts
        who = ("we refuse", "we accept", "out of our budget")[sample.verdict]
        counts[f"undecided, {who}"] += 1
        if sample.verdict == ACCEPTED:
            return ""
        if sample.verdict == OUT_OF_BUDGET:
            if counts["undecided, out of our budget, asked again"] >= self._again:
                return ""
            counts["undecided, out of our budget, asked again"] += 1
        theirs = load(sample.insns, maps, 0)
        counts[f"undecided, {who}, then {'accepted' if theirs is None else 'refused'}"] += 1
        return theirs


def work(options: argparse.Namespace, texts: dict[int, str], job: int) -> Tally:
    """Every ``jobs``-th program from ``job`` on."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    comparison = Comparison(options, texts)
    for directory in options.dir:
        for sample in samples(directory / "programs.bin"):
            if options.limit and sample.at >= options.limit:
                break
            if sample.at % options.jobs == job:
                comparison.one(sample)
    return comparison.tally


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path, nargs="+", help="dumps made with the same corpus")
    parser.add_argument("--limit", type=int, default=0, help="programs of each at most (0: all)")
    parser.add_argument(
        "--keep", type=Path, help="write a few disagreeing programs of each kind here"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--bound", type=float, default=0.2, help="seconds that a load may take")
    parser.add_argument(
        "--again", type=int, default=10,
        help="undecided programs out of our own budget that each process loads without a bound",
    )  # fmt: skip
    return parser.parse_args()


def report(tally: Tally, seconds: float) -> bool:
    """Print the figures; true when at most 1 % of what the kernel accepts is refused here."""
    accepted, refused = tally.counts["kernel accepts"], tally.counts["we-refuse"]
    share = refused / accepted if accepted else 0.0
    print(f"in {seconds:.0f} s")
    for kind, n in sorted(tally.counts.items()):
        print(f"{n:8} {kind}")
    print(f"of what the kernel accepts we refuse {refused} of {accepted} ({share:.4%})")
    for (side, why), n in tally.reasons.most_common(60):
        print(f"  {side} {n:6} {why}")
    return accepted > 0 and share <= 0.01


def main() -> int:
    """Compare; 0 when at most 1 % of what the kernel accepts is refused here."""
    options = arguments()
    if missing := available():
        print(f"kernel_sample: {missing}")
        return 2
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    lines = (options.dir[0] / "refusals.txt").read_text().splitlines()
    texts = {
        int(number): text for number, text in (line.split(" ", 1) for line in lines if " " in line)
    }
    start = time.monotonic()
    tally = Tally(None)
    with multiprocessing.Pool(options.jobs) as pool:
        for part in pool.starmap(work, [(options, texts, job) for job in range(options.jobs)], 1):
            tally.add(part)
    return 0 if report(tally, time.monotonic() - start) else 1


if __name__ == "__main__":
    sys.exit(main())
