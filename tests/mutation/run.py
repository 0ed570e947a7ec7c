"""Mutation testing of a part of the C core: how many small faults does the test suite notice?

``python tests/mutation/run.py verifier --count 350 --seed 1 --out results.tsv``; see README.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mutants import Mutant, shuffled, without_comments
from scratch import BuildError, Tree
from targets import TARGETS, Stage, Target

ROOT = Path(__file__).resolve().parents[2]
NOT_C, IDENTICAL = "not C", "identical code"

# The scratch copy and the stages of a worker process.
_worker: tuple[Tree, Sequence[Stage]]


@dataclass(frozen=True)
class Row:
    """One judged mutant; ``by`` is the stage or test that killed it, "" for a survivor."""

    mutant: Mutant
    by: str
    how: str

    def text(self) -> str:
        m = self.mutant
        place, outcome = f"{m.file}:{m.line}", "killed" if self.by else "survived"
        cells = (m.id, place, outcome, self.by, self.how, m.before, m.after)
        return "\t".join(" ".join(cell.split()) for cell in cells)


def _start(model: Tree, where: str, stages: Sequence[Stage]) -> None:
    global _worker  # noqa: PLW0603 - set once, before any work
    _worker = model.clone(Path(tempfile.mkdtemp(dir=where)) / "tree"), stages


def _kept(tree: Tree, mutant: Mutant) -> Path:
    """Where the objects of a mutant are, for whichever worker judges it."""
    return tree.model / "build" / "kept" / mutant.id


def _examine(mutant: Mutant) -> str:
    """A digest of the code that the mutant compiles to, or why it is none."""
    tree, _ = _worker
    try:
        if not tree.put(mutant.file, mutant.apply((ROOT / mutant.file).read_text())):
            return NOT_C
        readers = [s for s in tree.readers(mutant.file, "") if s.startswith("csrc/")]
        digests = {source: tree.digest(source) for source in sorted(readers)}
        if all(tree.hashes[source] == digest for source, digest in digests.items()):
            return IDENTICAL
        tree.keep(mutant.file, _kept(tree, mutant))
        return repr(sorted(digests.items()))
    finally:
        tree.restore(mutant.file)


def _judge(mutant: Mutant) -> Row:
    tree, stages = _worker
    try:
        text = mutant.apply((ROOT / mutant.file).read_text())
        kept = _kept(tree, mutant)
        if kept.exists():
            tree.take(mutant.file, text, kept)
        else:
            tree.put(mutant.file, text)
        return Row(mutant, *tree.judge(stages))
    finally:
        tree.restore(mutant.file)


def _sample(
    pool: ProcessPoolExecutor, candidates: Sequence[Mutant], count: int, figures: Counter[str]
) -> list[Mutant]:
    """The first ``count`` candidates that change the code in a way of their own."""
    sample: list[Mutant] = []
    seen: set[str] = set()
    left = iter(candidates)
    while len(sample) < count and (chunk := list(islice(left, 40))):
        for mutant, found in zip(chunk, pool.map(_examine, chunk), strict=True):
            if len(sample) == count:
                break
            figures["tried"] += 1
            if found in (NOT_C, IDENTICAL):
                figures[found] += 1
            elif found in seen:
                figures["same code as another mutant"] += 1
            else:
                seen.add(found)
                sample.append(mutant)
    return sample


def _files(target: Target, only: str | None) -> list[str]:
    found = {str(p.relative_to(ROOT)) for f in target.files for p in ROOT.glob(f)}
    return sorted(f for f in found - target.without if only is None or Path(f).match(only))


def _earlier(table: Path) -> tuple[list[str], dict[str, list[str]]]:
    """The figures of the sample in the head of a table, and its rows by id."""
    lines = table.read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [line for line in lines if line.startswith("# sample:")], {row[0]: row for row in rows}


def _again(rows: dict[str, list[str]], files: Sequence[str]) -> tuple[list[Mutant], list[Row]]:
    """The survivors of earlier results, to judge anew, and what was killed then.

    A mutant is found by its lines before and after, and its place as far as lines only moved.
    """
    sources = {f: without_comments((ROOT / f).read_text()).splitlines() for f in files}
    left, killed = [], []
    for row in rows.values():
        (file, line), before, after = row[1].split(":"), row[5], row[6]
        source = [" ".join(text.split()) for text in sources[file]]
        places = [n for n, text in enumerate(source, 1) if text == before]
        if row[2] == "killed":
            killed.append(Row(Mutant(file, int(line), before, after), row[3], row[4]))
        elif places:
            place = min(places, key=lambda n: abs(n - int(line)))
            left.append(Mutant(file, place, before, after))
        else:
            print(f"gone, since its line changed: {row[1]} {before}", file=sys.stderr)
    return left, killed


def _judged(pool: ProcessPoolExecutor, sample: Sequence[Mutant]) -> Iterator[Row]:
    started = time.monotonic()
    futures = [pool.submit(_judge, mutant) for mutant in sample]
    for done, future in enumerate(as_completed(futures), 1):
        row = future.result()
        if not row.by or done % 20 == 0:
            rate = (time.monotonic() - started) / done
            print(f"{done}/{len(sample)}, {rate:.1f} s each: {row.text()}", file=sys.stderr)
        yield row


def _report(rows: Sequence[Row], figures: Counter[str]) -> list[str]:
    killed = sum(1 for row in rows if row.by)
    lines = [f"# sample: {name}: {number}" for name, number in figures.items()]
    lines.append(f"# mutants: {len(rows)}, killed: {killed} ({100 * killed / len(rows):.1f} %)")
    by = Counter(row.by for row in rows if row.by)
    lines += [f"# killed by {name}: {number}" for name, number in by.most_common()]
    return [*lines, f"# of these by time: {sum(1 for row in rows if row.how == 'timeout')}"]


def main() -> int:
    """Runs; exit status 1 when fewer than ``--least`` per cent of the mutants are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--count", type=int, default=300, help="mutants to judge")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="scratch copies at work")
    parser.add_argument("--out", type=Path, required=True, help="the table that is written")
    parser.add_argument("--only", metavar="PATTERN", help="mutate only files like this")
    parser.add_argument("--again", type=Path, help="judge the survivors of this table anew")
    parser.add_argument("--stages", help="only these, by name, with commas between")
    parser.add_argument("--least", type=float, default=85.0, help="per cent that must be killed")
    options = parser.parse_args()
    if not (ROOT / "pktfilter/_core/libpktfilter.so").exists():
        print("build first: python setup.py build_ext --inplace", file=sys.stderr)
        return 2
    target = TARGETS[options.target]
    files = _files(target, options.only)
    wanted = options.stages.split(",") if options.stages else [s.name for s in target.stages]
    stages = [stage for stage in target.stages if stage.name in wanted]
    figures: Counter[str] = Counter()
    head: list[str] = []
    rows: list[Row] = []
    sample: list[Mutant] = []
    if options.again:
        head, known = _earlier(options.again)
        sample, rows = _again(known, files)
    with tempfile.TemporaryDirectory() as where:
        model = Tree(ROOT, Path(where) / "model")
        model.prepare(stages)
        print(f"prepared; CPU seconds unmutated: {model.stage_cpu}", file=sys.stderr)
        arguments = (model, where, stages)
        with ProcessPoolExecutor(options.jobs, initializer=_start, initargs=arguments) as pool:
            if not options.again:
                candidates = shuffled(ROOT, files, options.seed)
                figures["mutants the tool makes"] = len(candidates)
                sample = _sample(pool, candidates, options.count, figures)
            with options.out.open("w") as out:
                for row in _judged(pool, sample):
                    rows.append(row)
                    print(row.text(), file=out, flush=True)
    if not rows:
        print("no mutant to judge", file=sys.stderr)
        return 2
    rows.sort(key=lambda row: (row.mutant.file, row.mutant.line, row.mutant.after))
    report = [*head, *_report(rows, figures)]
    options.out.write_text("\n".join([*report, *(row.text() for row in rows), ""]))
    print("\n".join(report))
    killed = sum(1 for row in rows if row.by)
    return 0 if killed >= options.least / 100 * len(rows) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as error:
        sys.exit(f"mutation: {error}")
