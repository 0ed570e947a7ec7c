"""The differential test of the engines on the campaign's accepted programs.

Program i of seed s is that of ``campaign --seed s``, or (``--dense``, percent) one that computes
much and shows all of it (tiers_gen.c).  Each accepted one is compiled with and
without the verifier's facts and run over packets by both interpreters and both compiled forms;
results, packets and maps must be the same (tiers.h).  A difference is shown with the shrunk
program; exit status 1.  ``make -C fuzz tiers`` builds what it needs.

usage: tiers.py [--seed S] [--first I] [--programs N] [--jobs J] [--packets P] [--feeds F]
                [--feed N] [--mutate PERCENT] [--dense PERCENT] [--forms LIST] [--level L] [--show I] [--json]
                [--stop-on-finding]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from tiers_library import FORMS, Library, Report  # noqa: E402
from tiers_program import Engines, Totals, described, plan  # noqa: E402

PIECE = 400
"""Programs of one process: what one crash can hide behind it is looked at again."""
SHRUNK = 3
"""Findings of one process that are shrunk; the others are only named."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Differential test of the engines.")
    for name, value in (
        ("seed", 1), ("first", 0), ("programs", 1000), ("jobs", 1), ("packets", 160),
        ("feeds", 6), ("feed", 48), ("mutate", 15), ("dense", 40),
        ("level", 2),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--show", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stop-on-finding", action="store_true")
    parser.add_argument("--library", type=Path, default=HERE / "build" / "libtiers.so")
    parser.add_argument("--corpus", type=Path, default=HERE / "build" / "corpus.bin")
    parser.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


class Campaign:
    """The programs of one process."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.o = options
        self.library = Library(options.library, options.corpus, options.mutate, options.dense)
        self.engines = Engines(self.library, frozenset(options.forms.split(",")), options.level)
        self.totals = Totals()

    def compare(self, seed: int) -> Report | None:
        """The sample as it is; None when it is refused or not compiled."""
        library, o = self.library, self.o
        program = library.sample_program()
        if not program:
            return None
        try:
            if library.refusal(program) is not None:
                return None
            self.totals.accepted += 1
            why = self.engines.compile(program, library.sample_world())
            if why is not None:
                self.totals.fallbacks[why] = self.totals.fallbacks.get(why, 0) + 1
            wanted = plan(seed, o.packets, o.feeds, min(o.feed, 64), self.engines.forms)
            report = library.compare(program, wanted)
            self.totals.compared += why is None
            return report
        finally:
            library.program_free(program)

    def one(self, index: int) -> None:
        """Program `index`."""
        seed = self.library.sample(self.o.seed, index)
        if self.o.show is not None:
            print(self.library.text(self.library.sample_code()))
        self.totals.programs += 1
        report = self.compare(seed)
        if report is None:
            return
        self.totals.add(report)
        if report.found:
            self.report(index, seed, report)

    def report(self, index: int, seed: int, report: Report) -> None:
        """Shows a finding, and the smallest program that still shows one like it."""
        line = f"seed {self.o.seed} program {index}, {described(report)}"
        print(f"finding: {line}", file=sys.stderr)
        self.totals.findings.append(line)
        if len(self.totals.findings) > SHRUNK or self.o.json:
            return
        kept = self.totals

        def still() -> bool:
            again = self.compare(seed)
            return again is not None and (again.found, again.form) == (report.found, report.form)

        self.totals = Totals()
        self.library.shrink(still)
        again = self.compare(seed)
        self.totals = kept
        code = self.library.sample_code()
        said = described(again) if again is not None else "lost"
        print(f"shrunk: {said}\n{self.library.text(code)}{code.hex()}", file=sys.stderr, flush=True)

    def run(self) -> Totals:
        """All of them."""
        progress = os.open(self.o.progress, os.O_WRONLY) if self.o.progress else -1
        for index in range(self.o.first, self.o.first + self.o.programs):
            if progress >= 0:
                os.pwrite(progress, b"%20d" % index, 0)
            self.one(index)
            if self.o.stop_on_finding and self.totals.findings:
                break
        return self.totals


class Piece:
    """A range of programs in a process of its own."""

    def __init__(self, first: int, count: int, folder: Path) -> None:
        self.first, self.count = first, count
        self.progress = folder / f"{first}"
        self.progress.write_bytes(b"%20d" % first)
        argv = [a for a in sys.argv[1:] if a != "--json"]
        argv += ["--first", str(first), "--programs", str(count), "--jobs", "1", "--json"]
        argv += ["--progress", str(self.progress)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *argv], stdout=subprocess.PIPE, text=True
        )

    def finish(self, totals: Totals) -> int:
        """Adds what it counted; after a crash, how many programs are still to be looked at."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        status = self.process.wait()
        if status in (0, 1) and out.strip():
            totals.merge(json.loads(out.strip().splitlines()[-1]))
            return 0
        at = int(self.progress.read_bytes())
        totals.findings.append(f"program {at}: the process ended with {status}")
        print(f"finding: {totals.findings[-1]}", file=sys.stderr)
        return self.first + self.count - at - 1


def run_pieces(o: argparse.Namespace) -> Totals:
    """As many processes at a time as there are jobs."""
    totals, running, at = Totals(), list[Piece](), o.first
    end, began, told = o.first + o.programs, time.monotonic(), 0.0
    with TemporaryDirectory() as folder:
        while running or at < end:
            while at < end and len(running) < o.jobs:
                running.append(Piece(at, min(PIECE, end - at), Path(folder)))
                at += PIECE
            piece = running.pop(0)
            left = piece.finish(totals)
            if left:
                running.append(Piece(piece.first + piece.count - left, left, Path(folder)))
            if o.stop_on_finding and totals.findings:
                at = end
            elapsed = time.monotonic() - began
            if elapsed - told > 30:
                told = elapsed
                print(f"{elapsed:.0f} s: {totals.text()}", file=sys.stderr, flush=True)
    return totals


def main() -> int:
    """Runs, shows the sums."""
    o = arguments()
    if o.show is not None:
        o.first, o.programs = o.show, 1
    began = time.monotonic()
    totals = run_pieces(o) if o.jobs > 1 or o.programs > PIECE else Campaign(o).run()
    if o.json:
        print(json.dumps(asdict(totals)))
    else:
        print(f"{totals.text()}\n{time.monotonic() - began:.0f} s")
    return 1 if totals.findings else 0


if __name__ == "__main__":
    sys.exit(main())
