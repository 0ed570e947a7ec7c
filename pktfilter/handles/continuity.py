"""What becomes of a program's maps when another takes its place: carried, converted, or left behind.

Everything here runs before the new program is published, off the hot path, except for the catch-up of
a migration, which runs after the grace period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError, LinkDetached, MapError, wrong_kind
from ..objects import MapSpec, ObjectSpec
from .definitions import differences
from .loader import load, mismatch
from .maps import Map, MapKeyError
from .program import Program

if TYPE_CHECKING:
    from .links import Convert

_MODES = ("carry", "migrate", "fresh")
_Prepared = tuple[Program, "Callable[[], None] | None", bool]


def prepare(
    current: Program | None,
    new: Program | ObjectSpec,
    mode: str | None,
    migrate: Mapping[str, Convert] | None,
    name: str | None,
) -> _Prepared:
    """(program to publish, what to do after its grace period, whether it depends on `current`)."""
    if not isinstance(new, (Program, ObjectSpec)):
        raise wrong_kind("a link's new program", new, "a Program or an ObjectSpec")
    mode = "fresh" if mode is None else mode
    if mode not in _MODES:
        raise InputError("no such way to continue maps", found=mode, expected=", ".join(_MODES))
    if (mode == "migrate") != bool(migrate):
        raise InputError(
            "migrate is a function for each map that maps='migrate' converts",
            found=f"maps='{mode}' and {'functions' if migrate else 'none'}",
        )
    if current is None:
        raise LinkDetached("the link was detached", hint="attach the program again")
    converts = dict(migrate or {})
    held = {} if mode == "fresh" else reachable_maps(current)
    if isinstance(new, ObjectSpec):
        chosen = _choose(new, name, current)
        wanted = new.maps
    else:
        if name is not None:
            raise InputError("a program's name is for an object of several", found=name)
        wanted = {m.name: m.spec for m in new.maps.values() if m.name}
    missing = [m for m in converts if m not in held or m not in wanted]
    if missing:
        raise InputError(f"map '{missing[0]}' is not in both programs, so it cannot be migrated")
    carried = {} if mode == "fresh" else _carried(held, wanted, converts)
    if isinstance(new, ObjectSpec):
        obj = load(new, maps=carried)
        program, own = obj.programs[chosen], obj.maps
    else:
        own = {m.name: m for m in new.maps.values()}
        program = _rebuilt(new, carried)
    moves = [Migration(held[m], own[m], convert) for m, convert in converts.items()]
    for move in moves:
        move.copy()
    after = None if not moves else lambda: _catch_up(moves)
    return program, after, bool(carried or moves)


def reachable_maps(program: Program) -> dict[str, Map]:
    """The named maps of a program and of what stands in its prog arrays; its own come first."""
    found: dict[str, Map] = {}
    seen: set[int] = set()
    waiting = [program]
    while waiting:
        current = waiting.pop(0)
        if current.id in seen:
            continue
        seen.add(current.id)
        for m in current.maps.values():
            if m.name:
                found.setdefault(m.name, m)
            waiting.extend(p for p in m._bound.values() if isinstance(p, Program))
    return found


def _choose(spec: ObjectSpec, name: str | None, current: Program) -> str:
    if name is None:
        names = list(spec.programs)
        name = current.name if current.name in names else names[0] if len(names) == 1 else None
    if name is None or name not in spec.programs:
        raise InputError(
            "the object's program to run is not clear" if name is None else f"no program '{name}'",
            file=spec.path,
            expected=f"program= one of: {', '.join(spec.programs) or 'none at all'}",
        )
    return name


def _is_state(spec: MapSpec) -> bool:
    """Whether a map holds what ran so far, rather than a part of the program: constants, tail calls."""
    return not (spec.frozen or spec.readonly_prog or spec.values)


def _carried(
    held: Mapping[str, Map], wanted: Mapping[str, MapSpec], converts: Iterable[str]
) -> dict[str, Map]:
    """The maps to share; raises `MapMismatch` with every difference of every map."""
    carried: dict[str, Map] = {}
    found: list[tuple[str, str, object, object]] = []
    for name, spec in wanted.items():
        if name not in held or name in converts or not _is_state(spec):
            continue
        found += [(name, *row) for row in differences(held[name], spec)]
        carried[name] = held[name]
    if found:
        raise mismatch(found)
    return carried


def _rebuilt(new: Program, carried: Mapping[str, Map]) -> Program:
    """The program over the carried maps; itself when it stands on them already."""
    maps = {fd: carried.get(m.name, m) for fd, m in new.maps.items()}
    if all(maps[fd] is m for fd, m in new.maps.items()):
        return new
    return Program(
        new.insns,
        type=new.type,
        name=new.name,
        maps=maps,
        frags=bool(new._ref.frags),
        spec=new.spec,
        verify=new.verification is not None,
    )


class Migration:
    """One map's contents converted into another's.

    `copy` converts each element once, as it is when it is read. `catch_up` converts again what the old
    map holds differently since, where the new map still holds what `copy` put there: what the new
    program or the user wrote meanwhile stays.
    """

    def __init__(self, old: Map, new: Map, convert: Convert) -> None:
        self.old, self.new, self.convert = old, new, convert
        # Old key -> (old value, new key, new value as it reads); no new key where nothing was stored.
        self.copied: dict[bytes, tuple[Any, Any, Any]] = {}

    def copy(self) -> None:
        """Fills the new map; raises what the user's function raises, or the `MapError` of the new map."""
        for key, value in self.old.items():
            row = self.convert(key, value)
            if row is None:
                self.copied[key] = (value, None, None)
                continue
            self.new.update(*row)
            self.copied[key] = (value, row[0], self._get(row[0]))

    def catch_up(self) -> None:
        """Copies what changed in the old map after `copy` had read it."""
        left = dict(self.copied)
        for key, value in self.old.items():
            seen, at, stored = left.pop(key, (None, None, None))
            if key in self.copied and seen == value:
                continue
            row = self.convert(key, value)
            to = None if row is None else row[0]
            if at is not None:
                if self._get(at) != stored:
                    continue  # written since, by the new program or the user
                if to != at:
                    self._delete(at)
            if row is not None and (to == at or self._is_empty(to)):
                self.new.update(*row)
        for _, at, stored in left.values():  # deleted from the old map
            if at is not None and self._get(at) == stored:
                self._delete(at)

    def _is_empty(self, key: Any) -> bool:
        value = self._get(key)
        parts = value if isinstance(value, list) else [value]
        return all(part is None or (isinstance(part, bytes) and not any(part)) for part in parts)

    def _get(self, key: Any) -> Any:
        try:
            return self.new.lookup(key)
        except MapKeyError:
            return None

    def _delete(self, key: Any) -> None:
        try:
            self.new.delete(key)
        except MapKeyError:
            return
        except MapError:
            return  # an array's elements are not deleted


def _catch_up(moves: list[Migration]) -> None:
    for move in moves:
        move.catch_up()
