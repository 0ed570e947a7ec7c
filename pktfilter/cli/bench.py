"""`pktfilter bench` and `pktfilter bench swap`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..errors import OutputError
from ..session.options import BATCH_MAX, DEFAULT_BATCH
from ..session.swapbench import SwapBench, swap_bench
from . import EXIT_INTERRUPTED, EXIT_REFUSED, UsageError

MAX_LANES = 32
#: Columns where nobody looks at a screen: tables are not folded.
PIPE_WIDTH = 1000


class _Bench(click.Group):
    """`bench GROUP...` measures; only what is no group of benchmarks is a command: `bench swap`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not (args and (args[0] in self.commands or args[0] in ctx.help_option_names)):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] [GROUP]...")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..benchmarks.groups import GROUPS

        run_command.format_options(ctx, formatter)
        with formatter.section("Groups"):
            formatter.write_dl([(name, text) for name, (text, _) in GROUPS.items()])
        with formatter.section("Commands"):
            formatter.write_dl([("swap", swap_command.get_short_help_str(100))])


@click.group(name="bench", cls=_Bench, context_settings={"help_option_names": ["-h", "--help"]})
def bench_command() -> None:
    """Measures pktfilter beside its peers, in the same run, and shows the ratios.

    Rounds of ours, of the peers and of an empty program alternate; what is not installed or not permitted is
    left out and said. `pktfilter report` makes a page of the file that -o writes.
    """


@bench_command.command(name="run", hidden=True)
@click.argument("groups", nargs=-1, metavar="[GROUP]...")
@click.option(
    "-o", "--output", metavar="FILE", help="Write every round, the machine and the versions (JSON)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the same instead of tables.")
@click.option("--quick", is_flag=True, help="Small captures and short rounds: a glance.")
@click.option(
    "--rounds",
    type=click.IntRange(3, 10_000),
    metavar="N",
    help="Rounds of each benchmark. [default: 15, quick: 10]",
)
@click.option(
    "--packets",
    type=click.IntRange(20_000, 100_000_000),
    metavar="N",
    help="Packets of generated captures. [default: 2,000,000; quick: 200,000]",
)
@click.option(
    "--examples",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Folder of the example programs. [default: beside the package]",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Where captures are made meanwhile. [default: a temporary folder]",
)
@click.option(
    "--label",
    default="",
    metavar="TEXT",
    help="What a report calls this run. [default: the commit]",
)
def run_command(
    groups: tuple[str, ...],
    output: str | None,
    as_json: bool,
    quick: bool,
    rounds: int | None,
    packets: int | None,
    examples: str | None,
    folder: str | None,
    label: str,
) -> int:
    """Measures the groups, or all."""
    from ..benchmarks.groups import GROUPS, default_examples, run_groups
    from ..benchmarks.runner import Session

    unknown = [name for name in groups if name not in GROUPS]
    if unknown:
        raise UsageError(
            "no such group of benchmarks", found=unknown[0], expected=f"one of: {', '.join(GROUPS)}"
        )
    if output is not None and not Path(output).resolve().parent.is_dir():
        raise OutputError("the folder of the result file does not exist", file=output)
    tell = _tell if sys.stderr.isatty() else None
    session = Session(
        quick=quick,
        rounds=rounds,
        packets=packets,
        examples=default_examples() if examples is None else Path(examples),
        folder=None if folder is None else Path(folder),
        on_step=tell,
    )
    session.run.label = label
    for warning in session.run.warnings:
        click.echo(f"pktfilter: {warning}", err=True)
    status = 0
    with session:
        try:
            run_groups(session, groups or GROUPS)
        except KeyboardInterrupt:
            status = EXIT_INTERRUPTED
    if tell is not None:
        click.echo("\r\033[K", err=True, nl=False)
    if output is not None:
        session.run.save(output)
    if as_json:
        click.echo(json.dumps(session.run.to_json()))
    else:
        from rich.console import Console

        from ..benchmarks.table import run_table

        console = Console(highlight=False, markup=False, emoji=False)
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        console.print(run_table(session.run), soft_wrap=True)
    if status:
        click.echo("pktfilter: interrupted: what was measured until then is kept", err=True)
    return status


@bench_command.command(
    name="swap", short_help="Replace a program under full load, in every way there is."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option(
    "--seconds",
    default=2.0,
    type=click.FloatRange(0.05, 3600),
    metavar="S",
    show_default=True,
    help="How long each way runs.",
)
@click.option(
    "--batch",
    default=DEFAULT_BATCH,
    type=click.IntRange(1, BATCH_MAX),
    metavar="N",
    show_default=True,
    help="Packets between two points at which a program can be replaced.",
)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(1, MAX_LANES),
    metavar="N",
    show_default=True,
    help="Threads that run packets.",
)
@click.option(
    "--pace",
    default=0.0,
    type=click.FloatRange(0, 60),
    metavar="S",
    help="Seconds from one update to the next. [default: as fast as every worker meets them]",
)
@click.option(
    "--quick", is_flag=True, help="End after a few seconds: only a glance at the other ways."
)
@click.option("--plot", metavar="FILE", help="Draw the update times into FILE (.svg, .png, .pdf).")
def swap_command(
    as_json: bool,
    seconds: float,
    batch: int,
    workers: int,
    pace: float,
    quick: bool,
    plot: str | None,
) -> int:
    """Replaces a program under full load, in every way there is, and shows what each costs and breaks.

    Workers run packets in memory without a pause; every program leaves its number in the bytes of
    every packet, and the bytes decide: uncovered packets saw no program, mixed batches saw two, stale
    packets ran an old program after the update had returned. The kernel's own BPF_LINK_UPDATE is
    measured beside them where bpf(2) and a network namespace are permitted.

    Exit status 1 when pktfilter's own way left anything uncovered, mixed or stale.
    """
    if plot is not None:
        from ..session.swapplot import need_matplotlib

        need_matplotlib()
    tell = None if as_json or not sys.stderr.isatty() else _tell
    bench = swap_bench(
        seconds=seconds, batch=batch, lanes=workers, pace_s=pace, quick=quick, on_step=tell
    )
    if tell is not None:
        click.echo("\r\033[K", err=True, nl=False)
    if plot is not None:
        from ..session.swapplot import plot as draw

        draw(bench, plot)
    if as_json:
        click.echo(json.dumps(bench.to_json()))
    else:
        _print(bench)
    if bench.proved:
        return 0
    click.echo(
        "pktfilter: the proof failed: a packet was uncovered or stale, a batch mixed or too long to judge",
        err=True,
    )
    return EXIT_REFUSED


def _tell(step: str) -> None:
    click.echo(f"\r\033[K{step}...", err=True, nl=False)


def _print(bench: SwapBench) -> None:
    from rich.console import Console

    from ..report_swap import swap_report

    Console(highlight=False, markup=False, emoji=False).print(swap_report(bench), soft_wrap=True)
