"""What makes a map the map that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..objects import MapSpec
from ..objects.kinds import map_type_by_name
from .cpus import default_cpus

if TYPE_CHECKING:
    from .maps import Map


def definition(spec: MapSpec) -> tuple[int, int, int, int, int]:
    """A spec as the core takes it."""
    row = map_type_by_name(spec.type)
    assert row is not None
    # Only a perf event array may have no size: one slot for every CPU id, as libbpf makes it.
    entries = spec.max_entries or default_cpus()
    return (row.number, spec.key_size, spec.value_size, entries, spec.flags)


def differences(current: Map, spec: MapSpec) -> list[tuple[str, object, object]]:
    """How a map differs from a definition: (field, the map's, the definition's); BTF is not compared."""
    fields = ("type", "key_size", "value_size", "max_entries", "flags", "map_extra")
    found = [
        (field, getattr(current.spec, field), getattr(spec, field))
        for field in fields
        if getattr(current.spec, field) != getattr(spec, field)
    ]
    mine, theirs = (
        None if s.inner is None else tuple(getattr(s.inner, field) for field in fields)
        for s in (current.spec, spec)
    )
    if mine != theirs:
        found.append(("inner", mine, theirs))
    return found
