"""Records: small classes with named fields, as dataclasses are, made in a tenth of the time.

A dataclass compiles six functions as its module is imported, half a millisecond a class; the object
reader alone has thirty. A record compiles its constructor only. To a type checker it is a dataclass.

What differs: fields have plain defaults (no `field()`), there are no class variables and no bases,
instances have slots, and `frozen` means that they can be hashed; that nobody assigns to a field is
the type checker's to say. `dataclasses.asdict` and `replace` do not know records.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["recordclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as recordclass
else:

    def recordclass(*, slots: bool, frozen: bool = False):
        """The decorator. `slots` is True: it stands there for the type checker."""
        assert slots

        def make(cls: type) -> type:
            return _make(cls, frozen)

        return make


def _make(cls: type, frozen: bool) -> type:
    names = tuple(cls.__annotations__)
    inside = dict(cls.__dict__)
    defaults = {name: inside.pop(name) for name in names if name in inside}
    inside.pop("__dict__", None)
    inside.pop("__weakref__", None)
    inside["__slots__"] = inside["__match_args__"] = names
    made: Any = type(cls.__name__, (), inside)
    made.__qualname__ = cls.__qualname__
    made.__init__ = _constructor(names, defaults)
    values = attrgetter(
        *names, "__class__"
    )  # the class too: equal fields of two kinds are not equal

    def equal(self: Any, other: object) -> Any:
        return values(self) == values(other) if type(other) is made else NotImplemented

    def show(self: Any) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{made.__qualname__}({fields})"

    def number(self: Any) -> int:
        return hash(values(self))

    made.__eq__, made.__repr__ = equal, show
    made.__hash__ = number if frozen else None
    return made  # type: ignore[no-any-return]


def _constructor(names: tuple[str, ...], defaults: dict[str, object]) -> Any:
    """`def __init__` with these parameters, compiled: several times as fast as one for all records."""
    given = ", ".join(f"{name}=_{name}" if name in defaults else name for name in names)
    body = "\n".join(f"    self.{name} = {name}" for name in names)
    scope: dict[str, Any] = {f"_{name}": value for name, value in defaults.items()}
    exec(f"def __init__(self, {given}):\n{body}", scope)  # of names in this package's own sources
    return scope["__init__"]
