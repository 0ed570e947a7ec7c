"""Which instructions and source lines the scored packets reach, found by traps.

A basic block is reached if the same runs, with an instruction that the checked interpreter always
stops at in the place of the block's first one, stop there: up to that moment nothing differs from
the original. Source lines come from the object's line information.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import filling
import kernel
import rewriting
import scoring
from scored import Object

import pktfilter as pf
from pktfilter.objects import ProgramSpec


@dataclass(frozen=True)
class Reached:
    """How much of one object ran, all its programs together; subprograms count once for each."""

    lines: int
    all_lines: int
    insns: int
    all_insns: int
    missed: tuple[str, ...]
    """`file:line` of what no packet came to."""


def reached(each: Object, frames: list[bytes], network: pf.Network | None = None) -> Reached:
    """Over the frames, with empty and with filled maps; every program by itself and where another tail-calls it."""
    made = filling.contents(each, frames)
    lines: set[tuple[str, int]] = set()
    hit: set[tuple[str, int]] = set()
    insns = all_insns = 0
    for name, program in each.spec().programs.items():
        blocks = rewriting.leaders(program.insns)
        ran = {at for at in blocks if _stops(each, name, at, made, frames, network)}
        done = _covered(blocks, ran, program.insn_count)
        insns += len(done)
        all_insns += program.insn_count
        for line, at in _line_ranges(program):
            lines.add(line)
            if done.intersection(at):
                hit.add(line)
    missed = tuple(f"{file}:{number}" for file, number in sorted(lines - hit))
    return Reached(len(hit), len(lines), insns, all_insns, missed)


def _covered(blocks: list[int], ran: set[int], count: int) -> set[int]:
    done: set[int] = set()
    for first, end in zip(blocks, [*blocks[1:], count], strict=True):
        if first in ran:
            done.update(range(first, end))
    return done


def _line_ranges(program: ProgramSpec) -> Iterable[tuple[tuple[str, int], range]]:
    ends = [info.insn for info in program.lines[1:]] + [program.insn_count]
    for info, end in zip(program.lines, ends, strict=True):
        if info.line:
            yield (info.file, info.line), range(info.insn, end)


def _stops(
    each: Object,
    name: str,
    at: int,
    made: filling.Contents,
    frames: list[bytes],
    network: pf.Network | None,
) -> bool:
    """Whether the program comes to the instruction."""
    spec = each.spec()
    spec.check_supported()
    rewriting.share_answers(spec)
    spec.programs[name] = rewriting.trapped(spec.programs[name], at)
    for state in scoring.STATES:
        obj = pf.load(spec, cpus=kernel.possible_cpus(), verify=False)
        for array, slots in scoring.PROG_ARRAYS.get(each.stem, {}).items():
            for slot, target in slots.items():
                obj.maps[array][slot] = obj.programs[target]
        if state == "filled":
            filling.fill_engine(obj, made)
        for program in obj.programs.values():  # the others tail-call it
            for frame in frames:
                try:
                    program.test_run(frame, engine="checked", network=network, events=0)
                except pf.ExecutionFault:
                    return True
    return False
