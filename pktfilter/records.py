"""Records: dataclasses that are made in a tenth of the time.

A dataclass compiles six functions as its module is imported, half a millisecond a class, and a
replay needs forty. A record compiles its constructor only; the rest is shared. To a type checker
it is a dataclass, and `dataclasses.fields`, `asdict` and `replace` take it as one.

Left out is what nobody here needs: bases, class variables, order, `__post_init__`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

__all__ = ["field", "recordclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as recordclass
    from dataclasses import field
else:

    def field(*, default_factory):
        """A default that is made anew for each record."""
        return _Factory(default_factory)

    def recordclass(*, slots=False, frozen=False):
        """The decorator, with the meaning of `dataclass`'s arguments."""

        def make(cls: type) -> type:
            return _make(cls, slots, frozen)

        return make


class _Factory(NamedTuple):
    make: Any


def _make(cls: type, slots: bool, frozen: bool) -> type:
    names = tuple(cls.__annotations__)
    inside = dict(cls.__dict__)
    defaults = {name: inside.pop(name) for name in names if name in inside}
    inside["__match_args__"] = names
    inside["__record_fields__"] = names
    inside["__dataclass_fields__"] = _Fields(defaults)
    inside["__init__"] = _constructor(names, defaults, frozen)
    for name in ("__dict__", "__weakref__"):  # of the class that this one takes the place of
        inside.pop(name, None)
    if slots:
        inside["__slots__"] = names
    made: Any = type(cls.__name__, (), inside)
    made.__qualname__ = cls.__qualname__
    # With the class, so that attrgetter gives a tuple for one field too.
    values = attrgetter(*names, "__class__")

    def equal(self: Any, other: object) -> Any:
        return values(self) == values(other) if type(other) is made else NotImplemented

    def show(self: Any) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{made.__qualname__}({fields})"

    made.__eq__, made.__repr__, made.__hash__ = equal, show, None
    if frozen:
        made.__hash__ = lambda self: hash(values(self))
        made.__reduce__ = lambda self: (made, values(self)[:-1])
        made.__setattr__ = made.__delattr__ = _refuse
    return made  # type: ignore[no-any-return]


def _refuse(_self: object, name: str, _value: object = None) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _constructor(names: tuple[str, ...], defaults: dict[str, Any], frozen: bool) -> Any:
    """`def __init__` with these parameters, compiled: several times as fast as one for all records."""
    given, body = [], []
    scope: dict[str, Any] = {"_set": object.__setattr__}
    for name in names:
        value = name
        if name in defaults:
            scope[f"_{name}"] = defaults[name]
            given.append(f"{name}=_{name}")
            if isinstance(defaults[name], _Factory):
                value = f"{name} if {name} is not _{name} else _{name}.make()"
        else:
            given.append(name)
        body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    lines = "\n    ".join(body)
    exec(f"def __init__(self, {', '.join(given)}):\n    {lines}", scope)  # names of our own sources
    return scope["__init__"]


class _Fields:
    """What `dataclasses` asks for, made when it does."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        self._defaults = defaults

    def __get__(self, _instance: object, owner: Any) -> dict[str, Any]:
        import dataclasses

        rows: list[Any] = []
        for name, kind in owner.__annotations__.items():
            default = self._defaults.get(name, dataclasses.MISSING)
            if isinstance(default, _Factory):
                rows.append((name, kind, dataclasses.field(default_factory=default.make)))
            else:
                rows.append((name, kind, dataclasses.field(default=default)))
        model: Any = dataclasses.make_dataclass(owner.__name__, rows)
        owner.__dataclass_fields__ = model.__dataclass_fields__
        return model.__dataclass_fields__  # type: ignore[no-any-return]
