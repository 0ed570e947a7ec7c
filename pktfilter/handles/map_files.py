"""Contents of maps as JSON and CSV files, both ways (docs/maps.md).

A file is read and converted whole before the first entry is set, so that a bad one changes nothing. What a
dump holds, loading gives back exactly: a key or value that its type cannot express stands as "hex:..." text.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MapError
from ..objects.codec import is_bytes, shown
from .map_text import Row, csv_text, json_text, parse_file, read_rows, write_text
from .maps import Map
from .program import Program

if TYPE_CHECKING:
    from ..objects.codec import Codec

HEX = "hex:"
_HEX_DIGITS = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_INDEXED = ("array", "percpu_array", "prog_array", "array_of_maps", "devmap", "cpumap", "xskmap")


class _Opaque(Exception):  # noqa: N818
    """A value that JSON has no word for."""


def entries_of(of: Map, maps: Mapping[str, Map] | None = None) -> list[dict[str, Any]]:
    """The entries of a map for a file, sorted by key; `Map.to_json`.

    Elements of an array that are all zeros are left out: a new array has them. An inner map that is one
    of `maps` is told by its name there, others by their entries.
    """
    _want_keys(of)
    rows = sorted(of.lookup_batch(), key=lambda row: _order(row[0]))
    if of.type in _INDEXED and not of.holds_objects:
        rows = [row for row in rows if any(map(any, _listed(row[1])))]
    write = entry_writer(of, maps)
    return [write(k, v) for k, v in rows]


def entry_writer(
    of: Map, maps: Mapping[str, Map] | None = None
) -> Callable[[bytes, Any], dict[str, Any]]:
    """What turns an entry's bytes into an entry of a file, as `entries_of` does."""
    key, value = _writer(lambda: of.types.key), _writer(lambda: of.types.value)
    names = {each.id: name for name, each in (maps or {}).items()}
    return lambda k, v: {"key": key(k), "value": _shown_value(of, v, value, names)}


def _order(key: bytes) -> tuple[int, bytes]:
    return (int.from_bytes(key, "little") if len(key) <= 8 else 0, key)


def _listed(value: bytes | list[bytes]) -> list[bytes]:
    return value if isinstance(value, list) else [value]


def _shown_value(
    of: Map, value: Any, write: Callable[[bytes], Any], names: Mapping[int, str]
) -> Any:
    if isinstance(value, Program):
        return value.name
    if isinstance(value, Map):
        if value.id in names:
            return {"map": names[value.id]}
        return {"max_entries": value.max_entries, "entries": entries_of(value)}
    return [write(each) for each in value] if of.per_cpu else write(value)


def _writer(codec: Callable[[], Codec]) -> Callable[[bytes], Any]:
    """What turns bytes into what JSON can hold, and what reading turns into the same bytes."""
    try:
        made = codec()
    except InputError:  # a type without a Python counterpart
        return lambda raw: HEX + raw.hex()

    def write(raw: bytes) -> Any:
        value = made.decode(raw)
        try:
            plain = _plain(value)
            if made.encode(value) == raw:
                return plain
        except Exception as error:
            from ..objects.codec import Mismatch

            if not isinstance(error, (_Opaque, Mismatch)):
                raise
        return HEX + raw.hex()

    return write


def _plain(value: Any) -> Any:
    if is_bytes(value):
        return HEX + bytes(value).hex()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise _Opaque
    if isinstance(value, str) and value.startswith(HEX):
        raise _Opaque
    return value


def fill(
    into: Map,
    source: str | os.PathLike[str] | list[Any] | dict[str, Any],
    *,
    programs: Mapping[str, Program] | None = None,
    maps: Mapping[str, Map] | None = None,
) -> int:
    """Sets the entries of a file, or of its parsed JSON; `Map.from_json`. All are converted first.

    `programs` and `maps` are what entries of prog arrays and maps of maps may name.
    """
    file, rows = read_rows(into, source)
    try:
        return put(into, rows, programs or {}, maps or {})
    except (InputError, MapError) as error:
        error.file = error.file or file
        raise
    except RecursionError:
        raise InputError("the file is nested too deeply", file=file) from None


