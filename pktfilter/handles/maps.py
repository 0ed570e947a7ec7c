"""Maps: what programs and users share, with the flags, sizes and errors of `bpf(2)`."""

from __future__ import annotations

import errno
import itertools
import os
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from .._core.map import MapRef
from ..errors import IncompatibleProgram, InputError, MapError
from ..objects import MapSpec
from ..objects.kinds import map_type_by_name
from .cpus import default_cpus
from .definitions import definition
from .map_access import MapAccess, is_bytes, is_plain
from .port_entries import PORT_TYPES, CpumapEntry, DevmapEntry, port_entry
from .queues import Keyless

if TYPE_CHECKING:
    from .program import Program

BPF_ANY = 0
BPF_NOEXIST = 1
BPF_EXIST = 2
BPF_F_LOCK = 4

#: A key, or one value: bytes of the map's size, or an int stored in the machine's byte order.
Scalar: TypeAlias = bytes | bytearray | memoryview | int
#: What a map stores: bytes; one per CPU id for per-CPU maps; a program or map where it holds those.
Value: TypeAlias = "bytes | list[bytes] | Program | Map"

_ids = itertools.count(1)
# Handles by map id, so that an inner map read back from an outer map is the object that was put in.
_handles: weakref.WeakValueDictionary[int, Map] = weakref.WeakValueDictionary()


class MapKeyError(MapError, KeyError):
    """The key is not in the map (ENOENT)."""

    default_errno = errno.ENOENT
    __str__ = MapError.__str__


