"""`--port`: destinations of redirected packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..errors import InputError
from . import UsageError


def port_option(what: str) -> Callable[[Any], Any]:
    """`--port PORT=WHAT`, repeatable; `ports_of` reads it."""
    return click.option(
        "--port",
        "ports",
        multiple=True,
        metavar="PORT=" + what,
        help=f"Packets redirected to PORT go to {what}. PORT is an interface's number, cpu:N (an entry of a "
        "cpumap) or xsk:N (a slot of an xskmap). Interfaces without one do not exist. Repeatable.",
    )


def ports_of(texts: tuple[str, ...]) -> dict[int | str, Any] | None:
    """The option as `replay(ports=)` takes it; None: it was not given."""
    ports: dict[int | str, Any] = {}
    seen = set[tuple[int, int]]()
    for text in texts:
        port, separator, target = text.partition("=")
        if not (port and separator and target):
            raise UsageError(
                "--port takes PORT=DESTINATION", found=text, expected="for example 3=out3.pcap"
            )
        known = _parsed(port)
        if known in seen:
            raise UsageError("--port names a port twice", found=text)
        seen.add(known)
        ports[port] = target
    return ports or None


def _parsed(port: str) -> tuple[int, int]:
    from ..session.ports import parse_port

    try:
        return parse_port(port)
    except InputError as error:
        raise UsageError(error.message, found=error.found, expected=error.expected) from None