def put(
    into: Map, rows: list[Row], programs: Mapping[str, Program], maps: Mapping[str, Map]
) -> int:
    """Sets rows in a map, or raises and sets none."""
    _want_keys(into)
    keys = [_checked_key(into, row) for row in rows]
    values = [_value(into, row, programs, maps) for row in rows]
    _check_space(into, rows, keys)
    try:
        return into.update_batch(zip(keys, values, strict=True))
    except MapError as error:
        error.place = f"{rows[error.done].where}: {error.place}"
        raise


def _want_keys(of: Map) -> None:
    if not of.key_size:
        raise InputError("a map of this type has no keys", place=f"map '{of.name}'", found=of.type)


def _checked_key(into: Map, row: Row) -> bytes:
    key = _converted(row, row.key, into.key_size, into.types.encode_key)
    if into.type in _INDEXED and int.from_bytes(key, "little") >= into.max_entries:
        raise _bad(
            into,
            row,
            "the index is outside the map",
            int.from_bytes(key, "little"),
            f"below {into.max_entries}",
        )
    if into.type == "lpm_trie" and int.from_bytes(key[:4], "little") > 8 * (into.key_size - 4):
        raise _bad(
            into,
            row,
            "the prefix length is out of range",
            int.from_bytes(key[:4], "little"),
            f"at most {8 * (into.key_size - 4)}",
        )
    return key


def _bad(into: Map, row: Row, message: str, found: object, expected: object = None) -> InputError:
    place = f"{row.where}: map '{into.name}'"
    return InputError(message, place=place, found=found, expected=expected)


def _value(into: Map, row: Row, programs: Mapping[str, Program], maps: Mapping[str, Map]) -> Any:
    if into.type == "prog_array":
        if not isinstance(row.value, str) or row.value not in programs:
            known = ", ".join(programs) or "no programs here"
            raise _bad(into, row, "the value is no program", shown(row.value), f"one of: {known}")
        return programs[row.value]
    if into.spec.inner is not None:
        return _inner(into, row, maps)
    if into.per_cpu and isinstance(row.value, list):
        if len(row.value) > into.cpus:
            raise _bad(
                into,
                row,
                "there are more values than CPU ids",
                len(row.value),
                f"at most {into.cpus}",
            )
        encode = into.types.encode_value
        given = [
            _converted(row, each, into.value_size, partial(encode, step=f"[{i}]"))
            for i, each in enumerate(row.value)
        ]
        # From a machine with fewer: the others have counted nothing.
        return given + [bytes(into.value_size)] * (into.cpus - len(given))
    return _converted(row, row.value, into.value_size, into.types.encode_value)


def _inner(into: Map, row: Row, maps: Mapping[str, Map]) -> Map:
    """The map for a slot of an outer one: one that is there, by name, or a new one."""
    from dataclasses import replace

    from .map_text import rows_of_list

    assert into.spec.inner is not None
    given = row.value
    if isinstance(given, dict) and set(given) == {"map"}:
        if given["map"] not in list(maps):
            known = ", ".join(maps) or "no maps here"
            raise _bad(into, row, "there is no such map", shown(given["map"]), f"one of: {known}")
        return maps[given["map"]]
    if not isinstance(given, dict) or set(given) - {"max_entries", "entries"}:
        raise _bad(
            into,
            row,
            "the value is no map",
            shown(given),
            "an object of entries and max_entries, or of map",
        )
    spec = replace(into.spec.inner, name=f"{into.name}.inner")
    if "max_entries" in given:
        if type(given["max_entries"]) is not int:
            raise _bad(into, row, "max_entries is no number", shown(given["max_entries"]))
        spec.size(given["max_entries"])
    try:
        made = Map(spec, cpus=into.cpus if into.cpus > 1 else None)
        put(made, rows_of_list(given.get("entries", [])), {}, {})
    except (InputError, MapError) as error:
        error.place = f"{row.where}: {error.place}" if error.place else row.where
        raise
    return made


