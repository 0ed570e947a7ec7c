"""`pktfilter verify`."""

from __future__ import annotations

import json
import sys

import click

from ..handles.verification import Verification, verify
from ..objects import ObjectSpec, ProgramSpec
from . import EXIT_REFUSED
from .environment import environment_options
from .map_options import MapFiles, entries_of_option, max_entries_option
from .programs import choose, spec_of

_COLOURS = {
    "error": "bright_red",
    "help": "bright_cyan",
    "note": "bright_blue",
    "line": "bright_blue",
}


@click.command(name="verify", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("prog")
@environment_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@max_entries_option
@click.option("--log", is_flag=True, help="Print the verifier's states as it explores.")
def verify_command(prog: str, as_json: bool, log: bool, max_entries: tuple[str, ...]) -> int:
    """Proves PROG safe, or says why it cannot be proved; all programs of the object without a NAME."""
    sizes = MapFiles(entries_of_option(max_entries))
    spec, name = spec_of(prog)
    sizes.resize_own(spec)
    chosen = (
        [choose(spec, name)]
        if name is not None or not spec.programs
        else list(spec.programs.values())
    )
    found = [(program, _verify(spec, program, log=log)) for program in chosen]
    if as_json:
        click.echo(
            json.dumps({"programs": [_as_json(program, result) for program, result in found]})
        )
    else:
        for program, result in found:
            _print(program, result)
    refused = [program.name for program, result in found if not result.ok]
    if refused:
        click.echo(f"pktfilter: {spec.path}: refused: {', '.join(refused)}", err=True)
    return EXIT_REFUSED if refused else 0


def _verify(spec: ObjectSpec, program: ProgramSpec, *, log: bool) -> Verification:
    spec.check_supported(program.name)
    maps = {number: spec.maps[name] for number, name in program.map_refs.items()}
    return verify(program.insns, program.type, maps, spec=program, log=log)


def _as_json(program: ProgramSpec, result: Verification) -> dict[str, object]:
    return {
        "name": program.name,
        "ok": result.ok,
        "insns": program.insn_count,
        "insns_processed": result.insns_processed,
        "elapsed_us": result.elapsed_us,
        "diagnostics": [diagnostic.to_json() for diagnostic in result.diagnostics],
    }


def _print(program: ProgramSpec, result: Verification) -> None:
    if result.log:
        click.echo(result.log, nl=not result.log.endswith("\n"))
    style = _paint if sys.stdout.isatty() else None
    for diagnostic in result.diagnostics:
        click.echo(diagnostic.render(program.name, style) + "\n")
    verdict = "ok" if result.ok else "refused"
    click.echo(
        f"{program.name}: {verdict}: {program.insn_count} instructions, {result.insns_processed} processed in "
        f"{result.elapsed_us:.0f} µs, {result.memory_peak // 1024} KiB"
    )


def _paint(role: str, text: str) -> str:
    return click.style(text, fg=_COLOURS.get(role), bold=role == "error")
