"""The differential test of the engines on programs that people wrote: the examples, the verifier's
corpus (`tests/programs` and the rule-by-rule cases) and the conformance vectors of the instruction set.

usage: tiers_corpus.py [--packets P] [--feeds F] [--every K]
Prints the sums of each group, and every accepted program that cannot be compiled; exit status 1 when
there is a difference or when more than 2 % cannot.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
sys.path.append(str(HERE.parent / "tests"))

import verifier_corpus  # noqa: E402
from campaign_corpus import renumbered  # noqa: E402
from kernel import MAP_TYPES  # noqa: E402
from tiers_library import Library, MapShape  # noqa: E402
from tiers_program import Engines, Totals, described, plan  # noqa: E402

from pktfilter.objects import MapSpec, ObjectSpec  # noqa: E402

ENTRIES = 32
"""Most elements that a map has here: states of maps are copied for every packet and form."""
XDP, MEMORY = 0, 1
FALLBACK_SHARE = 0.02


@dataclass
class Case:
    """Programs that share maps; the first is compared, all are loaded and bound."""

    name: str
    programs: list[tuple[str, bytes, bool]]
    """Name, instructions with places for maps, whether it takes packets in several parts."""
    maps: list[MapSpec] = field(default_factory=list)
    memory: bytes | None = None
    """Type memory: the region; such a program need not be accepted."""


def _shape(spec: MapSpec) -> MapShape:
    entries = spec.max_entries if spec.data is not None else min(spec.max_entries, ENTRIES)
    number = MAP_TYPES.get(str(spec.type), 0)
    return MapShape(number, spec.key_size, spec.value_size, entries, spec.flags)


def examples(folder: Path) -> Iterator[Case]:
    """Every program of every object, with the object's other programs to tail-call."""
    for path in sorted(folder.glob("*.o")):
        spec = ObjectSpec.from_file(path)
        places = {name: place for place, name in enumerate(spec.maps)}
        programs = [
            (name, renumbered(p.insns, {n: places[m] for n, m in p.map_refs.items()}), p.frags)
            for name, p in spec.programs.items()
        ]
        for at, (name, _, _) in enumerate(programs):
            rest = [*programs[:at], *programs[at + 1 :]]
            yield Case(f"{path.stem}/{name}", [programs[at], *rest], list(spec.maps.values()))


def corpus() -> Iterator[Case]:
    """The verifier's corpus: all entries; refused ones are left out when they are loaded."""
    for name, insns, maps, _, needs in verifier_corpus.corpus():
        if not needs:
            yield _entry(name, insns, maps)


def _entry(name: str, insns: bytes, maps: Mapping[int, MapSpec]) -> Case:
    places = {number: place for place, number in enumerate(sorted(maps))}
    return Case(name, [(name, renumbered(insns, places), False)], [maps[n] for n in sorted(maps)])


def vectors(path: Path) -> Iterator[Case]:
    """The conformance vectors: program type memory."""
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["suite"] == "tests" and row["name"] != "callx":
            memory = bytes.fromhex(row["mem"] or "")
            code = bytes.fromhex(row["code"])
            yield Case(row["name"], [(row["name"], code, False)], memory=memory)


class Group:
    """Compares cases and sums up."""

    def __init__(self, engines: Engines, singles: int, feeds: int) -> None:
        self.engines, self.singles, self.feeds = engines, singles, feeds
        self.totals = Totals()

    def _world(self, case: Case) -> int | None:
        library = self.engines.library
        inner = next((_shape(m.inner) for m in case.maps if m.inner), None)
        world = library.world([_shape(m) for m in case.maps], inner)
        if world is None:
            return None
        for place, spec in enumerate(case.maps):
            if spec.lock is not None and not library.lock(world, place, spec.lock, 0):
                return None
            if spec.inner is not None and spec.inner.lock is not None:
                library.lock(world, place, spec.inner.lock, 1)
            if spec.data is not None:
                data = spec.data.ljust(spec.value_size, b"\0")
                library.data(world, place, data, len(data), int(spec.frozen))
        return world

    def run(self, case: Case) -> None:
        """One case."""
        library, totals = self.engines.library, self.totals
        world = self._world(case)
        if world is None:
            return
        kind = XDP if case.memory is None else MEMORY
        loaded = []
        try:
            for _, insns, frags in case.programs:
                program = library.program(
                    world, kind, int(frags), insns, len(insns) // 8, int(kind == MEMORY)
                )
                if program:
                    loaded.append(program)
                if not loaded:
                    return
            totals.programs += 1
            if kind == XDP and library.refusal(loaded[0]) is not None:
                return
            totals.accepted += 1
            self._compare(case, world, loaded)
        finally:
            for place, spec in enumerate(case.maps):
                if spec.type == "prog_array":
                    library.unbind(world, place)
            for program in loaded:
                library.program_free(program)
            library.world_free(world)

    def _compare(self, case: Case, world: int, loaded: Sequence[int]) -> None:
        library, totals = self.engines.library, self.totals
        kind = "xdp" if case.memory is None else "memory"
        reason = None
        for program, (_, _, frags) in zip(loaded, case.programs, strict=False):
            if kind == "xdp" and library.refusal(program) is not None:
                continue
            why = self.engines.compile(program, world, type=kind, frags=frags)
            reason = reason or why
        if reason is not None:
            line = f"{case.name}: {reason}"
            totals.fallbacks[line] = totals.fallbacks.get(line, 0) + 1
        for place, spec in enumerate(case.maps):
            if spec.type == "prog_array":
                for key, program in enumerate(loaded[1 : 1 + _shape(spec).max_entries]):
                    library.bind(world, place, key, program)
        singles = self.singles if case.memory is None else 1
        wanted = plan(1 + totals.programs, singles, self.feeds, 32, self.engines.forms)
        if case.memory is not None:
            wanted.memory, wanted.memory_len = case.memory, len(case.memory)
        report = library.compare(loaded[0], wanted)
        totals.compared += reason is None
        totals.add(report)
        if report.found:
            totals.findings.append(f"{case.name}, {described(report)}")


def shared() -> Path:
    """The folder with the vectors."""
    return Path(os.environ.get("PKTFILTER_SHARED", HERE.parent.parent / "shared"))


def main() -> int:
    """All groups."""
    parser = argparse.ArgumentParser(description="Differential test on written programs.")
    parser.add_argument("--packets", type=int, default=200)
    parser.add_argument("--feeds", type=int, default=8)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--library", type=Path, default=HERE / "build" / "libtiers.so")
    o = parser.parse_args()
    engines = Engines(Library(o.library))
    path = shared() / "isa" / "vectors.jsonl"
    status = 0
    for name, cases in (
        ("examples", examples(HERE.parent / "examples")),
        ("verifier's corpus", corpus()),
        ("instruction set vectors", vectors(path) if path.is_file() else iter(())),
    ):
        group = Group(engines, o.packets, o.feeds)
        for at, case in enumerate(cases):
            if at % o.every == 0:
                group.run(case)
        totals = group.totals
        print(f"{name}:\n{totals.text()}")
        for finding in totals.findings:
            print(f"  finding: {finding}")
        failed = sum(totals.fallbacks.values()) > FALLBACK_SHARE * totals.accepted
        status |= bool(totals.findings) or failed
    return status


if __name__ == "__main__":
    sys.exit(main())
