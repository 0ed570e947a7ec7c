"""Shows the corpus to the running kernel and writes down what it says.

    python tests/verifier_cases/record.py            check the frozen verdicts against the kernel
    python tests/verifier_cases/record.py --write    freeze: write verdicts.tsv of both folders

Everything is judged twice, and a verdict or message that differs between the two runs is an
error, as is a verdict other than the one the author expected.  `--grep TEXT` limits a check to
the names that contain TEXT, `--verbose` shows the kernel's words for each.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from oracle import Verdict, judge
from verifier_corpus import CASES, PROGRAMS, Entry, cases, programs, reasons


def _judge_twice(entry: Entry) -> tuple[Verdict, str]:
    first, second = judge(entry), judge(entry)
    if (first.verdict, first.errno, first.message) != (
        second.verdict,
        second.errno,
        second.message,
    ):
        return first, f"is not stable: {first.message!r}, then {second.message!r}"
    if first.verdict != entry.expected:
        return first, f"expected {entry.expected}, the kernel says: {first.message or 'accept'}"
    return first, ""


def _differs(entry: Entry, found: Verdict) -> str:
    frozen = entry.recorded
    if frozen is None:
        return "has no frozen verdict"
    if frozen.digest != entry.digest:
        return "is not the program that was judged (the bytes or the maps have changed)"
    if (frozen.verdict, frozen.errno, frozen.message) != (
        found.verdict, found.errno, found.message,
    ):  # fmt: skip
        return f"was {frozen.verdict} ({frozen.message}), is {found.verdict} ({found.message})"
    return ""


def _run(
    entries: Iterable[Entry], write: bool, verbose: bool
) -> tuple[list[str], list[Entry], int]:
    rows, done, errors = [], [], 0
    for entry in entries:
        found, problem = _judge_twice(entry)
        problem = problem or ("" if write else _differs(entry, found))
        if problem:
            errors += 1
            print(f"{entry.name}: {problem}")
        if verbose:
            print(
                f"{entry.name}\t{found.verdict}\t{entry.reason}\t{found.message}\t{found.processed}"
            )
        done.append(entry)
        rows.append(
            "\t".join((entry.name, found.verdict, str(found.errno), entry.digest, found.message))
        )
    return rows, done, errors


def _totals(entries: list[Entry]) -> None:
    per = Counter(entry.reason for entry in entries if entry.expected == "reject")
    for slug in reasons():
        print(f"  {per.get(slug, 0):4} {slug}")
    print(f"  {sum(per.values()):4} rejected, {len(entries) - sum(per.values())} accepted")


def main() -> int:
    """Exit status 1 if anything is not as expected; then nothing is written."""
    parser = argparse.ArgumentParser(description="Record the kernel's verdicts on the corpus.")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--grep", default="")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    failed, pending = 0, []
    for folder, entries in ((CASES, cases()), (PROGRAMS, programs())):
        chosen = [entry for entry in entries if options.grep in entry.name]
        rows, done, errors = _run(chosen, options.write, options.verbose)
        failed += errors
        print(f"{folder.name}: {len(done)} judged, {errors} not as expected")
        _totals(done)
        release = platform.release().split("-")[0]
        head = f"# name, verdict, errno, digest, first reason; Linux {release} {platform.machine()}"
        pending.append((folder / "verdicts.tsv", "\n".join([head, *rows]) + "\n"))
    if options.write and not failed and not options.grep:
        for path, text in pending:
            path.write_text(text, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