def _converted(row: Row, value: Any, size: int, encode: Callable[[Any], bytes]) -> bytes:
    """A key or value as bytes. Digits in hex for all of its bytes are taken where the type wants no text."""
    try:
        return encode(_from_text(value))
    except InputError as error:
        digits = isinstance(value, str) and len(value) == 2 * size and _HEX_DIGITS.fullmatch(value)
        if digits and size:
            return bytes.fromhex(value)
        error.place = f"{row.where}: {error.place}"
        raise


def _from_text(value: Any) -> Any:
    """The value with its "hex:..." texts as bytes."""
    if isinstance(value, str) and value.startswith(HEX):
        digits = value[len(HEX) :]
        if not _HEX_DIGITS.fullmatch(digits):
            raise InputError("the bytes are not in hex", found=shown(value), expected="hex:0a00...")
        return bytes.fromhex(digits)
    if isinstance(value, dict):
        return {name: _from_text(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_from_text(each) for each in value]
    return value


def _check_space(into: Map, rows: list[Row], keys: Iterable[bytes]) -> None:
    """No key twice, and room for all: an LRU map would drop entries and say nothing."""
    seen: dict[bytes, Row] = {}
    for row, key in zip(rows, keys, strict=True):
        same = _prefix_of(key) if into.type == "lpm_trie" else key
        if same in seen:
            raise _bad(into, row, "the key is there already", f"it in {seen[same].where} as well")
        seen[same] = row
    if into.type in _INDEXED:
        return
    held = len(into)
    new = sum(1 for key in seen if key not in into) if held else len(seen)
    if held + new > into.max_entries:
        raise InputError(
            "there are too many entries for the map",
            place=f"map '{into.name}'",
            found=f"{len(seen)}" + (f" beside {held + new - len(seen)} others" if held else ""),
            expected=f"at most {into.max_entries}",
            hint="max_entries makes it larger",
        )


def _prefix_of(key: bytes) -> bytes:
    """An LPM key without the bits behind its prefix, which do not distinguish keys."""
    length = int.from_bytes(key[:4], "little")
    width = 8 * (len(key) - 4)
    data = int.from_bytes(key[4:], "big") >> (width - length) << (width - length)
    return key[:4] + data.to_bytes(len(key) - 4, "big")


def fill_all(
    maps: Mapping[str, Map], file: str, *, programs: Mapping[str, Program] | None = None
) -> None:
    """Fills the maps that a file of `dump_all` names; raises as `fill`, and for a name that is not there."""
    parsed = parse_file(file)
    if not isinstance(parsed, dict):
        raise InputError(
            "the file is not one of several maps",
            file=file,
            found=shown(parsed),
            expected='{"NAME": [{"key": ..., "value": ...}]}',
        )
    for name in parsed:
        if name not in maps:
            known = ", ".join(maps) or "none at all"
            raise InputError(
                f"there is no map named '{name[:60]}'", file=file, expected=f"one of: {known}"
            )
    for name in parsed:
        try:
            fill(maps[name], parsed, programs=programs, maps=maps)
        except (InputError, MapError) as error:
            error.file = file
            raise


def dump(of: Map, file: str, maps: Mapping[str, Map] | None = None) -> None:
    """Writes the entries of a map to a file, CSV by its name, else JSON; "-" is standard output."""
    entries = entries_of(of, maps)
    as_csv = file.lower().endswith(".csv")
    if as_csv and of.spec.inner is not None:  # one cell for an inner map, whatever it holds
        entries = [{"key": e["key"], "value": json.dumps(e["value"])} for e in entries]
    write_text(file, csv_text(entries) if as_csv else json_text(entries) + "\n")


def dump_all(maps: Mapping[str, Map], file: str) -> None:
    """Writes the entries of maps to a JSON file, but of those that are a part of the program.

    Those are constants (read-only or frozen) and prog arrays. Maps whose contents have no keys, or are not for
    users to read, are left out too.
    """
    parts = []
    for name, each in maps.items():
        if not each.key_size or each.type == "prog_array":
            continue
        if each.spec.frozen or each.spec.readonly_prog:
            continue
        try:
            parts.append(f"{json.dumps(name)}: {json_text(entries_of(each, maps))}")
        except MapError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                raise
    write_text(file, "{\n" + ",\n".join(parts) + "\n}\n")
