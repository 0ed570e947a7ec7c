"""PROG on the command line: FILE.o[:NAME], FILE.s[:NAME], pcap:EXPRESSION."""

from __future__ import annotations

import os
from collections.abc import Callable

from .._core.isa import MAX_INSNS
from ..errors import InputError
from ..expressions import PREFIX
from ..handles.cpus import default_cpus
from ..handles.loader import Object, load
from ..handles.program import Program
from ..objects import ObjectSpec, ProgramSpec
from . import UsageError
from .environment import environment


def is_expression(text: str) -> bool:
    """Whether PROG is pcap:EXPRESSION."""
    return text.startswith(PREFIX)


def split(text: str) -> tuple[str, str | None]:
    """(file, program name or None). A file whose own name has a colon wins over a program name."""
    if is_expression(text):
        return text, None
    if ":" in text and not os.path.exists(text):
        path, _, name = text.rpartition(":")
        if not path:
            raise UsageError(
                "PROG names no file", found=text, expected="FILE.o[:NAME] or FILE.s[:NAME]"
            )
        return path, name
    return text, None


def spec_of(text: str) -> tuple[ObjectSpec, str | None]:
    """The parsed object of PROG, assembled first when it is assembly, and the program's name."""
    if is_expression(text):
        return _expression(text), None
    path, name = split(text)
    if not path.endswith(".s"):
        return environment.prepare(ObjectSpec.from_file(path)), name
    return _assembled(path), name


def _assembled(path: str) -> ObjectSpec:
    """An assembly file as the object it describes."""
    from ..assembler import assemble_file
    from ..objects.insns import helper_calls
    from ..objects.parse import classify

    spec = ObjectSpec(path)
    for program in assemble_file(path):
        spec.license = spec.license or program.license
        spec.maps.update(program.maps)
        spec.programs[program.name] = ProgramSpec(
            name=program.name,
            section=program.section,
            insns=program.insns,
            license=program.license,
            frags=program.section.startswith("xdp.frags"),
            attach=classify(program.section).attach,
            map_refs=program.map_refs,
            functions=program.functions,
            lines=program.lines,
            helpers=sorted({number for _, number in helper_calls(program.insns)}),
        )
    return spec


def _expression(text: str) -> ObjectSpec:
    """An expression as an object of one program, for Ethernet or the first common link type that it fits."""
    from ..expressions.compile import check_meaning, translate_expression

    expression = text.removeprefix(PREFIX)
    kind = check_meaning(expression)
    spec = ObjectSpec(text)
    spec.programs[text] = ProgramSpec(
        name=text,
        section="pcap",
        insns=translate_expression(expression, kind, limit=MAX_INSNS),
        type="pcap",
        expression=expression,
    )
    return spec


def choose(spec: ObjectSpec, name: str | None) -> ProgramSpec:
    """The program that PROG means; where several could be meant, a usage error lists them.

    Programs of entries of a devmap or cpumap are meant where they are named, or alone.
    """
    names = ", ".join(spec.programs)
    if name is not None:
        if name not in spec.programs:
            raise InputError(
                f"no program named '{name}'",
                file=spec.path,
                expected=f"one of: {names}" if names else None,
            )
        return spec.programs[name]
    if not spec.programs:
        skipped = "; ".join(f"{s.name} ({s.section}): {s.reason}" for s in spec.skipped)
        raise InputError(
            "the object has no XDP program",
            file=spec.path,
            hint=f"skipped: {skipped}" if skipped else None,
        )
    for_hooks = [each for each in spec.programs.values() if not each.attach]
    if len(for_hooks) == 1:
        return for_hooks[0]
    if len(spec.programs) > 1:
        raise UsageError(
            f"the object has several programs: {names}",
            file=spec.path,
            hint=f"name one, as {spec.path}:{next(iter(spec.programs))}",
        )
    return next(iter(spec.programs.values()))


def load_program(
    text: str,
    *,
    verify: bool = True,
    workers: int = 1,
    edit: Callable[[ObjectSpec], None] | None = None,
) -> tuple[Object, Program]:
    """The loaded object of PROG and the program it means; its per-CPU maps have a value per worker.

    `edit` changes the object's specs first.
    """
    spec, name = spec_of(text)
    chosen = choose(spec, name)
    if edit is not None:
        edit(spec)
    obj = load(spec, cpus=max(default_cpus(), workers), verify=verify)
    return obj, obj.programs[chosen.name]
