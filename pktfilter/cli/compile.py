"""`pktfilter compile`."""

from __future__ import annotations

import click

from .._core.isa import MAX_INSNS
from ..expressions import PREFIX
from . import UsageError


@click.command(name="compile", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("expression", metavar="EXPRESSION")
@click.option("-o", "output", required=True, metavar="FILE.o", help="The object to write.")
@click.option("--name", default="filter", show_default=True, help="Of the program in the object.")
@click.option(
    "--license", "license_", default="Dual MIT/GPL", show_default=True, help="What the object says."
)
@click.option(
    "--optimize/--no-optimize", default=True, help="libpcap's optimizer.", show_default=True
)
def compile_command(expression: str, output: str, name: str, license_: str, optimize: bool) -> None:
    """Makes an XDP program for Ethernet of a tcpdump EXPRESSION: a match is XDP_PASS, the rest XDP_DROP.

    The object needs no helpers and no maps; the kernel takes it, and so does `pktfilter replay`.
    """
    from ..assembler import AsmProgram, is_label, write_object
    from ..expressions.compile import compile_expression
    from ..expressions.translate import check_size, tests_length, translate
    from ..handles.verification import verify
    from ..objects import FuncInfo

    if output == "-":
        raise UsageError("an object is written to a file", found="-", hint="name one")
    if not is_label(name):
        raise UsageError("the program's name has to be an identifier", found=name)
    steps = compile_expression(expression.removeprefix(PREFIX), optimize=optimize)
    insns = translate(steps, wire_length=False)
    check_size(insns, MAX_INSNS)
    verdict = verify(insns, "xdp")
    if not verdict.ok:
        raise click.ClickException(verdict.diagnostics[0].message)
    program = AsmProgram(
        name=name, section="xdp", insns=insns, license=license_, functions=[FuncInfo(0, name)]
    )
    write_object([program], output)
    if tests_length(steps):
        click.echo(
            "pktfilter: note: the expression tests the length of packets, which on the wire no XDP program knows: "
            "here it is the number of bytes that the packet has",
            err=True,
        )