class Map(MapAccess, Keyless):
    """A BPF map. Keys and values are bytes (or ints, in the machine's byte order).

    A key of another kind (a dict, a string, ...) is converted by the map's BTF types, and what is read at it
    too; `typed` is a view that converts always (docs/maps.md).

    Per-CPU maps hold one value per CPU id: reading gives a list of `cpus` values; writing takes such
    a list, or one value for all. Prog arrays hold `Program`s, outer maps hold `Map`s; writing
    those publishes a new world in every datapath that uses them, as does every change of a devmap,
    devmap_hash or cpumap: they take bytes, `(ifindex or queue size, program or None)`, or a `DevmapEntry`
    or `CpumapEntry`. Queues, stacks and bloom filters have no keys: `push`, `pop`, `peek`, `add` and `in`; ring
    buffers `consume`.

    Raises `MapError` with the errno of `bpf(2)`: ENOENT (a `KeyError` too), EEXIST, E2BIG (full),
    EINVAL (flags), EPERM (frozen or read-only). A key or value of the wrong size is an `InputError`.
    A `bpf_spin_lock` in a value reads as zeros and is not written; with BPF_F_LOCK a value is
    copied while its lock is held.
    """

    def __init__(self, spec: MapSpec, *, cpus: int | None = None, name: str | None = None) -> None:
        spec.validate()
        if spec.type == "perf_event_array" and not spec.max_entries:
            spec = replace(spec, max_entries=default_cpus() if cpus is None else cpus)
        inner = spec.inner
        self._open(
            MapRef.create(
                definition(spec),
                None if inner is None else definition(inner),
                default_cpus() if cpus is None else cpus,
                name or spec.name,
                next(_ids),
                spec.lock,
                None if inner is None else inner.lock,
                spec.map_extra,
            ),
            spec,
            name or spec.name,
        )

    def _open(self, ref: MapRef, spec: MapSpec, name: str) -> None:
        self._ref = ref
        self.spec = spec
        self.name = name
        row = map_type_by_name(spec.type)
        assert row is not None
        self._percpu = bool(row.percpu)
        self._binds = row.family == "BINDING"
        # What stands in a prog array or outer map, by key: handles live as long as the core may
        # give them back.
        self._bound: dict[bytes, Program | Map] = {}
        _handles[ref.id] = self

    def __del__(self) -> None:
        # A program in a prog array may hold the array, one of a port map's entry the map: nobody but us can
        # end that circle. Linux empties a prog array likewise when its last user reference goes.
        if self.__dict__.get("_bound") and self.type == "prog_array":
            for key in list(self._bound):
                self._ref.unbind(key)
        elif self.__dict__.get("_bound") and self.type in PORT_TYPES:
            for key in list(self._bound):
                self._ref.delete(key)

    @property
    def id(self) -> int:
        """Unique in this process."""
        return int(self._ref.id)

    @property
    def type(self) -> str:
        """Name of the map type, as "lru_hash"."""
        return self.spec.type

    @property
    def key_size(self) -> int:
        """Bytes of a key."""
        return self.spec.key_size

    @property
    def value_size(self) -> int:
        """Bytes of one value."""
        return self.spec.value_size

    @property
    def max_entries(self) -> int:
        """How many entries the map can hold."""
        return self.spec.max_entries

    @property
    def cpus(self) -> int:
        """Values per key: more than 1 only in per-CPU maps."""
        return int(self._ref.cpus)

    @property
    def per_cpu(self) -> bool:
        """Each key has one value per CPU id."""
        return self._percpu

    def __repr__(self) -> str:
        return f"<Map {self.name or '(unnamed)'} id={self.id} {self.type} {len(self)}/{self.max_entries}>"

    def lookup(self, key: Any, *, flags: int = 0) -> Any:
        """The value at `key`; raises `MapKeyError` when there is none. flags: 0 or BPF_F_LOCK."""
        raw = self._key(key)
        if flags and self._binds:
            raise self._error(errno.EINVAL, "lookup", key)
        if self.type == "prog_array":
            prog_ref = self._ref.bound_program(raw)
            if prog_ref is None:
                raise self._error(errno.ENOENT, "lookup", key)
            from .program import program_handle

            return program_handle(prog_ref)
        if self.spec.inner is not None:
            map_ref = self._ref.bound_map(raw)
            if map_ref is None:
                raise self._error(errno.ENOENT, "lookup", key)
            return _map_handle(map_ref)
        err, value = self._ref.lookup(raw, flags)
        if err:
            raise self._error(err, "lookup", key)
        return self._split(value) if is_plain(key) else self.types.decode_value(self._split(value))

    def update(self, key: Any, value: Any, *, flags: int = BPF_ANY) -> None:
        """Sets the value at `key`. flags: BPF_ANY, BPF_NOEXIST (EEXIST), BPF_EXIST (ENOENT), and
        BPF_F_LOCK with any of them."""
        raw = self._key(key)
        if self.type == "prog_array":
            from .program import Program

            if not isinstance(value, Program):
                raise InputError(
                    f"a prog array holds programs, found {type(value).__name__}",
                    place=self._place(),
                )
            if value.type != "xdp":
                raise IncompatibleProgram(
                    "the program's type does not fit the prog array",
                    field="type",
                    found=value.type,
                    expected="xdp",
                )
            err = self._ref.bind_program(raw, value._ref, flags)
        elif self.spec.inner is not None:
            if not isinstance(value, Map):
                raise InputError(
                    f"a map of maps holds maps, found {type(value).__name__}", place=self._place()
                )
            err = self._ref.bind_map(raw, value._ref, flags)
        elif (entry := port_entry(self, value)) is not None:
            number, program = entry
            ref = None if program is None else program._ref
            err = self._ref.bind_port(raw, number, ref, flags)
            if not err and program is not None and self in program.maps.values():
                self._bound[raw] = program  # a circle, for __del__
        else:
            err = self._ref.update(raw, self._join(value, typed=not is_plain(key)), flags)
        if err:
            raise self._error(err, "update", key)
        if self._binds:
            self._bound[raw] = value

    def entry(self, key: Any) -> DevmapEntry | CpumapEntry:
        """The entry of a devmap, devmap_hash or cpumap with its program; raises `MapKeyError`, and
        `InputError` for another map."""
        if self.type not in PORT_TYPES:
            raise InputError(f"a {self.type} has no entries with programs", place=self._place())
        raw = self._key(key)
        value = self.lookup(raw)
        assert isinstance(value, bytes)
        ref = self._ref.bound_port(raw)
        from .program import program_handle

        kind = DevmapEntry if PORT_TYPES[self.type] == "devmap" else CpumapEntry
        number = int.from_bytes(value[:4], sys.byteorder)
        return kind(number, None if ref is None else program_handle(ref))

    def delete(self, key: Any) -> None:
        """Removes `key`; raises `MapKeyError` when it is not there, EINVAL for arrays."""
        raw = self._key(key)
        err = self._ref.unbind(raw) if self._binds else self._ref.delete(raw)
        if err:
            raise self._error(err, "delete", key)
        self._bound.pop(raw, None)

    def __getitem__(self, key: Any) -> Any:
        return self.lookup(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update(key, value)

    def __delitem__(self, key: Any) -> None:
        self.delete(key)

    def __contains__(self, key: Any) -> bool:
        if self.type == "bloom_filter":
            return self.may_contain(key)
        try:
            self.lookup(key)
        except MapKeyError:
            return False
        return True

    def __len__(self) -> int:
        return int(self._ref.count())

    def __iter__(self) -> Iterator[bytes]:
        return self.keys()

    def keys(self) -> Iterator[bytes]:
        """All keys, as BPF_MAP_GET_NEXT_KEY gives them; a map that changes meanwhile may repeat some."""
        key: bytes | None = None
        # Where the current key is deleted meanwhile, iteration starts again: bounded, or a busy map never ends.
        for _ in range(2 * self.max_entries + 1):
            err, key = self._ref.next_key(key)
            if err == errno.ENOENT:
                return
            if err:
                raise self._error(err, "iterate")
            assert key is not None
            yield key

    def items(self) -> Iterator[tuple[bytes, Value]]:
        """(key, value) pairs; keys deleted meanwhile are left out, as are empty slots."""
        for key in self.keys():
            try:
                yield key, self.lookup(key)
            except MapKeyError:
                continue

    def values(self) -> Iterator[Value]:
        """All values, as `items`."""
        return (value for _, value in self.items())

    def freeze(self) -> None:
        """Refuses user writes from now on (BPF_MAP_FREEZE); programs may still write."""
        self._ref.freeze()

    @property
    def memory(self) -> int:
        """Bytes that the contents take when every entry is used: values, keys and what finds them.

        All of it is reserved when the map is made; the system commits pages of it as they are first
        written, so a map that is not full occupies less. Programs and maps in prog arrays and maps
        of maps are not counted.
        """
        return int(self._ref.memory)

    @property
    def memory_bytes(self) -> int:
        """Preallocated element memory: the part of `memory` that holds keys and values."""
        return int(self._ref.arena_bytes)

    def _place(self) -> str:
        return f"map '{self.name}'" if self.name else f"map {self.id}"

    def _error(self, err: int, verb: str, key: Any = None) -> MapError:
        kind = MapKeyError if err == errno.ENOENT else MapError
        shown = "" if key is None else f" of key {_show(key)}"
        reasons = {
            errno.ENOENT: "no such key",
            errno.EEXIST: "the key is there already",
            errno.E2BIG: f"the map is full or the index too large (max_entries {self.max_entries})",
            errno.EINVAL: "the operation or its flags do not fit this map type",
            errno.EPERM: "the map is read-only or frozen",
        }
        return kind(
            f"{verb}{shown}: {reasons.get(err, os.strerror(err))}", place=self._place(), errno=err
        )

    def _key(self, key: Any) -> bytes:
        if self.keyless:
            raise self._no_keys()
        if is_plain(key):
            return _scalar(key, self.key_size, "key", self._place())
        return self.types.encode_key(key)

    def _one(self, value: Any, typed: bool, step: str = "") -> bytes:
        """One value; `typed`: numbers too are converted, since the key was."""
        if is_plain(value) and not typed:
            return _scalar(value, self.value_size, "value", self._place())
        return self.types.encode_value(value, step)

    def _join(self, value: Any, *, typed: bool = False) -> bytes:
        if not self._percpu:
            return self._one(value, typed)
        if not isinstance(value, (list, tuple)):
            value = [self._one(value, typed)] * self.cpus
        if len(value) != self.cpus:
            raise InputError(
                "a per-CPU map takes one value for each CPU id",
                place=self._place(),
                found=len(value),
                expected=self.cpus,
            )
        step = (self.value_size + 7) & ~7
        return b"".join(
            self._one(v, typed, f"[{i}]").ljust(step, b"\0") for i, v in enumerate(value)
        )

    def _split(self, value: bytes) -> bytes | list[bytes]:
        if not self._percpu:
            return value
        step = (self.value_size + 7) & ~7
        return [value[i * step : i * step + self.value_size] for i in range(self.cpus)]


def _scalar(value: Any, size: int, what: str, place: str) -> bytes:
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return value.to_bytes(size, sys.byteorder, signed=value < 0)
        except OverflowError:
            raise InputError(
                f"the {what} does not fit its size",
                place=place,
                found=value,
                expected=f"{size} bytes",
            ) from None
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise InputError(
            f"the {what} has the wrong type",
            place=place,
            found=type(value).__name__,
            expected="bytes or int",
        )
    raw = bytes(value)
    if len(raw) != size:
        raise InputError(
            f"the {what} has the wrong size",
            place=place,
            found=f"{len(raw)} bytes",
            expected=f"{size} bytes",
        )
    return raw


def _show(key: Any) -> str:
    return bytes(key).hex() if is_bytes(key) else str(key)[:200]


def _map_handle(ref: MapRef) -> Map:
    handle = _handles.get(ref.id)
    if handle is not None:
        return handle
    number, key_size, value_size, max_entries, flags = ref.definition
    from .._core.tables import MAP_TYPES

    name = next(row.name for row in MAP_TYPES if row.number == number)
    handle = Map.__new__(Map)
    spec = MapSpec(name, key_size, value_size, max_entries, flags, lock=ref.lock)
    handle._open(ref, spec, "")
    return handle
