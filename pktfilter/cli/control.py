"""`pktfilter link` and `pktfilter map`: control of a running engine from another terminal."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ..control import Client, sockets
from ..errors import ControlError
from .programs import is_expression, split

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_socket = click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The engine's control socket. [default: the only one that this user runs]",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the engine's answer as JSON.")
_link = click.option(
    "--link",
    "number",
    type=int,
    metavar="ID",
    help="The link's id. [default: that of the only one]",
)


def _ask(path: Path | None, op: str, **arguments: Any) -> Any:
    with Client(path) as client:
        return client.ask(op, **{k: v for k, v in arguments.items() if v is not None})


def _print(answer: Any, as_json: bool, text: str) -> None:
    click.echo(json.dumps(answer) if as_json else text)


def _table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    cells = [
        columns,
        *([str(row[c]) if row[c] is not None else "-" for c in columns] for row in rows),
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _absolute(prog: str) -> str:
    """PROG with its file's full name: the engine has another working directory."""
    if is_expression(prog):
        return prog
    path, name = split(prog)
    full = os.path.abspath(path)
    return full if name is None else f"{full}:{name}"


def _change(answer: dict[str, Any]) -> str:
    return (
        f"{answer['old']} -> {answer['new']}, generation {answer['generation']}, "
        f"published in {answer['publish_ns']} ns"
    )


@click.group(name="link", context_settings=_SETTINGS)
def link_command() -> None:
    """Shows and replaces the programs of a running `live` or replay."""


@link_command.command("list", short_help="List the links of running engines.")
@_socket
@_json
def link_list(path: Path | None, as_json: bool) -> None:
    """Lists the links of the engine; without --socket, of every engine of this user.

    An engine that was started with --control PATH is found by --socket PATH only.
    """
    answers = []
    for each in [path] if path is not None else sockets():
        try:
            with Client(each) as client:
                title = client.ask("info")["title"]
                answers.append(
                    {"socket": str(each), "title": title, "links": client.ask("link.list")}
                )
        except ControlError:
            if path is not None:
                raise  # of several engines one may end meanwhile
    if as_json:
        click.echo(json.dumps(answers))
        return
    if not answers:
        click.echo("no engine of this user is running")
    for answer in answers:
        click.echo(f"{answer['title']}: {answer['socket']}")
        click.echo(
            _table(
                answer["links"],
                ["id", "hook", "state", "priority", "generation", "program", "engine"],
            )
        )


@link_command.command("show", short_help="Show a link, its history and its trial.")
@_link
@_socket
@_json
def link_show(number: int | None, path: Path | None, as_json: bool) -> None:
    """Shows a link with its history and what runs beside its program."""
    answer = _ask(path, "link.show", link=number)
    lines = [f"{k:12} {answer[k]}" for k in ("id", "hook", "state", "priority", "generation")]
    lines += [f"{k:12} {answer[k]}" for k in ("program", "tag", "engine")]
    lines += [f"{'maps':12} {', '.join(answer['maps']) or '-'}", "history"]
    lines += [f"  {_generation(row)}" for row in answer["history"]]
    if answer["trial"] is not None:
        lines.append(_report(answer["trial"]))
    _print(answer, as_json, "\n".join(lines))


