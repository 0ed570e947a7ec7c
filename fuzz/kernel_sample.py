"""Give generated programs to the running kernel's verifier and compare verdicts.

Reads what ``campaign --dump DIR`` wrote (programs.bin, maps.txt).  Counts agreement and both kinds
of disagreement, with the reasons that the kernel gives.  Needs bpf(2).
Usage: kernel_sample.py DIR [--limit N] [--keep DIR]
"""

from __future__ import annotations

import argparse
import collections
import re
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kernel import MAP_TYPES, KernelError, KernelMap, KernelProgram, available

READ_ONLY_PLACE = 9
"""PF_POOL_RODATA of campaign.h, with the words that campaign_world.c puts there."""
READ_ONLY_WORDS = (0, 1, 8, 40, 63, 200, (1 << 64) - 1, 1 << 63)
NO_PREALLOC, RDONLY_PROG = 1, 1 << 7


def maps_of(path: Path) -> dict[int, KernelMap]:
    """The campaign's maps as kernel maps, by place."""
    names = {number: name for name, number in MAP_TYPES.items()}
    rows = [tuple(int(word) for word in line.split()) for line in path.read_text().splitlines()]
    inner = next(KernelMap(names[t], k, v, n) for place, t, k, v, n in rows if place < 0)
    maps: dict[int, KernelMap] = {}
    for place, number, key, value, entries in rows:
        if place < 0:
            continue
        kind = names[number]
        flags = NO_PREALLOC if kind == "lpm_trie" else 0
        if place == READ_ONLY_PLACE:
            flags = RDONLY_PROG
        maps[place] = KernelMap(
            kind, key, value, entries, flags, inner=inner if "of_maps" in kind else None
        )
    frozen = maps[READ_ONLY_PLACE]
    frozen.update(struct.pack("<I", 0), struct.pack("<8Q", *READ_ONLY_WORDS))
    frozen.freeze()
    return maps


def programs(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Instructions, and whether our verifier accepted them."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            count, accepted = struct.unpack("<II", head)
            yield file.read(count * 8), bool(accepted)


def reason(log: str) -> str:
    """The kernel's last words that are about the program, numbers taken out."""
    lines = [
        line
        for line in log.splitlines()
        if line and not re.match(r"(processed|verification time|stack depth|\d+: )", line)
    ]
    return re.sub(r"-?\d+", "N", lines[-1]) if lines else "(no reason)"


def kernel_accepts(insns: bytes, maps: dict[int, KernelMap]) -> bool:
    """The verdict alone, without a log."""
    try:
        KernelProgram.load(insns, maps=maps, log_level=0).close()
    except KernelError:
        return False
    return True


def why(insns: bytes, maps: dict[int, KernelMap]) -> str:
    """The kernel's reason for refusing."""
    try:
        KernelProgram.load(insns, maps=maps, log_level=1).close()
    except KernelError as error:
        return reason(error.log)
    return "accepted"


def main() -> int:
    """Compare; 0 when at most 1 % of what the kernel accepts is refused here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="programs at most (0: all)")
    parser.add_argument("--keep", type=Path, help="write disagreeing programs here")
    options = parser.parse_args()
    if missing := available():
        print(f"kernel_sample: {missing}")
        return 2
    maps = maps_of(options.dir / "maps.txt")
    counts: collections.Counter[tuple[bool, bool]] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    for at, (insns, ours) in enumerate(programs(options.dir / "programs.bin")):
        if options.limit and at >= options.limit:
            break
        theirs = kernel_accepts(insns, maps)
        counts[ours, theirs] += 1
        if ours and not theirs:
            reasons[why(insns, maps)] += 1
        if ours != theirs and options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            side = "we-refuse" if theirs else "kernel-refuses"
            (options.keep / f"{side}-{at}.bin").write_bytes(insns)
    accepted = counts[True, True] + counts[False, True]
    share = counts[False, True] / accepted if accepted else 0.0
    print(f"programs {sum(counts.values())} in {time.monotonic() - start:.0f} s")
    print(f"both accept {counts[True, True]}, both refuse {counts[False, False]}")
    print(f"the kernel accepts, we refuse: {counts[False, True]} ({share:.2%} of its accepts)")
    print(f"we accept, the kernel refuses: {counts[True, False]}")
    for text, n in reasons.most_common(15):
        print(f"  {n:6} {text}")
    return 0 if share <= 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
