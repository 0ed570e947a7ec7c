"""`pktfilter live`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..handles.hooks import Hook
from ..handles.program import resolve_engine
from ..session.live import DEFAULT_LIVE_BATCH, Live
from ..session.live_results import LiveResult
from ..sinks import WRITE_CHOICES
from ..sources.live import SNAPLEN_MAX, SNAPLEN_MIN
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
    controlled,
    interruptible,
    print_trace,
    say,
    watched,
)

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}


def _size(text: str) -> int:
    """Bytes, with a decimal suffix: 500k, 10M, 2G."""
    lower = text.lower()
    number, unit = (lower[:-1], lower[-1]) if lower[-1:] in _UNITS else (lower, "")
    if not (number.isascii() and number.isdecimal()) or len(number) > 15 or not int(number):
        raise click.BadParameter(f"{text!r} is not a size such as 500k, 10M or 2G")
    return int(number) * _UNITS[unit]


_SECONDS = click.FloatRange(0, 86400 * 365, min_open=True)


@click.command(name="live", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("interface", metavar="IFACE")
@click.argument("prog")
@click.option(
    "--out",
    metavar="IFACE",
    help="Filter between IFACE and this one: PASS and REDIRECT go to the other side, TX back, DROP "
    "nowhere. [default: observe only]",
)
@click.option("--both", is_flag=True, help="With --out: filter both directions.")
@write_options("FILE")
@environment_options
@click.option(
    "-c", "--count", type=click.IntRange(1), metavar="N", help="End after exactly N packets."
)
@click.option("--time", "seconds", type=_SECONDS, metavar="S", help="End after S seconds.")
@click.option("--size", type=_size, metavar="SIZE", help="End once -w wrote SIZE (500k, 10M, 2G).")
@click.option(
    "--rotate-size",
    "rotate_bytes",
    type=_size,
    metavar="SIZE",
    help="Begin a new file (NAME.00001.EXT, ...) with the batch that fills one.",
)
@click.option(
    "--rotate-time",
    "rotate_seconds",
    type=_SECONDS,
    metavar="S",
    help="Begin a new file every S seconds.",
)
@click.option(
    "--files",
    type=click.IntRange(1),
    metavar="N",
    help="Keep the last N files of a rotation. [default: all]",
)
@click.option(
    "--backend",
    default="ring",
    type=click.Choice(["ring", "scapy"]),
    show_default=True,
    help="How packets are received: the kernel's memory-mapped ring, or scapy's sockets.",
)
@click.option("--outgoing", is_flag=True, help="Also packets that this machine sends.")
@click.option(
    "--partial",
    type=click.Choice(["mark", "skip", "complete"]),
    help="Packets whose checksum the sender left to the device: mark (count, and flag in pcapng), "
    "skip, or complete. [default: complete with --out, else mark]",
)
@click.option(
    "--promiscuous/--no-promiscuous",
    default=None,
    help="Take packets for other stations too. [default: with --out]",
)
@click.option(
    "--snaplen",
    default=SNAPLEN_MAX,
    type=click.IntRange(SNAPLEN_MIN, SNAPLEN_MAX),
    metavar="N",
    show_default=True,
    help="Bytes of each packet that are captured; all of them with --out.",
)
@click.option(
    "--ring-mib",
    default=16,
    type=click.IntRange(1, 4096),
    metavar="N",
    show_default=True,
    help="MiB of each interface's ring.",
)
@click.option(
    "--latency-ms",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="How long the kernel may keep packets back to fill a block. [default: 10; with --out 1]",
)
@port_option("IFACE")
@event_options
@network_option
@engine_option
@batch_option(DEFAULT_LIVE_BATCH)
@linear_option
@unverified_option
@map_options
@watch_option
@control_option("")
@json_option
@click.option("--quiet", is_flag=True, help="No table while it runs and no summary.")
def live_command(
    interface: str,
    prog: str,
    out: str | None,
    both: bool,
    write: str | None,
    which: tuple[str, ...],
    comment: bool,
    count: int | None,
    seconds: float | None,
    size: int | None,
    rotate_bytes: int | None,
    rotate_seconds: float | None,
    files: int | None,
    backend: str,
    outgoing: bool,
    partial: str | None,
    promiscuous: bool | None,
    snaplen: int,
    ring_mib: int,
    latency_ms: int | None,
    engine: str,
    batch: int,
    linear: str,
    unverified: bool,
    watch: bool,
    control: Path | None,
    ports: tuple[str, ...],
    network: str | None,
    as_json: bool,
    quiet: bool,
    **rest: Any,
) -> int:
    """Runs PROG over the packets of an interface, until a limit or Ctrl-C (exit status 130)."""
    if write is None:
        for given, option in (
            (which, "--write"), (comment, "--comment"), (size, "--size"), (files, "--files"),
            (rotate_bytes, "--rotate-size"), (rotate_seconds, "--rotate-time"),
        ):  # fmt: skip
            if given:
                raise UsageError(f"{option} is about what -w writes", hint="add -w FILE")
    if both and out is None:
        raise UsageError("--both needs a second interface", hint="add --out IFACE")
    if out is not None and outgoing:
        raise UsageError("--outgoing is for observing: a filter would see what it sent itself")
    if out is not None and snaplen < SNAPLEN_MAX:
        raise UsageError("--snaplen is for observing: a filter would send packets that it cut")
    if files is not None and not (rotate_bytes or rotate_seconds):
        raise UsageError("--files is about rotation", hint="add --rotate-size or --rotate-time")
    resolve_engine(engine)
    kept, events = map_files_of(rest), events_of(rest)
    hook = Hook("ingress")
    if write == "-" and events.to_stdout:
        raise UsageError("standard output takes one thing", hint="add --events-to FILE")
    taken = write == "-" or events.to_stdout
    to_stdout = taken or kept.to_stdout
    obj, program = load_program(prog, verify=not unverified, edit=kept.resize_own)
    others = [text.partition("=")[2] for text in ports] + ([write] if write else [])
    kept.check(obj, taken, [*others, *events.names])
    events.check([obj.path, *others])
    kept.load(obj)
    link = hook.attach(program)
    announced: list[str] = []  # said once the interfaces are open
    with _table(not (as_json or quiet)) as on_progress:
        run = Live(
            interface,
            hook,
            out=out,
            both=both,
            write=write,
            write_actions={action for choice in which or ("passed",) for action in WRITE_CHOICES[choice]},
            comment=comment,
            count=count,
            seconds=seconds,
            size=size,
            rotate_bytes=rotate_bytes,
            rotate_seconds=rotate_seconds,
            files=files,
            backend=backend,
            outgoing=outgoing,
            partial=partial,
            promiscuous=promiscuous,
            snaplen=snaplen,
            ring_mib=ring_mib,
            latency_ms=latency_ms,
            batch=batch,
            engine=engine,
            linear=linear,
            on_progress=on_progress,
            on_start=None if quiet else lambda run: _announce(run, announced),
            on_trace=print_trace,
            on_event=events.on_event,
            event_buffer=events.buffer,
            ports=ports_of(ports),
            network=read_network(network),
        )  # fmt: skip
        with (
            events.opened(),
            controlled(
                hook.datapath,
                f"live {interface} {prog}",
                path=control,
                tell=announced.append,
                edit=kept.resize,
            ),
            watched(watch, prog, link, edit=kept.resize),
            interruptible(lambda: run.stop("interrupted")),
        ):
            result = run.run()
    _print(result, as_json=as_json, quiet=quiet, to_stdout=to_stdout)
    for error in result.errors:
        click.echo(f"pktfilter: {error}", err=True)
    kept.save(obj, link)
    tell_full_rings(obj.maps.values(), events.on_event is not None)
    if result.ended == "interrupted":
        return EXIT_INTERRUPTED
    return EXIT_REFUSED if result.errors else 0


def _announce(run: Live, before: list[str]) -> None:
    """What this run will do to traffic, before the first packet; first the lines `before`."""
    for line in before:
        say(line)
    if run.out is None:
        text = (
            f"observing {run.interface}: verdicts are counted, packets go their way; "
            "--out IFACE makes it a filter"
        )
    else:
        arrow = "<->" if run.both else "->"
        text = (
            f"filtering {run.interface} {arrow} {run.out}: what the program lets through is sent on"
        )
    say(text)


def _print(result: LiveResult, *, as_json: bool, quiet: bool, to_stdout: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.to_json()), err=to_stdout)
        return
    if quiet:
        return
    from rich.console import Console

    from ..report_live import live_summary

    console = Console(stderr=to_stdout, highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.print(live_summary(result))


@contextmanager
def _table(wanted: bool) -> Iterator[Callable[[LiveResult], None] | None]:
    """A table of rates on a terminal; nothing where standard error is not one."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.live import Live as Screen

    from ..report_live import LiveTable

    rates = LiveTable()
    with Screen(console=Console(stderr=True), transient=True, auto_refresh=False) as screen:

        def show(result: LiveResult) -> None:
            screen.update(rates.render(result), refresh=True)

        yield show
