"""What runs of `live` and `replay` share: signals, traces, the control socket, the watch on the object file."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import click

from ..errors import PktfilterError, VerifierError
from ..handles.hooks import Datapath
from ..handles.links import Link
from ..objects import ObjectSpec
from . import UsageError
from .programs import choose, is_expression, spec_of, split

if TYPE_CHECKING:
    from pathlib import Path

LONG_SECONDS = 1.0
"""A replay that takes longer than this says where it can be controlled."""


def parse(prog: str, edit: Callable[[ObjectSpec], None] | None = None) -> tuple[ObjectSpec, str]:
    """PROG's parsed object, changed by `edit`, and the name of the program that it means."""
    spec, name = spec_of(prog)
    if edit is not None:
        edit(spec)
    return spec, choose(spec, name).name


def say(text: str) -> None:
    """A line on standard error, where results do not go."""
    click.echo(f"pktfilter: {text}", err=True)


def print_trace(lines: list[str], lost: int) -> None:
    """What programs printed with bpf_trace_printk."""
    for line in lines:
        click.echo(f"trace: {line.rstrip()}", err=True)
    if lost:
        click.echo(f"trace: {lost} lines lost", err=True)


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the run cleanly; a second one at once."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop()
        signal.signal(number, signal.SIG_DFL)

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def controlled(
    datapath: Datapath,
    title: str,
    *,
    path: Path | None = None,
    after: float = 0.0,
    tell: Callable[[str], None] = say,
    edit: Callable[[ObjectSpec], None] | None = None,
) -> Iterator[None]:
    """Listens on a control socket meanwhile, from `after` seconds on; `tell` is told where.

    `edit` changes the specs of the objects that it loads.

    A socket that cannot be made stops the run only where the user named it.
    """
    with ExitStack() as stack:

        def start() -> None:
            # Here and not above: most replays end before they would need any of it.
            from ..control import ControlServer

            try:
                server = ControlServer(datapath, partial(parse, edit=edit), path=path, title=title)
                stack.callback(server.close)
                server.start()
            except PktfilterError as error:
                if path is not None:
                    raise
                say(f"note: not controllable: {error}")
            else:
                tell(f"control: pktfilter link list --socket {server.path}")

        if after:
            timer = threading.Timer(after, start)
            timer.daemon = True
            timer.start()
            # Waits for a start that has begun: its server is then on the stack, and closed as well.
            stack.callback(_end, timer)
        else:
            start()
        yield


def _end(timer: threading.Timer) -> None:
    timer.cancel()
    timer.join()


@contextmanager
def watched(
    wanted: bool, prog: str, link: Link, *, edit: Callable[[ObjectSpec], None] | None = None
) -> Iterator[None]:
    """Publishes the program anew whenever its file changes meanwhile.

    The maps are carried over. A file that is no good leaves the running program alone, and what is
    wrong with it is printed.
    """
    if not wanted:
        yield
        return

    if is_expression(prog):
        raise UsageError("--watch looks at a file", found=prog, expected="FILE.o or FILE.s")

    def changed() -> None:
        spec, name = parse(prog, edit)
        update = link.update(spec, program=name, maps="carry", cause="watch", timeout=30.0)
        say(f"watch: {prog}: generation {update.generation}, published in {update.publish_ns} ns")

    def failed(error: Exception) -> None:
        if isinstance(error, VerifierError):
            for diagnostic in error.diagnostics:
                click.echo(diagnostic.render() + "\n", err=True)
        say(f"watch: {error}; generation {link.generation} goes on")

    from ..control import Watcher

    with Watcher(split(prog)[0], changed, failed):
        yield