def _generation(row: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(row["when_ns"] / 1e9).isoformat(sep=" ", timespec="milliseconds")
    text = f"{row['generation']:>4}  {when}  {row['cause']:9} {row['program'] or '-'}"
    return text + (f"  ({row['detail']})" if row.get("detail") else "")


@link_command.command("update", short_help="Replace a link's program.")
@click.argument("prog")
@_link
@click.option(
    "--maps",
    type=click.Choice(["carry", "fresh"]),
    default="carry",
    show_default=True,
    help="carry: maps of the same name go on with their contents; fresh: empty ones.",
)
@click.option(
    "--expect-generation",
    type=int,
    metavar="N",
    help="Only if the link's generation is N: nobody changed it in between.",
)
@_socket
@_json
def link_update(
    prog: str,
    number: int | None,
    maps: str,
    expect_generation: int | None,
    path: Path | None,
    as_json: bool,
) -> None:
    """Replaces the link's program by PROG between two batches, and waits until no packet runs the old one."""
    answer = _ask(
        path,
        "link.update",
        link=number,
        prog=_absolute(prog),
        maps=maps,
        expect_generation=expect_generation,
    )
    _print(answer, as_json, _change(answer))


@link_command.command("rollback", short_help="Go back to the program that ran before.")
@_link
@click.option("--to", type=int, metavar="N", help="To generation N. [default: the one before]")
@_socket
@_json
def link_rollback(number: int | None, to: int | None, path: Path | None, as_json: bool) -> None:
    """Goes back to the program that ran before."""
    answer = _ask(path, "link.rollback", link=number, to=to)
    _print(answer, as_json, _change(answer))


@link_command.command("detach", short_help="Take a link out of its chain, for good.")
@click.argument("number", type=int, metavar="ID")
@_socket
@_json
def link_detach(number: int, path: Path | None, as_json: bool) -> None:
    """Takes link ID out of its chain, for good: packets then pass that program by."""
    answer = _ask(path, "link.detach", link=number)
    _print(answer, as_json, f"link {answer['id']}: {answer['state']}")


_guard = click.option(
    "--guard",
    is_flag=True,
    help="End it by itself when PROG faults, drops much more, differs much, or is much slower.",
)


def _report(answer: dict[str, Any]) -> str:
    """A trial's report (`TrialReport.to_json`) as a few lines."""
    title = f"{answer['kind']}: {answer['state']}"
    lines = [f"{title}: {answer['why']}" if answer["why"] else title]
    for word in ("current", "candidate"):
        arm = answer[word]
        actions = ", ".join(f"{n} {action}" for action, n in arm["actions"].items() if n)
        lines.append(f"  {word:9}  {arm['program']}: {arm['packets']} packets: {actions or '-'}")
    if answer["kind"] == "shadow":
        lines.append(f"  compared {answer['compared']}, differing {answer['differing']}")
        lines += [
            f"    {row['current']} -> {row['candidate']}: {row['packets']}"
            for row in answer["pairs"]
            if row["current"] != row["candidate"]
        ]
    return "\n".join(lines)


@link_command.command("shadow", short_help="Run a candidate beside a link's program, and compare.")
@click.argument("prog")
@_guard
@_link
@_socket
@_json
def link_shadow(
    prog: str, guard: bool, number: int | None, path: Path | None, as_json: bool
) -> None:
    """Runs PROG beside the link's program on copies of its packets, and compares."""
    answer = _ask(path, "link.shadow", link=number, prog=_absolute(prog), guard=guard)
    _print(answer, as_json, _report(answer))


@link_command.command("canary", short_help="Let a candidate decide a share of the flows.")
@click.argument("prog")
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    metavar="F",
    help="Share of the flows that PROG decides, 0 to 1.",
)
@_guard
@_link
@_socket
@_json
def link_canary(
    prog: str,
    fraction: float,
    guard: bool,
    number: int | None,
    path: Path | None,
    as_json: bool,
) -> None:
    """Lets PROG decide a share of the flows."""
    answer = _ask(
        path, "link.canary", link=number, prog=_absolute(prog), fraction=fraction, guard=guard
    )
    _print(answer, as_json, _report(answer))


@link_command.command("promote", short_help="Make a trial's candidate the link's program.")
@_link
@_socket
@_json
def link_promote(number: int | None, path: Path | None, as_json: bool) -> None:
    """Makes the candidate of a shadow or canary the link's program."""
    answer = _ask(path, "link.promote", link=number)
    _print(answer, as_json, _report(answer))


