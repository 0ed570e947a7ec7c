"""The arguments of a request, and Python values as JSON can hold them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

from ..errors import ControlError
from ..handles.program import Program

Kind: TypeAlias = "tuple[type, ...]"
NUMBER: Kind = (int,)
TEXT: Kind = (str,)
EITHER: Kind = (int, str)
SHARE: Kind = (int, float)
FLAG: Kind = (bool,)


def take(request: dict[str, Any], **known: tuple[Kind, Any]) -> list[Any]:
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


def plain(value: Any) -> Any:
    """For JSON: programs by name, bytes in hex, dataclasses as objects."""
    if isinstance(value, Program):
        return value.name
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
