"""Hand-made BTF of an object: map definitions and functions (kernel documentation, "BTF").

Map definitions are those of libbpf's macros: `__uint` is a pointer to an array whose length is the
value, `__array` a last member of pointers without a length. Kernels want a record of each function
(`.BTF.ext`) before they take the address of a callback.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from .._core.tables import MAP_TYPES
from ..objects.btf import MAGIC
from ..objects.map_spec import MapSpec

_INT, _PTR, _ARRAY, _STRUCT, _FUNC, _FUNC_PROTO, _VAR, _DATASEC = 1, 2, 3, 4, 12, 13, 14, 15
_STATIC, _GLOBAL = 0, 1
_POINTER = 8
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_TRIPLE = struct.Struct("<III")
_PAIR = struct.Struct("<II")
_VERSION = 1
_TYPE_NUMBERS = {row.name: row.number for row in MAP_TYPES}
# The members that say something only when they are not 0, and what they say.
_OPTIONAL = {
    "map_flags": "flags",
    "numa_node": "numa_node",
    "pinning": "pinning",
    "map_extra": "map_extra",
}


class Strings:
    """A table of NUL-terminated strings, each held once; offset 0 is the empty one."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._known: dict[str, int] = {"": 0}

    def add(self, text: str) -> int:
        """The offset of `text`."""
        if text not in self._known:
            self._known[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._known[text]


class BtfWriter:
    """Collects types; ids are given from 1 on in order."""

    def __init__(self) -> None:
        self._strings = Strings()
        self._types = bytearray()
        self._count = 0
        self._known: dict[tuple[int, int], int] = {}  # (element, count) to the pointer to an array
        self._char = self._add("char", _INT, 0, 1, struct.pack("<I", 1 << 24 | 8))
        self._int = self._add("int", _INT, 0, 4, struct.pack("<I", 1 << 24 | 32))
        self._proto = self._add("", _FUNC_PROTO, 0, self._int)
        self._rows: list[tuple[int, int, int]] = []
        self._functions: dict[str, list[tuple[int, int]]] = {}

    def map(self, spec: MapSpec, offset: int, slots: int) -> int:
        """Define a map at `offset` of `.maps`, `slots` initialisers included; its size in bytes."""
        struct_id, members = self._definition(spec)
        size = members * _POINTER + slots * _POINTER
        var = self._add(spec.name, _VAR, 0, struct_id, struct.pack("<I", _GLOBAL))
        self._rows.append((var, offset, size))
        return size

    def values_offset(self, spec: MapSpec) -> int:
        """Where in its definition the first slot of the map lies."""
        return len(_numbers(spec)) * _POINTER

    def function(self, section: str, offset: int, name: str, is_global: bool) -> None:
        """Record a function that starts at a byte offset of a section."""
        # Symbols may be called as C cannot; nothing depends on the name here.
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        linkage = _GLOBAL if is_global else _STATIC
        func = self._add(plain, _FUNC, linkage, self._proto)
        self._functions.setdefault(section, []).append((offset, func))

    def build(self, maps_section: str) -> tuple[bytes, bytes]:
        """The contents of `.BTF` and `.BTF.ext`."""
        if self._rows:
            size = max(offset + length for _, offset, length in self._rows)
            body = b"".join(_TRIPLE.pack(*row) for row in self._rows)
            self._add(maps_section, _DATASEC, len(self._rows), size, body)
        records = bytearray(struct.pack("<I", _PAIR.size))
        for section, functions in self._functions.items():
            records += _PAIR.pack(self._strings.add(section), len(functions))
            records += b"".join(_PAIR.pack(*function) for function in sorted(functions))
        types, strings = len(self._types), len(self._strings.data)
        size = _HEADER.size
        header = _HEADER.pack(MAGIC, _VERSION, 0, size, 0, types, types, strings)
        # Line records follow the functions' in the format; there are none.
        ext = _HEADER.pack(MAGIC, _VERSION, 0, size, 0, len(records), len(records), 0)
        return header + self._types + self._strings.data, ext + records

    def _add(self, name: str, kind: int, low: int, size: int, tail: bytes = b"") -> int:
        """Append a type; `low` is its number of members or its linkage, `size` a size or a type."""
        self._types += _TYPE.pack(self._strings.add(name), kind << 24 | low, size) + tail
        self._count += 1
        return self._count

    def _array(self, element: int, count: int) -> int:
        return self._add("", _ARRAY, 0, 0, _TRIPLE.pack(element, self._int, count))

    def _uint(self, value: int) -> int:
        key = (self._char, value)
        if key not in self._known:
            self._known[key] = self._add("", _PTR, 0, self._array(self._char, value))
        return self._known[key]

    def _key(self, spec: MapSpec) -> int:
        """A type of the key's size; Linux wants an integer for arrays."""
        return self._int if spec.type == "array" else self._array(self._char, spec.key_size)

    def _locked(self, spec: MapSpec, offset: int) -> int:
        """The struct of a value of which only the lock is known."""
        word = _TRIPLE.pack(self._strings.add("val"), self._int, 0)
        lock = self._add("bpf_spin_lock", _STRUCT, 1, 4, word)
        rest = spec.value_size - offset - 4
        parts = [("before", offset, 0), ("after", rest, offset + 4)]
        members = [
            (name, self._array(self._char, size), at) for name, size, at in parts if size
        ] + [("lock", lock, offset)]
        body = b"".join(
            _TRIPLE.pack(self._strings.add(name), type_id, at * 8)
            for name, type_id, at in sorted(members, key=lambda member: member[2])
        )
        return self._add("locked", _STRUCT, len(members), spec.value_size, body)

    def _definition(self, spec: MapSpec) -> tuple[int, int]:
        """The struct that defines the map, and its number of members with a size."""
        numbers = _numbers(spec)
        members = [(name, self._uint(value)) for name, value in numbers.items()]
        if spec.lock is not None:
            types = {"key_size": self._key(spec), "value_size": self._locked(spec, spec.lock)}
            members = [
                (name.removesuffix("_size"), self._add("", _PTR, 0, types[name]))
                if name in types
                else (name, type_id)
                for name, type_id in members
            ]
        if spec.inner is not None:
            target, _ = self._definition(spec.inner)
            members.append(("values", self._array(self._add("", _PTR, 0, target), 0)))
        elif spec.type == "prog_array":
            members.append(("values", self._array(self._add("", _PTR, 0, self._proto), 0)))
        body = b"".join(
            _TRIPLE.pack(self._strings.add(name), type_id, at * _POINTER * 8)
            for at, (name, type_id) in enumerate(members)
        )
        size = len(numbers) * _POINTER
        return self._add("", _STRUCT, len(members), size, body), len(numbers)


def _numbers(spec: MapSpec) -> Mapping[str, int]:
    """The members of a definition that hold numbers."""
    numbers = {
        "type": _TYPE_NUMBERS[spec.type],
        "key_size": spec.key_size,
        "value_size": spec.value_size,
        "max_entries": spec.max_entries,
    }
    optional = {name: getattr(spec, attribute) for name, attribute in _OPTIONAL.items()}
    return numbers | {name: value for name, value in optional.items() if value}