@link_command.command("abandon", short_help="End a trial; the link's program stays.")
@_link
@_socket
@_json
def link_abandon(number: int | None, path: Path | None, as_json: bool) -> None:
    """Ends a shadow or canary; the link's program stays."""
    answer = _ask(path, "link.abandon", link=number)
    _print(answer, as_json, _report(answer))


@click.group(name="map", context_settings=_SETTINGS)
def map_command() -> None:
    """Reads and writes the maps of a running `live` or replay.

    KEY and VALUE are numbers (10, 0x0a) in the machine's byte order, bytes (hex:0a000001), or what the
    map's types take: 10.0.0.1, a name of an enumeration, or JSON such as '{"port": 80}'.
    """


@map_command.command("show", short_help="Show maps and their sizes.")
@click.argument("name", required=False)
@_socket
@_json
def map_show(name: str | None, path: Path | None, as_json: bool) -> None:
    """Shows the maps of the running programs, or the one called NAME (or with that id)."""
    answer = _ask(path, "map.show", map=name)
    columns = ["id", "name", "type", "key_size", "value_size", "max_entries", "entries"]
    _print(answer, as_json, _table(answer, columns))


@map_command.command("dump", short_help="Print a map's entries.")
@click.argument("name")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, metavar="N",
    help="Entries that are printed, at most.",
)  # fmt: skip
@click.option("--hex", "raw", is_flag=True, help="Print bytes, also where the map has types.")
@_socket
@_json
def map_dump(name: str, limit: int, raw: bool, path: Path | None, as_json: bool) -> None:
    """Prints the entries of map NAME: by the map's types, or bytes in hex where it has none."""
    answer = _ask(path, "map.dump", map=name, limit=limit, raw=raw)
    lines = [f"{_word(row['key'])}  {_word(row['value'])}" for row in answer["entries"]]
    if answer["more"]:
        lines.append(f"(more than {limit} entries: --limit shows more)")
    _print(answer, as_json, "\n".join(lines) if lines else "(empty)")


def _word(value: Any) -> str:
    """A key or value in a line of text; the values of several CPUs side by side."""
    if isinstance(value, list):
        return " | ".join(map(_word, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@map_command.command("set", short_help="Set a map's entry.")
@click.argument("name")
@click.argument("key")
@click.argument("value")
@_socket
@_json
def map_set(name: str, key: str, value: str, path: Path | None, as_json: bool) -> None:
    """Sets KEY of map NAME to VALUE."""
    answer = _ask(path, "map.set", map=name, key=key, value=value)
    _print(answer, as_json, f"{answer['map']}: {answer['entries']} entries")


@map_command.command("delete", short_help="Remove a map's entry.")
@click.argument("name")
@click.argument("key")
@_socket
@_json
def map_delete(name: str, key: str, path: Path | None, as_json: bool) -> None:
    """Removes KEY from map NAME."""
    answer = _ask(path, "map.delete", map=name, key=key)
    _print(answer, as_json, f"{answer['map']}: {answer['entries']} entries")


@map_command.command("load", short_help="Set a map's entries from a file.")
@click.argument("name")
@click.argument("file")
@_socket
@_json
def map_load(name: str, file: str, path: Path | None, as_json: bool) -> None:
    """Sets the entries of FILE (JSON, or CSV by its name) in map NAME; others stay."""
    answer = _ask(path, "map.load", map=name, file=os.path.abspath(file))
    text = f"{answer['map']}: {answer['set']} set, {answer['entries']} entries"
    _print(answer, as_json, text)


@map_command.command("save", short_help="Write a map's entries to a file.")
@click.argument("name")
@click.argument("file")
@_socket
@_json
def map_save(name: str, file: str, path: Path | None, as_json: bool) -> None:
    """Writes the entries of map NAME to FILE, as 'load' and replay's --map read it."""
    answer = _ask(path, "map.save", map=name, file=os.path.abspath(file))
    _print(answer, as_json, f"{answer['map']}: {answer['file']}")
