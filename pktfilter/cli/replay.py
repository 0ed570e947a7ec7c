"""`pktfilter replay`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..handles.hooks import Hook
from ..handles.links import Link
from ..handles.program import Program, resolve_engine
from ..session import DEFAULT_BATCH, WORKERS_MAX, Progress, Replay, ReplayResult
from ..sinks import WRITE_CHOICES
from ..sources.files import expand
from . import EXIT_INTERRUPTED, EXIT_REFUSED, UsageError
from .environment import environment_options
from .events import event_options, events_of, tell_full_rings
from .map_options import map_files_of, map_options
from .options import (
    batch_option,
    control_option,
    engine_option,
    json_option,
    linear_option,
    network_option,
    read_network,
    unverified_option,
    watch_option,
    write_options,
)
from .ports import port_option, ports_of
from .programs import load_program
from .running import (
    LONG_SECONDS,
    controlled,
    interruptible,
    print_trace,
    watched,
)
from .timing import timing_of, timing_options
from .trials import begin_trial, check_trial_options

if TYPE_CHECKING:
    from pathlib import Path

_STARTED = time.perf_counter()


def _swap_option(text: str) -> tuple[int, str]:
    number, separator, prog = text.partition("=")
    if not separator or not (number.isascii() and number.isdecimal()) or not prog:
        raise UsageError(
            "--swap takes N=PROG", found=text, expected="for example 1000=new.o:filter"
        )
    if len(number) > 18:
        raise UsageError("--swap's N is too large", found=number, expected="at most 18 digits")
    return int(number), prog


@click.command(name="replay", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("prog")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@write_options("OUT")
@environment_options
@json_option
@engine_option
@batch_option(DEFAULT_BATCH)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(1, WORKERS_MAX),
    metavar="N",
    show_default=True,
    help="Threads that run packets; a connection stays on one. The results are the same for any number.",
)
@click.option(
    "--unordered",
    is_flag=True,
    help="Several workers: write packets as they come out, in order within a connection alone.",
)
@click.option(
    "--seed",
    default=0,
    type=click.IntRange(0, (1 << 64) - 1),
    metavar="N",
    show_default=True,
    help="Of bpf_get_prandom_u32: the same seed gives the same numbers.",
)
@click.option(
    "--swap",
    "swaps",
    multiple=True,
    metavar="N=PROG",
    help="Replace the program: packets with index < N run the old one. Repeatable.",
)
@click.option(
    "--shadow",
    metavar="PROG2",
    help="Run PROG2 beside PROG on copies of the packets, and say where they differ.",
)
@click.option(
    "--canary",
    metavar="PROG2",
    help="Give PROG2 the packets of a share of the flows; a connection keeps its program.",
)
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1),
    metavar="F",
    help="The canary's share of the flows, 0 to 1.  [default: 0.05]",
)
@click.option(
    "--guard",
    is_flag=True,
    help="End the shadow or canary by itself when it differs in over 1 % of the packets (shadow), "
    "faults, drops 5 points more or less, or takes over twice as long. All but faults are judged once "
    "each program ran 1000 packets.",
)
@port_option("FILE")
@event_options
@network_option
@timing_options
@map_options
@linear_option
@unverified_option
@watch_option
@control_option(", once a replay takes longer than a second")
@click.option(
    "--as-ethernet",
    is_flag=True,
    help="Put an Ethernet header before raw IP, null and SLL packets.",
)
def replay_command(
    prog: str,
    inputs: tuple[str, ...],
    write: str | None,
    which: tuple[str, ...],
    comment: bool,
    as_json: bool,
    engine: str,
    batch: int,
    workers: int,
    unordered: bool,
    seed: int,
    swaps: tuple[str, ...],
    shadow: str | None,
    canary: str | None,
    fraction: float | None,
    guard: bool,
    linear: str,
    as_ethernet: bool,
    unverified: bool,
    watch: bool,
    control: Path | None,
    ports: tuple[str, ...],
    network: str | None,
    **rest: Any,
) -> int:
    """Runs PROG over every packet of the INPUTs (files, globs, - for standard input)."""
    if write is None and (which or comment):
        raise UsageError(
            "--write chooses what -w writes" if which else "--comment is about what -w writes",
            hint="add -w OUT",
        )
    check_trial_options(shadow, canary, fraction, guard, swaps)
    resolve_engine(engine)
    files, events = map_files_of(rest), events_of(rest)
    timed = timing_of(rest, workers)
    parsed = [_swap_option(text) for text in swaps]
    taken = [write == "-", events.to_stdout, *(text.endswith("=-") for text in ports)]
    to_stdout = files.to_stdout or any(taken)
    loaded: dict[str, Program] = {}
    obj, loaded[prog] = load_program(
        prog, verify=not unverified, workers=workers, edit=files.resize_own
    )
    others = [text.partition("=")[2] for text in ports] + ([write] if write else []) + events.names
    files.check(obj, sum(taken) > 0, [*expand(inputs), *others])
    events.check([obj.path, *expand(inputs), *others[:-1]] if events.names else [])
    if sum(taken) > 1:
        raise UsageError("standard output takes one thing", hint="name files for the others")
    files.load(obj)

    def program(text: str) -> Program:
        if text not in loaded:
            loaded[text] = load_program(
                text, verify=not unverified, workers=workers, edit=files.resize
            )[1]
        return loaded[text]

    hook = Hook("ingress")
    link = hook.attach(program(prog))
    plan: list[tuple[int, Link, Program]] = [(n, link, program(text)) for n, text in parsed]
    chosen = {action for choice in which or ("passed",) for action in WRITE_CHOICES[choice]}
    with _progress_bar(not as_json and not to_stdout) as on_progress:
        run = Replay(
            inputs,
            hook,
            write=write,
            write_actions=chosen,
            comment=comment,
            workers=workers,
            unordered=unordered,
            batch=batch,
            engine=engine,
            seed=seed,
            linear=linear,
            as_ethernet=as_ethernet,
            swaps=plan,
            on_progress=on_progress,
            on_trace=print_trace,
            on_event=events.on_event,
            event_buffer=events.buffer,
            ports=ports_of(ports),
            network=read_network(network),
            **timed,
        )
        after = LONG_SECONDS if control is None else 0.0
        with (
            events.opened(),
            controlled(
                hook.datapath, f"replay {prog}", path=control, after=after, edit=files.resize
            ),
            watched(watch, prog, link, edit=files.resize),
            interruptible(run.stop),
        ):
            # Last, so that nothing which fails before leaves a trial behind.
            trial = begin_trial(link, shadow, canary, fraction, guard, program)
            startup = time.perf_counter() - _STARTED
            result = run.run()
    result.startup_s = startup
    result.trial = None if trial is None else trial.report
    _print(result, as_json=as_json, to_stdout=to_stdout, guarded=guard)
    if result.swaps_left and not (result.errors or result.interrupted):
        late = ", ".join(str(n) for n in result.swaps_left)
        click.echo(
            f"pktfilter: note: no swap at packet {late}: the inputs ended after {result.packets}",
            err=True,
        )
    for error in result.errors:
        click.echo(f"pktfilter: {error}", err=True)
    files.save(obj, link)
    tell_full_rings(obj.maps.values(), events.on_event is not None)
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_REFUSED if result.errors else 0


def _print(result: ReplayResult, *, as_json: bool, to_stdout: bool, guarded: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps(result.to_json()), err=to_stdout)
        return
    if not result.packets and result.errors:
        return
    from ..report import summary

    click.echo(summary(result, bold=partial(click.style, bold=True)), err=to_stdout)
    if result.trial is not None:
        from rich.console import Console

        from .trials import trial_summary

        # A file name is no markup.
        console = Console(
            stderr=to_stdout, highlight=False, soft_wrap=True, markup=False, emoji=False
        )
        console.print("")
        console.print(trial_summary(result.trial, guarded))


@contextmanager
def _progress_bar(wanted: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar with rate and time left on a terminal; nothing where standard error is not one."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    from ..report import progress_line

    columns: tuple[Any, ...] = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.position or 0,
                description=progress_line(progress),
            )

        yield show
