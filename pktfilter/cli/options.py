"""Options that `live` and `replay` have in common, each stated once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..session import BATCH_MAX
from ..sinks import WRITE_CHOICES

if TYPE_CHECKING:
    from pathlib import Path

    from ..network import Network

Command = Callable[..., Any]


def write_options(metavar: str) -> Callable[[Command], Command]:
    """`-w`, `--write` and `--comment`: which packets go into which file."""

    def add(command: Command) -> Command:
        for option in (
            click.option(
                "--comment",
                is_flag=True,
                help="pcapng: a comment with program and generation on each packet.",
            ),
            click.option(
                "--write",
                "which",
                multiple=True,
                type=click.Choice(list(WRITE_CHOICES)),
                metavar="ACTION",
                help=f"Which packets -w writes: {', '.join(WRITE_CHOICES)}. Repeatable. "
                "[default: passed, that is PASS and TX]",
            ),
            click.option(
                "-w",
                "write",
                metavar=metavar,
                help=f"Write packets to {metavar} (.pcapng, or pcap for any other name; - is standard "
                "output).",
            ),
        ):
            command = option(command)
        return command

    return add


engine_option = click.option(
    "--engine",
    default="auto",
    type=click.Choice(["auto", "checked", "interp", "jit"]),
    show_default=True,
    help="checked: every access is checked when it happens. interp and jit need a verified program.",
)

linear_option = click.option(
    "--linear",
    default="kernel",
    type=click.Choice(["kernel", "full"]),
    show_default=True,
    help="Linear bytes a program sees: at most 3520 as in Linux, or all.",
)

unverified_option = click.option(
    "--unverified",
    is_flag=True,
    help="Do not verify: run programs that cannot be proved safe, with every access checked.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object."
)

watch_option = click.option(
    "--watch",
    is_flag=True,
    help="Replace the program, its maps carried over, whenever its file changes.",
)


def batch_option(default: int) -> Callable[[Command], Command]:
    """`--batch`; a live batch is a block of the ring, so that the default is another one."""
    return click.option(
        "--batch",
        default=default,
        type=click.IntRange(1, BATCH_MAX),
        metavar="N",
        show_default=True,
        help=f"Packets between two points at which a program can be replaced, at most {BATCH_MAX}.",
    )


def _path(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Path | None:
    """As `click.Path(path_type=Path)`, but pathlib is imported only where a path is given."""
    if text is None:
        return None
    from pathlib import Path

    return Path(text)


def control_option(when: str) -> Callable[[Command], Command]:
    """`--control PATH`; `when` says when a run listens without it."""
    return click.option(
        "--control",
        type=click.Path(),
        callback=_path,
        metavar="PATH",
        help="Listen for 'pktfilter link' and 'map' at PATH from the start. [default: a socket of the "
        f"user's own{when}]",
    )


network_option = click.option(
    "--network",
    metavar="FILE",
    help="What bpf_fib_lookup and its like ask: a JSON file of what `ip -j` prints (docs/network.md), or "
    "`system` for this machine's own network.  [default: an empty network]",
)


def read_network(given: str | None) -> Network | None:
    """The network that `--network` names."""
    if given is None:
        return None
    from ..network import Network

    return Network.from_system() if given == "system" else Network.from_file(given)
