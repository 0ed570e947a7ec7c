"""Does the differential test find every planted bug of the translator (plants_tiers.txt)?

For each one a copy of the package gets the change, and ``tiers.py`` runs until something is found.
usage: planted_tiers.py [--programs N] [--seed S] [NUMBER...]
Exit status 1 when one was not found, 2 when the text that a plant changes is not there once.

plants_tiers.txt holds for each plant a line ``NUMBER FILE: what is wrong``, then the text that is
there between ``<<<`` and ``===`` and what takes its place up to ``>>>``, each on lines of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
PLANT = re.compile(r"^(\d+) (\S+): ([^\n]+)\n<<<\n(.*?)\n===\n(.*?)\n?>>>$", re.M | re.S)


@dataclass(frozen=True)
class Plant:
    """One planted bug."""

    number: int
    file: str
    what: str
    right: str
    wrong: str


def plants() -> Iterator[Plant]:
    """All of plants_tiers.txt."""
    for found in PLANT.finditer((HERE / "plants_tiers.txt").read_text(encoding="utf-8")):
        yield Plant(int(found[1]), found[2], found[3], found[4], found[5])


def plant_into(package: Path, plant: Plant) -> None:
    """Changes the copy; ends the program when the text is not there exactly once."""
    file = package / "jit" / plant.file
    text = file.read_text(encoding="utf-8")
    if text.count(plant.right) != 1:
        print(f"{plant.number}: {plant.file} has its text {text.count(plant.right)} times")
        sys.exit(2)
    file.write_text(text.replace(plant.right, plant.wrong), encoding="utf-8")


def look(plant: Plant, options: argparse.Namespace) -> tuple[bool, str]:
    """Whether it is found, and how."""
    with TemporaryDirectory() as folder:
        package = Path(folder) / "pktfilter"
        shutil.copytree(HERE.parent / "pktfilter", package)
        plant_into(package, plant)
        command = [sys.executable, str(HERE / "tiers.py"), "--seed", str(options.seed)]
        command += ["--programs", str(options.programs), "--stop-on-finding", "--json"]
        command += ["--packets", "64", "--feeds", "3", "--feed", "64", "--mutate", "25"]
        began = time.monotonic()
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": folder}, capture_output=True, text=True
        )
        took = time.monotonic() - began
    if done.returncode not in (0, 1):
        return False, f"the run ended with {done.returncode}: {done.stderr[-300:]}"
    findings = re.findall(r"^finding: (.*)$", done.stderr, re.M)
    if not findings:
        return False, f"{took:.0f} s"
    return True, f"{took:.0f} s, {findings[0][:150]}"


def main() -> int:
    """All plants, or those that are named."""
    parser = argparse.ArgumentParser(description="Planted bugs of the translator.")
    parser.add_argument("--programs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("numbers", type=int, nargs="*")
    options = parser.parse_args()
    chosen = [p for p in plants() if not options.numbers or p.number in options.numbers]
    missed = 0
    for plant in chosen:
        found, how = look(plant, options)
        missed += not found
        word = "found" if found else "NOT FOUND"
        print(f"{plant.number} {word}: {plant.what} ({how})", flush=True)
    print(f"found {len(chosen) - missed} of {len(chosen)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
