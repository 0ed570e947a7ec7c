"""`pktfilter inspect`, `disasm`, `asm`."""

from __future__ import annotations

import json

import click

from ..errors import CompileError
from . import UsageError
from .environment import environment_options
from .programs import choose, load_program, spec_of

#: Columns where nobody looks at a screen: tables are not folded.
PIPE_WIDTH = 1000
_HELP = {"help_option_names": ["-h", "--help"]}


@click.command(name="inspect", context_settings=_HELP)
@click.argument("obj", metavar="OBJ")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--btf",
    "types",
    is_flag=True,
    help="Print the types (BTF) as C that compiles to the same layout; OBJ may be a file of BTF alone.",
)
def inspect_command(obj: str, as_json: bool, types: bool) -> None:
    """Shows programs, sections, instruction counts, maps with definitions and sizes, helpers used."""
    if types:
        if as_json:
            raise UsageError("--btf prints C", hint="leave --json out")
        _print_types(obj)
        return
    from ..objects.inspect import describe

    described = describe(spec_of(obj)[0])
    if as_json:
        click.echo(json.dumps(described))
        return
    from rich.console import Console

    from ..report import object_description

    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(object_description(described))


def _print_types(file: str) -> None:
    from ..objects.c_text import c_types
    from ..objects.target_btf import read_target

    found = read_target(file)
    if found is None:
        raise UsageError("no file of types is named", found=file)
    for text in c_types(found):
        click.echo(text, nl=False)


@click.command(name="disasm", context_settings=_HELP)
@click.argument("prog")
@environment_options
@click.option(
    "--source/--no-source",
    default=True,
    show_default=True,
    help="Source lines between instructions.",
)
@click.option("--all", "every", is_flag=True, help="List all programs of the object.")
@click.option("--llvm", is_flag=True, help="Show LLVM's optimized IR of the verified program.")
@click.option("--native", is_flag=True, help="Show this machine's code of the verified program.")
def disasm_command(prog: str, source: bool, every: bool, llvm: bool, native: bool) -> None:
    """Shows PROG's instructions in the kernel's syntax, with source lines where the object has them.

    Maps and their initial contents are part of the listing, so that `pktfilter asm` makes the same
    object of it; with --all that holds for objects of several programs.

    With --llvm or --native, the instructions stand as comments before what became of them: those
    that became part of others do not show.
    """
    if llvm or native:
        if every or (llvm and native):
            raise UsageError("--all, --llvm and --native are three listings", hint="ask for one")
        click.echo(_compiled(prog, native=native, source=source), nl=False)
        return
    from ..disasm import disassemble

    spec, name = spec_of(prog)
    chosen = list(spec.programs.values())
    if name is not None or not every or not chosen:
        chosen = [choose(spec, name)]
    click.echo(disassemble(chosen, source=source, maps=spec.maps), nl=False)


def _compiled(prog: str, *, native: bool, source: bool) -> str:
    """What PROG is compiled to. Nothing is taken from the cache: it holds no text."""
    from ..disasm import notes
    from ..handles.verification import facts_of
    from ..jit import listing
    from ..jit.unit import unit_of

    obj, program = load_program(prog)
    show = listing.native_listing if native else listing.llvm_listing
    try:
        unit = unit_of(program._ref, facts_of(program))
        return show(unit, notes(program.insns, program.spec, source))
    except CompileError as error:
        error.file = error.file or obj.path
        raise


@click.command(name="asm", context_settings=_HELP)
@click.argument("file", metavar="FILE.s")
@click.option("-o", "output", required=True, metavar="FILE.o", help="The object to write.")
def asm_command(file: str, output: str) -> None:
    """Assembles FILE.s (the syntax of `disasm`) into a BPF object."""
    from ..assembler import assemble_file, write_object

    if output == "-":
        raise UsageError("an object is written to a file", found="-", hint="name one")
    write_object(assemble_file(file), output)
