"""Turn the ISA conformance vectors into lines that test_vm.c reads.

``python3 vectors.py OUT`` writes one line a vector, ``NAME EXPECT RESULT CODE MEMORY``: EXPECT is
``run`` (RESULT is r0, hex) or ``refuse``; CODE and MEMORY are hex, ``-`` when empty.  The vectors
are those of ``../shared/isa`` (or of PKTFILTER_SHARED); without them it says so and exits with 77.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

EXCEPTIONS = {
    "callx": "refuse",  # an indirect call: refused by name, as Linux does
    "incorrect_return_value_high_bits": "skip",  # tests a runner: the program loads and runs
}
"""Vectors that do not follow from their suite, and what to expect instead."""


def shared_folder() -> Path:
    """The folder with the vectors, which need not exist."""
    beside = Path(__file__).resolve().parents[2].parent / "shared"
    return Path(os.environ.get("PKTFILTER_SHARED", beside))


def lines(source: Path) -> list[str]:
    """All vectors that an engine can be given; ValueError for a row that cannot be understood."""
    out = []
    for text in source.read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        name, code = row["name"].replace(" ", "_"), row.get("code")
        expect = {"tests": "run", "negative": "refuse"}[row["suite"]]
        expect = EXCEPTIONS.get(row["name"], expect)
        if expect == "skip" or (not code and not name.startswith("empty")):
            continue  # without code the assembler itself must refuse
        result = int(row["result"] or 0) & (1 << 64) - 1
        out.append(f"{name} {expect} {result:x} {code or '-'} {row.get('mem') or '-'}")
    return out


def main() -> int:
    """Write the file named by the only argument."""
    if len(sys.argv) != 2:
        print("usage: vectors.py OUT", file=sys.stderr)
        return 2
    source = shared_folder() / "isa" / "vectors.jsonl"
    if not source.exists():
        print(f"no conformance vectors at {source}", file=sys.stderr)
        return 77
    Path(sys.argv[1]).write_text("\n".join(lines(source)) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
