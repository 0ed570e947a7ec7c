"""Scores the whole corpus against the running kernel: `python tests/corpus/score.py [-o FILE]`.

Every source at every level: the verdict, then 320 frames with empty and with filled maps, in three
tiers of the engine and in the kernel (`tests/scoring.py`). Writes one row an object and prints the
sums; with `--lines`, also which source lines the frames reach (v3). Needs bpf() and network
namespaces, that is root. Exits 1 when anything differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

import kernel  # noqa: E402
import reached  # noqa: E402
import scored  # noqa: E402
import scoring  # noqa: E402

import pktfilter as pf  # noqa: E402

HEADER = "# object\tprograms\tverdicts that differ\tframes run\tdifferences\tshared answers"


def main() -> int:
    """Scores, writes, prints; the exit status."""
    parser = argparse.ArgumentParser(description="score the corpus against the kernel")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "score.tsv")
    parser.add_argument("--lines", action="store_true", help="also the source lines reached")
    parser.add_argument("--only", nargs="*", metavar="SOURCE", help="these sources only")
    options = parser.parse_args()
    reason = kernel.available()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 2
    chosen = [each for each in scored.objects() if not options.only or each.stem in options.only]
    frames = scoring.frames(seed=1)
    started, rows, bad, runs, programs = time.monotonic(), [], 0, 0, 0
    with scoring.namespace() as (network, inside):
        for each in chosen:
            wrong = scoring.verdicts(each, inside)
            score = scoring.score(each, frames, network, inside)
            count = len(each.spec().programs)
            rows.append(
                f"{each.stem}.{each.level}\t{count}\t{len(wrong)}\t{score.runs}"
                f"\t{len(score.differences)}\t{'yes' if score.rewritten else 'no'}"
            )
            for text in [*wrong, *score.differences[:5]]:
                print(f"{each.stem}.{each.level}: {text}", flush=True)
            bad += len(wrong) + len(score.differences)
            runs += score.runs
            programs += count
        options.output.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
        took = time.monotonic() - started
        print(
            f"{len({e.stem for e in chosen})} sources, {len(chosen)} objects, {programs} programs, "
            f"{runs} frames run on both sides, {runs * len(scoring.TIERS)} comparisons, "
            f"{bad} differences, {took:.0f} s"
        )
        if options.lines:
            _print_lines(chosen, frames, network)
    return 1 if bad else 0


def _print_lines(chosen: list[scored.Object], frames: list[bytes], network: pf.Network) -> None:
    hit = total = insns = all_insns = 0
    for each in chosen:
        if each.level != "v3":
            continue
        found = reached.reached(each, frames, network)
        hit, total = hit + found.lines, total + found.all_lines
        insns, all_insns = insns + found.insns, all_insns + found.all_insns
        print(
            f"{each.stem}\t{found.lines}/{found.all_lines} lines\t"
            f"{found.insns}/{found.all_insns} insns\tmissed {' '.join(found.missed[:12])}",
            flush=True,
        )
    print(
        f"lines reached {hit} of {total} ({hit / total:.1%}), instructions {insns} of {all_insns}"
    )


if __name__ == "__main__":
    sys.exit(main())
