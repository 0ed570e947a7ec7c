"""Keys and values of a map by their types: what converts them, and a view of a map that speaks in them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..objects import MapSpec
from ..objects.codec import Codec, Mismatch, ipv4, is_bytes
from ..objects.codec_btf import codec_of, untyped

if TYPE_CHECKING:
    from .maps import Map


class MapTypes:
    """The codecs of one map, made when they are first needed; `place` names the map in messages."""

    def __init__(self, spec: MapSpec, place: str) -> None:
        self._spec = spec
        self._place = place
        self._key: Codec | None = None
        self._value: Codec | None = None

    @property
    def key(self) -> Codec:
        """The key's codec; raises `InputError` when its type has no Python counterpart."""
        if self._key is None:
            self._key = self._make(self._spec.key_btf, self._spec.key_size, "key")
        return self._key

    @property
    def value(self) -> Codec:
        """The codec of one value; raises as `key`."""
        if self._value is None:
            self._value = self._make(self._spec.value_btf, self._spec.value_size, "value")
        return self._value

    def _make(self, type_id: int, size: int, what: str) -> Codec:
        if self._spec.btf is None or not type_id:
            return untyped(size)
        try:
            return codec_of(self._spec.btf, type_id, size)
        except InputError as error:
            error.place = f"{self._place}: {what}"
            raise

    def encode_key(self, value: Any) -> bytes:
        """A key's bytes; raises `InputError` naming the field that is wrong.

        An address with a prefix length, "10.0.0.0/8", is a key of an LPM trie.
        """
        try:
            if isinstance(value, str) and "/" in value and self._spec.type == "lpm_trie":
                return self._prefix(value)
            return self.key.encode(value)
        except Mismatch as error:
            raise self._wrong("key", error) from None

    def encode_value(self, value: Any, step: str = "") -> bytes:
        """The bytes of one value; `step` says which, of a per-CPU map."""
        try:
            return self.value.encode(value)
        except Mismatch as error:
            raise self._wrong("value" + step, error) from None

    def decode_value(self, value: Any) -> Any:
        """What a `Map` gave, by type: bytes, or a list of them; programs and maps as they are."""
        if isinstance(value, list):
            return [self.value.decode(each) for each in value]
        return self.value.decode(value) if is_bytes(value) else value

    def _prefix(self, text: str) -> bytes:
        address, _, length = text.partition("/")
        size = self._spec.key_size - 4
        if size == 4:
            data = ipv4(address, "such as 10.0.0.0/8")
        else:
            from ..objects.codec import Address

            if size != 16:
                raise Mismatch("the key holds no address", f"{size} bytes", "4 or 16")
            data = Address(16).encode(address)
        if not (length.isascii() and length.isdecimal() and len(length) < 4):
            raise Mismatch("the prefix length is no number", repr(length), "such as 10.0.0.0/8")
        if int(length) > 8 * size:
            raise Mismatch("the prefix length is out of range", length, f"at most {8 * size}")
        return struct.pack("<I", int(length)) + data

    def _wrong(self, what: str, error: Mismatch) -> InputError:
        return InputError(
            error.message,
            place=f"{self._place}: {what}{error.path}",
            found=error.found,
            expected=error.expected,
        )


class TypedMap:
    """A map whose keys and values are Python values of their BTF types, both ways (docs/maps.md).

    Structs and unions are dicts, arrays lists, `char` arrays text, enumerations names, network
    order addresses and MAC addresses text. Bytes of the right size are taken for anything. Without BTF,
    keys and values of 1, 2, 4 or 8 bytes are unsigned numbers, others bytes. Values of per-CPU
    maps are lists with one for each CPU id. Raises as `Map` does, and `InputError` naming the field that
    is wrong.
    """

    def __init__(self, of: Map) -> None:
        self.map = of

    def __repr__(self) -> str:
        return f"{self.map!r}.typed"

    def lookup(self, key: Any, *, flags: int = 0) -> Any:
        """The value at `key`; raises `MapKeyError` when there is none."""
        types = self.map.types
        return types.decode_value(self.map.lookup(types.encode_key(key), flags=flags))

    def update(self, key: Any, value: Any, *, flags: int = 0) -> None:
        """Sets the value at `key`; flags as `Map.update`."""
        self.map.update(self.map.types.encode_key(key), self._value(value), flags=flags)

    def _value(self, value: Any) -> Any:
        of = self.map
        if of.holds_objects:
            return value
        if not of.per_cpu:
            return of.types.encode_value(value)
        if isinstance(value, (list, tuple)):
            return [of.types.encode_value(each, f"[{i}]") for i, each in enumerate(value)]
        return of.types.encode_value(value)

    def delete(self, key: Any) -> None:
        """Removes `key`."""
        self.map.delete(self.map.types.encode_key(key))

    def get(self, key: Any, default: Any = None) -> Any:
        """The value at `key`, or `default`."""
        try:
            return self.lookup(key)
        except KeyError:
            return default

    def __getitem__(self, key: Any) -> Any:
        return self.lookup(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update(key, value)

    def __delitem__(self, key: Any) -> None:
        self.delete(key)

    def __contains__(self, key: Any) -> bool:
        return self.map.types.encode_key(key) in self.map

    def __len__(self) -> int:
        return len(self.map)

    def __iter__(self) -> Iterator[Any]:
        return self.keys()

    def keys(self) -> Iterator[Any]:
        """All keys; those that are structs are dicts."""
        return (self.map.types.key.decode(key) for key in self.map)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """(key, value) pairs."""
        types = self.map.types
        return ((types.key.decode(k), types.decode_value(v)) for k, v in self.map.items())

    def values(self) -> Iterator[Any]:
        """All values."""
        return (value for _, value in self.items())

    def lookup_batch(self, keys: Iterable[Any] | None = None) -> list[Any]:
        """As `Map.lookup_batch`."""
        types = self.map.types
        if keys is None:
            found = self.map.lookup_batch()
            return [(types.key.decode(key), types.decode_value(value)) for key, value in found]
        values = self.map.lookup_batch([types.encode_key(key) for key in keys])
        return [None if value is None else types.decode_value(value) for value in values]

    def update_batch(self, pairs: Iterable[tuple[Any, Any]], *, flags: int = 0) -> int:
        """As `Map.update_batch`; nothing is set when one pair cannot be converted."""
        encode = self.map.types.encode_key
        return self.map.update_batch(
            [(encode(key), self._value(value)) for key, value in pairs], flags=flags
        )

    def delete_batch(self, keys: Iterable[Any]) -> int:
        """As `Map.delete_batch`."""
        return self.map.delete_batch([self.map.types.encode_key(key) for key in keys])
