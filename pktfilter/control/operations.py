"""What a control socket can do, by name. Each operation takes the engine and the request's arguments."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

from ..errors import ControlError, InputError
from ..handles.hooks import Datapath
from ..handles.links import Link
from ..handles.maps import Map
from ..handles.program import Program
from ..handles.trial_report import Guard
from ..handles.trials import Trial
from ..objects import ObjectSpec

GRACE_SECONDS = 30.0
"""How long an operation waits for a grace period before it says which worker holds it up."""

ENTRIES = 1000
"""Entries of a map that one dump shows unless asked for more."""


class Engine:
    """The running datapath as control operations see it.

    `parse` turns a PROG of the command line into its parsed object and the program's name.
    """

    def __init__(
        self, datapath: Datapath, parse: Callable[[str], tuple[ObjectSpec, str]], title: str
    ) -> None:
        self.datapath = datapath
        self.parse = parse
        self.title = title
        self.started = time.time()
        self.lock = threading.Lock()

    def links(self) -> list[Link]:
        """Attached links, hook by hook, in the order in which they run."""
        return [link for hook in self.datapath.hooks.values() for link in hook.links]

    def link(self, number: Any) -> Link:
        """The link of this id; with None the only one."""
        links = self.links()
        if number is None:
            if not links:
                raise InputError("no link is attached any more, so no program runs")
            if len(links) > 1:
                raise InputError(
                    "several links are attached",
                    found=", ".join(str(link.id) for link in links),
                    hint="choose one by its id; 'pktfilter link list' shows them",
                )
            return links[0]
        for link in links:
            if link.id == number:
                return link
        ids = ", ".join(str(link.id) for link in links)
        raise InputError(
            "no such link is attached", found=number, expected=f"one of: {ids}" if ids else None
        )

    def maps(self) -> list[Map]:
        """Maps that attached programs name, each once."""
        found: dict[int, Map] = {}
        for link in self.links():
            program = link.program
            for each in () if program is None else program.maps.values():
                found.setdefault(each.id, each)
        return list(found.values())

    def map(self, name: Any) -> Map:
        """The map of this name or id."""
        found = [m for m in self.maps() if name in (m.name, m.id, str(m.id))]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(str(m.id) for m in found)
            raise InputError("several maps have this name", found=name, hint=f"give an id: {ids}")
        known = ", ".join(m.name or str(m.id) for m in self.maps()) or "none"
        raise InputError("no running program has this map", found=name, expected=f"one of: {known}")


_Kind: TypeAlias = "tuple[type, ...]"
_NUMBER: _Kind = (int,)
_TEXT: _Kind = (str,)
_EITHER: _Kind = (int, str)
_SHARE: _Kind = (int, float)
_FLAG: _Kind = (bool,)


def _take(request: dict[str, Any], **known: tuple[_Kind, Any]) -> list[Any]:
    """The arguments in the order of `known`: what they may be, and the default (... for none)."""
    extra = set(request) - set(known)
    if extra:
        raise ControlError("the operation has no such argument", found=", ".join(sorted(extra)))
    values = []
    for name, (kinds, default) in known.items():
        value = request.get(name, default)
        if value is ...:
            raise ControlError("an argument is missing", expected=name)
        if value is not default and (
            not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        ):
            raise ControlError(
                f"the argument '{name}' is of the wrong type",
                found=type(value).__name__,
                expected=" or ".join(kind.__name__ for kind in kinds),
            )
        values.append(value)
    return values


def _plain(value: Any) -> Any:
    """For JSON: programs by name, bytes in hex, dataclasses as objects."""
    if isinstance(value, Program):
        return value.name
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _info(engine: Engine, request: dict[str, Any]) -> Any:
    _take(request)
    dp = engine.datapath
    return {
        "pid": os.getpid(),
        "title": engine.title,
        "up_s": time.time() - engine.started,
        "generation": dp.generation,
        "revision": dp.revision,
        "hooks": {name: _plain(hook.stats._asdict()) for name, hook in dp.hooks.items()},
    }


def _row(link: Link) -> dict[str, Any]:
    program = link.program
    return {
        "id": link.id,
        "hook": link.hook.name,
        "state": link.state,
        "priority": link.priority,
        "continue_on": [action.name for action in link.continue_on],
        "generation": link.generation,
        "program": None if program is None else program.name,
        "tag": None if program is None else program.tag,
        "engine": None if program is None else program.engine,
    }


def _link_list(engine: Engine, request: dict[str, Any]) -> Any:
    _take(request)
    return [_row(link) for link in engine.links()]


def _link_show(engine: Engine, request: dict[str, Any]) -> Any:
    (number,) = _take(request, link=(_NUMBER, None))
    link = engine.link(number)
    trial = link.trial
    return {
        **_row(link),
        "maps": [m.name for m in link.program.maps.values()] if link.program else [],
        "history": [_plain(generation) for generation in link.history],
        "trial": None if trial is None else trial.report.to_json(),
    }


def _changed(update: Any) -> dict[str, Any]:
    return {
        "old": _plain(update.old),
        "new": _plain(update.new),
        "generation": update.generation,
        "publish_ns": update.publish_ns,
    }


def _link_update(engine: Engine, request: dict[str, Any]) -> Any:
    number, prog, maps, generation = _take(
        request,
        link=(_NUMBER, None),
        prog=(_TEXT, ...),
        maps=(_TEXT, "carry"),
        expect_generation=(_NUMBER, None),
    )
    link = engine.link(number)
    with engine.lock:
        spec, name = engine.parse(prog)
        return _changed(
            link.update(
                spec,
                program=name,
                maps=maps,
                expect_generation=generation,
                timeout=GRACE_SECONDS,
            )
        )


def _link_rollback(engine: Engine, request: dict[str, Any]) -> Any:
    number, to = _take(request, link=(_NUMBER, None), to=(_NUMBER, None))
    return _changed(engine.link(number).rollback(to=to, timeout=GRACE_SECONDS))


def _link_detach(engine: Engine, request: dict[str, Any]) -> Any:
    (number,) = _take(request, link=(_NUMBER, ...))
    link = engine.link(number)
    link.detach(timeout=GRACE_SECONDS)
    return {"id": link.id, "state": link.state}


def _link_shadow(engine: Engine, request: dict[str, Any]) -> Any:
    number, prog, maps, guard = _take(
        request,
        link=(_NUMBER, None),
        prog=(_TEXT, ...),
        maps=(_TEXT, "snapshot"),
        guard=(_FLAG, False),
    )
    link = engine.link(number)
    limits = Guard() if guard else None
    with engine.lock:
        spec, name = engine.parse(prog)
        return link.shadow(spec, program=name, maps=maps, guard=limits).report.to_json()


def _link_canary(engine: Engine, request: dict[str, Any]) -> Any:
    number, prog, fraction, guard = _take(
        request,
        link=(_NUMBER, None),
        prog=(_TEXT, ...),
        fraction=(_SHARE, 0.05),
        guard=(_FLAG, False),
    )
    link = engine.link(number)
    limits = Guard() if guard else None
    with engine.lock:
        spec, name = engine.parse(prog)
        share = float(fraction)
        return link.canary(spec, program=name, fraction=share, guard=limits).report.to_json()


def _trial(engine: Engine, request: dict[str, Any]) -> Trial:
    (number,) = _take(request, link=(_NUMBER, None))
    link = engine.link(number)
    trial = link.trial
    if trial is None:
        last = link.history[-1]
        if last.cause == "guard":
            raise InputError(
                f"link {link.id}: the guard ended the shadow or canary: {last.detail}",
                hint=f"its program is '{link.program.name}' as before" if link.program else None,
            )
        raise InputError(
            "no shadow or canary runs at the link", found=f"link {link.id}", hint="start one first"
        )
    return trial


def _link_promote(engine: Engine, request: dict[str, Any]) -> Any:
    trial = _trial(engine, request)
    trial.promote(timeout=GRACE_SECONDS)
    return trial.report.to_json()


def _link_abandon(engine: Engine, request: dict[str, Any]) -> Any:
    trial = _trial(engine, request)
    trial.abandon(timeout=GRACE_SECONDS)
    return trial.report.to_json()


def _map_show(engine: Engine, request: dict[str, Any]) -> Any:
    (name,) = _take(request, map=(_EITHER, None))
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
    name, limit = _take(request, map=(_EITHER, ...), limit=(_NUMBER, ENTRIES))
    found = engine.map(name)
    entries = list(itertools.islice(found.items(), limit + 1))
    return {
        "map": found.name,
        "entries": [{"key": k.hex(), "value": _plain(v)} for k, v in entries[:limit]],
        "more": len(entries) > limit,
    }


def _map_set(engine: Engine, request: dict[str, Any]) -> Any:
    name, key, value = _take(request, map=(_EITHER, ...), key=(_EITHER, ...), value=(_EITHER, ...))
    found = engine.map(name)
    found[scalar(key, found.key_size, "key")] = scalar(value, found.value_size, "value")
    return {"map": found.name, "entries": len(found)}


def _map_delete(engine: Engine, request: dict[str, Any]) -> Any:
    name, key = _take(request, map=(_EITHER, ...), key=(_EITHER, ...))
    found = engine.map(name)
    del found[scalar(key, found.key_size, "key")]
    return {"map": found.name, "entries": len(found)}


def _map_and_file(engine: Engine, request: dict[str, Any]) -> tuple[Map, str, dict[str, Map]]:
    """The map, the file's full name, and the maps that entries may name."""
    name, file = _take(request, map=(_EITHER, ...), file=(_TEXT, ...))
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


def scalar(text: Any, size: int, what: str) -> bytes | int:
    """A key or value as typed: a number (decimal or 0x...), or bytes as `hex:0a000001` or 0a:00:00:01."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    plain = str(text)
    if plain.startswith("hex:") or ":" in plain:
        try:
            return bytes.fromhex(plain.removeprefix("hex:").replace(":", ""))
        except ValueError:
            pass
    try:
        return int(plain, 0)
    except ValueError:
        raise InputError(
            f"the {what} is neither a number nor bytes",
            found=plain,
            expected=f"such as 10, 0x0a, or {size} bytes as hex:0a...",
        ) from None


OPERATIONS: dict[str, Callable[[Engine, dict[str, Any]], Any]] = {
    "info": _info,
    "link.list": _link_list,
    "link.show": _link_show,
    "link.update": _link_update,
    "link.rollback": _link_rollback,
    "link.detach": _link_detach,
    "link.shadow": _link_shadow,
    "link.canary": _link_canary,
    "link.promote": _link_promote,
    "link.abandon": _link_abandon,
    "map.show": _map_show,
    "map.dump": _map_dump,
    "map.set": _map_set,
    "map.delete": _map_delete,
    "map.load": _map_load,
    "map.save": _map_save,
}
