"""`pktfilter trace`, `cover` and `profile`."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError, OutputError
from ..sources import expand
from . import EXIT_REFUSED, UsageError
from .environment import environment_options
from .map_options import map_files_of, map_options, same_file
from .options import (
    json_option,
    linear_option,
    network_option,
    read_network,
    unverified_option,
)
from .programs import load_program

if TYPE_CHECKING:
    from ..handles.loader import Object
    from ..handles.program import Program

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_ETHERNET = 1
_LIMIT = click.IntRange(1)


@click.command(name="trace", context_settings=_SETTINGS)
@click.argument("prog")
@click.argument("packet")
@environment_options
@json_option
@click.option(
    "--limit", type=click.IntRange(1, 10_000_000), default=100_000, show_default=True, metavar="N",
    help="Instructions that are kept; all are run.",
)  # fmt: skip
@linear_option
@network_option
@unverified_option
@map_options
def trace_command(
    prog: str, packet: str, as_json: bool, limit: int, linear: str, network: str | None,
    unverified: bool, **rest: Any,
) -> int:  # fmt: skip
    """Runs PROG over one packet and shows every instruction that it executes.

    PACKET is the packet's bytes in hex, or FILE:N, packet N of a capture (from 0, as everywhere).
    """
    from ..insight.trace import to_text, trace

    kept = map_files_of(rest)
    data, time_ns, linktype = _packet(packet)
    obj, program = load_program(prog, verify=not unverified, edit=kept.resize_own)
    kept.check(obj, False, [packet.rpartition(":")[0]])
    kept.load(obj)
    if program.type == "xdp" and linktype != _ETHERNET:
        raise InputError(
            "an XDP program runs over Ethernet packets", file=packet, found=f"link type {linktype}"
        )
    more: dict[str, Any] = {} if program.type == "xdp" else {"linktype": linktype}
    found = trace(
        program,
        data,
        limit=limit,
        linear=linear,
        time_ns=time_ns,
        network=read_network(network),
        **more,
    )
    click.echo(to_text(found, as_json=as_json))
    kept.save_maps(obj.maps)
    if found.error is not None:
        click.echo(f"pktfilter: {program.name}: {found.error}", err=True)
        return EXIT_REFUSED
    return 0


def _packet(text: str) -> tuple[bytes, int | None, int]:
    """Bytes, time and link type of the packet that PACKET means."""
    plain = text.replace(":", "").replace(" ", "")
    path, _, number = text.rpartition(":")
    if path and number.isascii() and number.isdecimal() and (os.path.exists(path) or path == "-"):
        return _from_file(path, int(number))
    try:
        return bytes.fromhex(plain), None, 1
    except ValueError:
        raise UsageError(
            "PACKET is neither bytes in hex nor a packet of a file",
            found=text if len(text) < 80 else text[:77] + "...",
            expected="such as 0203...0800 or FILE.pcap:0",
            hint="no such file" if path and number.isdecimal() else None,
        ) from None


def _from_file(path: str, number: int) -> tuple[bytes, int, int]:
    from ..insight.packets import packet_of

    found = packet_of(path, number)
    return found.data, found.time_ns, found.linktype


def _inputs(function: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments and options that `cover` and `profile` share."""
    for add in (
        map_options, unverified_option, network_option, linear_option,
        click.option("--limit", type=_LIMIT, metavar="N", help="End after N packets."),
        click.option(
            "--source", "folder", type=click.Path(exists=True, file_okay=False), metavar="DIR",
            help="Where source files are, if not where the object is.",
        ),
        json_option, environment_options,
        click.argument("inputs", nargs=-1, required=True, metavar="INPUT..."),
        click.argument("prog"),
    ):  # fmt: skip
        function = add(function)
    return function


@click.command(name="cover", context_settings=_SETTINGS)
@_inputs
@click.option("--lcov", metavar="FILE", help="Write a tracefile for genhtml and editors.")
@click.option("--html", metavar="FILE", help="Write a page with every line.")
def cover_command(lcov: str | None, html: str | None, **options: Any) -> int:
    """Says which source lines and branches of PROG the packets of INPUTs reach.

    Without --json, --lcov and --html: a table of files, lines that never ran, and branches that went one way only.
    """
    from ..insight.coverage import cover

    obj, program, run = _prepare(options, [each for each in (lcov, html) if each is not None])
    found = cover(options["inputs"], program, **run)
    if html is not None:
        _write(html, found.html(f"{options['prog']}: coverage"))
    if lcov is not None:
        _write(lcov, found.lcov())
    click.echo(json.dumps(found.to_json()) if options["as_json"] else str(found))
    return _end(found.errors, obj, options)


@click.command(name="profile", context_settings=_SETTINGS)
@_inputs
@click.option("--top", type=_LIMIT, metavar="N", help="Only the N costliest lines.")
def profile_command(top: int | None, **options: Any) -> int:
    """Says how many instructions and how much time each source line of PROG takes over INPUTs.

    Time is measured in the interpreter and is what an instruction takes beyond the cheapest ones: cache misses,
    helpers and divisions show.
    """
    from ..insight.profile import profile

    obj, program, run = _prepare(options)
    found = profile(options["inputs"], program, **run)
    click.echo(
        json.dumps(found.to_json()) if options["as_json"] else "\n".join(found.text_lines(top))
    )
    return _end(found.errors, obj, options)


def _prepare(
    options: dict[str, Any], outputs: Iterable[str] = ()
) -> tuple[Object, Program, dict[str, Any]]:
    """The object, the program, and the options of `insight.cover`; `outputs` are files that will be written."""
    kept = options["kept"] = map_files_of(options)
    obj, program = load_program(
        options["prog"], verify=not options["unverified"], edit=kept.resize_own
    )
    inputs = expand(options["inputs"])
    for output, name in itertools.product(outputs, (obj.path, *inputs)):
        if same_file(output, name):
            raise InputError("the report would replace a file of the run", file=output)
    kept.check(obj, False, [*inputs, *outputs])
    kept.load(obj)
    folder = options["folder"] or os.path.dirname(os.path.abspath(obj.path))
    return obj, program, {
        "folder": folder,
        "limit": options["limit"],
        "linear": options["linear"],
        "network": read_network(options["network"]),
    }  # fmt: skip


def _end(errors: list[str], obj: Object, options: dict[str, Any]) -> int:
    for error in errors:
        click.echo(f"pktfilter: {error}", err=True)
    options["kept"].save_maps(obj.maps)
    return EXIT_REFUSED if errors else 0


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=path) from error
