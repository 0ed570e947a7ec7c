"""The text of map files: JSON and CSV to rows of key and value, and rows to text."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OutputError
from ..objects.codec import Array, Bool, Codec, Float, shown
from ..objects.codec_record import Record

if TYPE_CHECKING:
    from .maps import Map

#: Larger files are refused unread.
FILE_LIMIT = 1 << 30
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]{1,7})\]", re.ASCII)
_CELL_MAX = 131072  # what a CSV reader takes where nobody said otherwise


@dataclass(slots=True)
class Row:
    """One entry, not yet converted; `where` is its place in the file."""

    where: str
    key: Any
    value: Any


def read_rows(into: Map, source: Any) -> tuple[str | None, list[Row]]:
    """(file name, entries) of a file's name or of parsed JSON; raises `InputError` with the place."""
    if isinstance(source, (list, dict)):
        return None, _rows(into, source, None)
    file = os.fspath(source)
    text = _read(file)
    if file.lower().endswith(".csv"):
        return file, _csv_rows(into, text, file)
    return file, _rows(into, parse_json(text, file), file)


def _read(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            data = stream.read(FILE_LIMIT + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"the map file cannot be read: {reason}", file=file) from error
    if len(data) > FILE_LIMIT:
        raise InputError(
            "the map file is too large", file=file, expected=f"at most {FILE_LIMIT} bytes"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"offset {error.start}"
        raise InputError("the map file is no UTF-8 text", file=file, place=place) from None


def parse_json(text: str, file: str | None = None) -> Any:
    """The JSON value of a text. Names that stand twice and numbers that are none are refused."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(found)
        if len(result) != len(found):
            names = [name for name, _ in found]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError("a name stands twice in one object", file=file, found=shown(twice))
        return result

    def constant(word: str) -> Any:
        raise InputError("the file holds what is no number", file=file, found=word)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}:{error.colno}"
        raise InputError(f"the map file is no JSON: {error.msg}", file=file, place=place) from None
    except RecursionError:
        raise InputError("the file is nested too deeply", file=file) from None
    except ValueError:  # more digits than Python converts
        raise InputError("the file holds a number of thousands of digits", file=file) from None


def _rows(into: Map, parsed: Any, file: str | None) -> list[Row]:
    if isinstance(parsed, dict):
        if into.name not in parsed:
            raise InputError(
                f"the file has no map named '{into.name}'",
                file=file,
                expected=f"one of: {', '.join(n[:60] for n in list(parsed)[:12])}"
                if parsed
                else None,
            )
        parsed = parsed[into.name]
    try:
        return rows_of_list(parsed)
    except InputError as error:
        error.file = file
        raise


def rows_of_list(parsed: Any) -> list[Row]:
    """Entries of parsed JSON."""
    if not isinstance(parsed, list):
        raise InputError(
            "entries are a list of objects",
            found=shown(parsed),
            expected='[{"key": ..., "value": ...}]',
        )
    rows = []
    for number, entry in enumerate(parsed, 1):
        if not isinstance(entry, dict) or set(entry) != {"key", "value"}:
            found = (
                ", ".join(str(n)[:60] for n in list(entry)[:6])
                if isinstance(entry, dict)
                else shown(entry)
            )
            raise InputError(
                "the entry is not an object of key and value",
                place=f"entry {number}",
                found=found or "nothing",
                expected='{"key": ..., "value": ...}',
            )
        rows.append(Row(f"entry {number}", entry["key"], entry["value"]))
    return rows


# --- CSV ---


@dataclass(slots=True)
class _Column:
    side: str
    steps: tuple[str | int, ...]
    codec: Codec | None  # None: a program or a map


def _csv_rows(into: Map, text: str, file: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    columns: list[_Column] | None = None
    try:
        for cells in reader:
            where = f"line {reader.line_num}"
            if not cells:
                continue
            # The reader's own limit is the process's.
            if any(len(cell) > _CELL_MAX for cell in cells):
                raise csv.Error(f"a cell is larger than {_CELL_MAX} characters")
            if columns is None:
                columns = _columns(into, cells, where)
                continue
            if len(cells) != len(columns):
                raise InputError(
                    "the row has another number of cells than the first",
                    place=where,
                    found=len(cells),
                    expected=len(columns),
                )
            rows.append(_csv_row(columns, cells, where))
    except InputError as error:
        error.file = file
        raise
    except csv.Error as error:
        raise InputError(
            f"the map file is no CSV: {error}", file=file, place=f"line {reader.line_num}"
        ) from None
    if columns is None:
        raise InputError("the map file is empty", file=file, expected="a first row of column names")
    return rows


def _columns(into: Map, cells: list[str], where: str) -> list[_Column]:
    found = [_column(into, cell.strip(), where) for cell in cells]
    for index, column in enumerate(found):
        if any((column.side, column.steps) == (o.side, o.steps) for o in found[:index]):
            raise InputError("the column stands twice", place=where, found=shown(cells[index]))
    for side in ("key", "value"):
        if not any(column.side == side for column in found):
            raise InputError(f"no column gives the {side}", place=where, expected=_known(into))
    return found


def _column(into: Map, name: str, where: str) -> _Column:
    for side in ("key", "value"):
        rest = name[len(side) :]
        if name == side or (name.startswith(side) and rest[0] in ".["):
            codec = _leaf(into, side, rest)
            if codec is not None or not rest:
                return _Column(side, _steps(rest) or (), codec)
    # A field of the key or of the value, where it is clear of which.
    fits = [
        (side, codec)
        for side in ("key", "value")
        if (codec := _leaf(into, side, f".{name}")) is not None
    ]
    if len(fits) == 1:
        return _Column(fits[0][0], _steps(f".{name}") or (), fits[0][1])
    problem = "could be of the key or of the value" if fits else "is no part of the map"
    raise InputError(f"the column {problem}", place=where, found=shown(name), expected=_known(into))


def _known(into: Map) -> str:
    names = []
    for side in ("key", "value"):
        codec = None if _objects(into, side) else getattr(into.types, side)
        names += (
            [f"{side}.{n}" for n in sorted(codec.names)] if isinstance(codec, Record) else [side]
        )
    return f"such as {','.join(names[:12])}"


def _objects(into: Map, side: str) -> bool:
    return side == "value" and into.holds_objects


def _steps(path: str) -> tuple[str | int, ...] | None:
    """A path such as `.a[1].b` in its steps; None where it is none."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            return None
        steps.append(match[1] if match[1] is not None else int(match[2]))
        at = match.end()
    return tuple(steps)


def _leaf(into: Map, side: str, path: str) -> Codec | None:
    """The codec of what a path leads to; None where it leads nowhere."""
    steps = _steps(path)
    if steps is None or _objects(into, side):
        return None
    codec: Codec = getattr(into.types, side)
    if side == "value" and into.per_cpu and steps and isinstance(steps[0], int):
        if steps[0] >= into.cpus:
            return None
        steps = steps[1:]
    for step in steps:
        if isinstance(codec, Record) and isinstance(step, str):
            inside = codec.named(step)
            if inside is None:
                return None
            codec = inside
        elif isinstance(codec, Array) and isinstance(step, int) and step < codec.count:
            codec = codec.element
        else:
            return None
    return codec


def _csv_row(columns: list[_Column], cells: list[str], where: str) -> Row:
    sides: dict[str, Any] = {}
    for side in ("key", "value"):
        mine = [(c, cell) for c, cell in zip(columns, cells, strict=True) if c.side == side]
        whole = [(c, cell) for c, cell in mine if not c.steps]
        if whole and (whole[0][1] or len(mine) == 1):
            sides[side] = _cell(*whole[0], where)
            continue
        tree: dict[str | int, Any] = {}
        for column, cell in mine:
            if not column.steps or not (cell or (column.codec and column.codec.textual)):
                continue
            at = tree
            for step in column.steps[:-1]:
                at = at.setdefault(step, {})
                if not isinstance(at, dict):
                    raise InputError(
                        "a part and what holds it are both given", place=where, found=shown(cell)
                    )
            at[column.steps[-1]] = _cell(column, cell, where)
        sides[side] = _grown(tree, where)
    return Row(where, sides["key"], sides["value"])


def _grown(tree: Any, where: str) -> Any:
    """A tree of steps as dicts and lists."""
    if not isinstance(tree, dict):
        return tree
    if not tree or not all(isinstance(step, int) for step in tree):
        return {step: _grown(each, where) for step, each in tree.items()}
    if sorted(tree) != list(range(len(tree))):
        raise InputError(
            "elements of an array are left out", place=where, found=f"{sorted(tree)[:8]}"
        )
    return [_grown(tree[index], where) for index in range(len(tree))]


def _cell(column: _Column, cell: str, where: str) -> Any:
    """What a cell says: text where the type is text, else a number, JSON, or a word."""
    text = cell.strip()
    if column.codec is None and text.startswith("{"):  # an inner map
        return parse_json(text)
    if column.codec is None or column.codec.textual:
        return cell
    if isinstance(column.codec, Bool) and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text[:1] in ("[", "{"):
        try:
            return parse_json(text)
        except InputError as error:
            error.place = where
            raise
    try:
        if isinstance(column.codec, Float):
            number = float(text)
            return number if math.isfinite(number) else text
        return int(text, 0)
    except (ValueError, OverflowError):
        return text


def csv_text(entries: list[dict[str, Any]]) -> str:
    """Entries as CSV: a column for each field; a key or value without fields has one of its own.

    Raises `InputError` where a cell would be longer than CSV readers take.
    """
    flat = [_flat("key", e["key"]) | _flat("value", e["value"]) for e in entries]
    columns = list(dict.fromkeys(name for row in flat for name in row)) or ["key", "value"]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in flat:
        cells = [row.get(name, "") for name in columns]
        if any(len(cell) > _CELL_MAX for cell in cells):
            raise InputError("a value is too long for CSV", hint="name a .json file")
        writer.writerow(cells)
    return out.getvalue()


def _flat(path: str, value: Any) -> dict[str, str]:
    if isinstance(value, dict) and value:
        return {k: v for n, each in value.items() for k, v in _flat(f"{path}.{n}", each).items()}
    if isinstance(value, list) and value:
        parts = enumerate(value)
        return {k: v for i, each in parts for k, v in _flat(f"{path}[{i}]", each).items()}
    return {path: value if isinstance(value, str) else json.dumps(value)}


def json_text(entries: list[dict[str, Any]]) -> str:
    """Entries as a JSON list, one to a line."""
    lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries)
    return f"[\n{lines}\n]" if lines else "[]"


def parse_file(file: str) -> Any:
    """The JSON value of a file."""
    return parse_json(_read(file), file)


def write_text(file: str, text: str) -> None:
    """Writes a whole file or none: what was there before stays until the new one is complete.

    "-" is standard output. Raises `OutputError`.
    """
    if file == "-":
        sys.stdout.write(text)
        return
    import tempfile  # slow to import

    try:
        if os.path.exists(file) and not os.path.isfile(file):  # a pipe, a terminal
            with open(file, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            return
        real = os.path.realpath(file)
        number, name = tempfile.mkstemp(dir=os.path.dirname(real) or ".", prefix=".pktfilter-")
        try:
            with open(number, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, os.stat(real).st_mode & 0o777 if os.path.exists(real) else 0o666 & ~mask)
            os.replace(name, real)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"the map file cannot be written: {reason}", file=file) from error
