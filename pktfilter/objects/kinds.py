"""Look-ups in the core's tables of map types and helpers, the only statement of those facts."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._core.tables import Helper, MapType

# Types whose values are maps; their specs need an inner definition.
MAP_IN_MAP = ("array_of_maps", "hash_of_maps")
UNKNOWN_MAP_TYPE = "unknown_"
#: Rows of helpers from this number on are kernel functions (csrc/prog/prog.h).
KFUNC_FIRST = 256


@cache
def _map_types() -> tuple[dict[str, MapType], dict[int, MapType]]:
    from .._core.tables import MAP_TYPES

    return {row.name: row for row in MAP_TYPES}, {row.number: row for row in MAP_TYPES}


@cache
def _helpers() -> dict[int, Helper]:
    from .._core.tables import HELPERS

    return {row.number: row for row in HELPERS}


def map_type_by_name(name: str) -> MapType | None:
    """The table row of the map type `name`, or None."""
    return _map_types()[0].get(name)


def map_type_name(number: int) -> str:
    """The name of the kernel's map type `number`; a made-up one that no table has if unknown."""
    row = _map_types()[1].get(number)
    return row.name if row is not None else f"{UNKNOWN_MAP_TYPE}{number}"


def helper_by_number(number: int) -> Helper | None:
    """The table row of helper `number`, or None."""
    return _helpers().get(number)


def kfunc_by_name(name: str) -> Helper | None:
    """The row of the kernel function that C calls `name`, or None."""
    rows = (row for number, row in _helpers().items() if number >= KFUNC_FIRST)
    return next((row for row in rows if f"bpf_{row.name}" == name), None)


def helper_name(number: int) -> str:
    """The name of helper `number`; `helper_N` if the table does not know it."""
    row = helper_by_number(number)
    return row.name if row is not None else f"helper_{number}"
