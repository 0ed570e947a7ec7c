"""What a map can do beside `bpf(2)`'s single operations: types, batches, files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MapError

if TYPE_CHECKING:
    from .._core.map import MapRef
    from ..objects import MapSpec
    from .program import Program
    from .typed import MapTypes, TypedMap

#: Bytes of keys and values that one step of a walk through a map takes.
_CHUNK = 1 << 20


def is_bytes(value: object) -> bool:
    """Whether a key or value stands for itself."""
    return isinstance(value, (bytes, bytearray, memoryview))


def is_plain(value: object) -> bool:
    """Whether a key or value is bytes or a number, which a `Map` takes without looking at types."""
    return is_bytes(value) or (isinstance(value, int) and not isinstance(value, bool))


class MapAccess:
    """The part of `Map` that is built upon its single operations."""

    spec: MapSpec
    _ref: MapRef
    _binds: bool

    if TYPE_CHECKING:

        @property
        def cpus(self) -> int: ...
        @property
        def per_cpu(self) -> bool: ...
        def _place(self) -> str: ...
        def _key(self, key: Any) -> bytes: ...
        def _join(self, value: Any, *, typed: bool = False) -> bytes: ...
        def _split(self, value: bytes) -> bytes | list[bytes]: ...
        def _error(self, err: int, verb: str, key: Any = None) -> MapError: ...
        def items(self) -> Any: ...
        def lookup(self, key: Any) -> Any: ...
        def update(self, key: Any, value: Any, *, flags: int = 0) -> None: ...
        def delete(self, key: Any) -> None: ...

    @property
    def holds_objects(self) -> bool:
        """Values are programs or maps, not bytes."""
        return self._binds

    @cached_property
    def types(self) -> MapTypes:
        """What converts keys and values, by the map's BTF types."""
        from .typed import MapTypes  # not needed where keys and values are bytes

        return MapTypes(self.spec, self._place())

    @property
    def typed(self) -> TypedMap:
        """This map with keys and values by type, both ways."""
        from .typed import TypedMap

        return TypedMap(self)  # type: ignore[arg-type] # the only subclass is Map

    def decode(self, value: bytes | list[bytes]) -> Any:
        """A value of this map (of a per-CPU map: or a list of them) by its type.

        Raises `InputError` when it has not the size of a value, or its type no Python counterpart.
        """
        for each in value if isinstance(value, list) else [value]:
            if len(each) != self.spec.value_size:
                raise InputError(
                    "the value has the wrong size",
                    place=self._place(),
                    found=f"{len(each)} bytes",
                    expected=f"{self.spec.value_size} bytes",
                )
        return self.types.decode_value(value)

    def decode_key(self, key: bytes) -> Any:
        """A key of this map by its type; raises as `decode`."""
        if len(key) != self.spec.key_size:
            raise InputError(
                "the key has the wrong size",
                place=self._place(),
                found=f"{len(key)} bytes",
                expected=f"{self.spec.key_size} bytes",
            )
        return self.types.key.decode(key)

    def encode(self, value: Any) -> bytes:
        """The bytes of one value; raises `InputError` naming the field that is wrong."""
        return self.types.encode_value(value)

    def encode_key(self, key: Any) -> bytes:
        """The bytes of a key; raises as `encode`."""
        return self.types.encode_key(key)

    def update_batch(
        self, pairs: Iterable[tuple[Any, Any]] | Mapping[Any, Any], *, flags: int = 0
    ) -> int:
        """Sets many pairs with one call and returns their number; `flags` as `update`.

        All are converted first: an `InputError` means that nothing was set. A `MapError` is about the first
        pair that failed; its `done` says how many were set before.
        """
        rows = list(pairs.items() if isinstance(pairs, Mapping) else pairs)
        if self._binds:
            return self._each(rows, lambda row: self.update(*row, flags=flags))
        from .._core import map_batch

        size = self.spec.key_size
        step = -1 if self.per_cpu else self.spec.value_size
        # Bytes that fit need no second look: they are the bulk of large batches.
        keys = [
            k if type(k) is bytes and len(k) == size and size else self._key(k) for k, _ in rows
        ]
        values = [
            v if type(v) is bytes and len(v) == step else self._join(v, typed=not is_plain(k))
            for k, v in rows
        ]
        if not rows:
            return 0
        err, done = map_batch.update(self._ref, b"".join(keys), b"".join(values), flags)
        return self._finished("update", err, done, keys)

    def delete_batch(self, keys: Iterable[Any]) -> int:
        """Removes many keys with one call and returns their number; errors as `update_batch`."""
        raw = [self._key(key) for key in keys]
        if self._binds:
            return self._each(raw, self.delete)
        from .._core import map_batch

        if not raw:
            return 0
        err, done = map_batch.delete(self._ref, b"".join(raw))
        return self._finished("delete", err, done, raw)

    def lookup_batch(self, keys: Iterable[Any] | None = None) -> list[Any]:
        """The values of `keys`, None where there is none; without keys every (key, value) pair.

        Other than `items` it makes few calls. A map that changes meanwhile gives each key once, and may
        leave out what came or went.
        """
        from .._core import map_batch

        if keys is None:
            return list(self.items()) if self._binds else self._walk()
        raw = [self._key(key) for key in keys]
        if self._binds:
            return [self.lookup(key) if key in self else None for key in raw]  # type: ignore[operator]
        if not raw:
            return []
        err, done, values, found = map_batch.lookup(self._ref, b"".join(raw), 0)
        self._finished("lookup", err, done, raw)
        step = int(self._ref.user_value_size)
        return [
            self._split(values[i * step : (i + 1) * step]) if found[i] else None
            for i in range(len(raw))
        ]

    def _walk(self) -> list[tuple[bytes, bytes | list[bytes]]]:
        from .._core import map_batch

        if not self.spec.key_size:
            raise self._error(errno.EINVAL, "lookup")
        size, step = self.spec.key_size, int(self._ref.user_value_size)
        count = max(1, min(_CHUNK // (size + step), self.spec.max_entries + 1))
        found: dict[bytes, bytes | list[bytes]] = {}
        last: bytes | None = None
        # As in `keys`: a map whose keys go while one looks starts again, and that is bounded.
        for _ in range(2 * self.spec.max_entries // count + 2):
            err, last, got, keys, values = map_batch.walk(self._ref, last, count)
            for i in range(got):
                found[keys[i * size : (i + 1) * size]] = self._split(
                    values[i * step : (i + 1) * step]
                )
            if err == errno.ENOENT:
                break
            if err:
                raise self._error(err, "lookup")
        return list(found.items())

    def _each(self, rows: list[Any], do: Any) -> int:
        for done, row in enumerate(rows):
            try:
                do(row)
            except MapError as error:
                error.done = done
                raise
        return len(rows)

    def _finished(self, verb: str, err: int, done: int, keys: list[bytes]) -> int:
        if err:
            error = self._error(err, verb, keys[done])
            error.done = done
            raise error
        return done

    def to_json(self) -> list[dict[str, Any]]:
        """The entries for a JSON file: `[{"key": ..., "value": ...}]`, by type, sorted by their bytes.

        What its type cannot give back exactly (padding that is not zero, an address in a pointer) is
        "hex:..." text. `from_json` makes the same map of it.
        """
        from .map_files import entries_of

        return entries_of(self)  # type: ignore[arg-type]

    def from_json(
        self,
        source: str | os.PathLike[str] | list[Any] | dict[str, Any],
        *,
        programs: Mapping[str, Program] | None = None,
    ) -> int:
        """Sets the entries of a list as `to_json` gives it, or of a file: JSON, or CSV by its name.

        Other entries stay. Returns how many were set. Raises `InputError` naming the file, the entry or row,
        and the field; nothing is set then. `programs` are those that a prog array's entries name.
        """
        from .map_files import fill

        return fill(self, source, programs=programs)  # type: ignore[arg-type]
