"""What a control socket can do with maps."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from ..handles.maps import Map
from .arguments import EITHER, FLAG, NUMBER, TEXT, plain, take
from .engine import Engine

ENTRIES = 1000
"""Entries of a map that one dump shows unless asked for more."""


def _map_show(engine: Engine, request: dict[str, Any]) -> Any:
    (name,) = take(request, map=(EITHER, None))
    maps = engine.maps() if name is None else [engine.map(name)]
    return [
        {
            "id": m.id,
            "name": m.name,
            "type": m.type,
            "key_size": m.key_size,
            "value_size": m.value_size,
            "max_entries": m.max_entries,
            "entries": len(m),
            "cpus": m.cpus,
            "memory_bytes": m.memory_bytes,
        }
        for m in maps
    ]


def _map_dump(engine: Engine, request: dict[str, Any]) -> Any:
    name, limit, raw = take(request, map=(EITHER, ...), limit=(NUMBER, ENTRIES), raw=(FLAG, False))
    found = engine.map(name)
    entries = list(itertools.islice(found.items(), limit + 1))
    if raw or not has_types(found):
        rows = [{"key": k.hex(), "value": plain(v)} for k, v in entries[:limit]]
    else:
        from ..handles.map_files import entry_writer

        write = entry_writer(found, {m.name: m for m in engine.maps() if m.name})
        rows = [write(k, v) for k, v in entries[:limit]]
    return {"map": found.name, "entries": rows, "more": len(entries) > limit}


def _map_set(engine: Engine, request: dict[str, Any]) -> Any:
    name, key, value = take(request, map=(EITHER, ...), key=(EITHER, ...), value=(EITHER, ...))
    found = engine.map(name)
    made = key_of(found, key), value_of(found, value)
    found[made[0]] = made[1]
    return {"map": found.name, "entries": len(found)}


def _map_delete(engine: Engine, request: dict[str, Any]) -> Any:
    name, key = take(request, map=(EITHER, ...), key=(EITHER, ...))
    found = engine.map(name)
    del found[key_of(found, key)]
    return {"map": found.name, "entries": len(found)}


def _map_and_file(engine: Engine, request: dict[str, Any]) -> tuple[Map, str, dict[str, Map]]:
    """The map, the file's full name, and the maps that entries may name."""
    name, file = take(request, map=(EITHER, ...), file=(TEXT, ...))
    if not os.path.isabs(file):
        raise InputError("the file's full name is needed", found=file)
    return engine.map(name), file, {m.name: m for m in engine.maps() if m.name}


def _map_load(engine: Engine, request: dict[str, Any]) -> Any:
    from ..handles.map_files import fill

    found, file, maps = _map_and_file(engine, request)
    with engine.lock:
        return {"map": found.name, "set": fill(found, file, maps=maps), "entries": len(found)}


def _map_save(engine: Engine, request: dict[str, Any]) -> Any:
    from ..handles.map_files import dump

    found, file, maps = _map_and_file(engine, request)
    dump(found, file, maps)
    return {"map": found.name, "file": file}


def has_types(of: Map) -> bool:
    """Whether the object says what keys or values are."""
    return bool(of.spec.key_btf or of.spec.value_btf) and not of.holds_objects


def key_of(of: Map, text: Any) -> bytes | int:
    """The key that a word of the command line means (`scalar`), or by the map's type."""
    return _meant(of, text, of.key_size, "key", of.encode_key)


def value_of(of: Map, text: Any) -> bytes | int:
    """The value that a word of the command line means (`scalar`), or by the map's type."""
    return _meant(of, text, of.value_size, "value", of.encode)


def _meant(of: Map, text: Any, size: int, what: str, encode: Callable[[Any], bytes]) -> bytes | int:
    try:
        made = scalar(text, size, what)
        if not has_types(of) or isinstance(made, int) or len(made) == size:
            return made
    except InputError:
        if not has_types(of):
            raise
    word = str(text)
    if word[:1] in ("{", "[", '"'):
        from ..handles.map_text import parse_json

        return encode(parse_json(word))
    return encode(word)


def scalar(text: Any, size: int, what: str) -> bytes | int:
    """A key or value as a number (decimal or 0x...), or bytes as `hex:0a000001` or 0a:00:00:01."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    word = str(text)
    if word.startswith("hex:") or ":" in word:
        try:
            return bytes.fromhex(word.removeprefix("hex:").replace(":", ""))
        except ValueError:
            pass
    try:
        return int(word, 0)
    except ValueError:
        raise InputError(
            f"the {what} is neither a number nor bytes",
            found=word,
            expected=f"such as 10, 0x0a, or {size} bytes as hex:0a...",
        ) from None


MAP_OPERATIONS: dict[str, Callable[[Engine, dict[str, Any]], Any]] = {
    "map.show": _map_show,
    "map.dump": _map_dump,
    "map.set": _map_set,
    "map.delete": _map_delete,
    "map.load": _map_load,
    "map.save": _map_save,
}
