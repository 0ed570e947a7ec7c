"""BTF: parsing `.BTF`, looking types up, following typedefs and qualifiers, sizes.

Input is hostile: every length, string offset and type id is checked, and cycles end in an error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ..errors import ObjectError
from .btf_types import (
    Array,
    BtfType,
    DataSec,
    DeclTag,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Modifier,
    Param,
    Ptr,
    SecVar,
    Struct,
    Var,
    Void,
)

# The kernel's own limits on what it loads.
SIZE_LIMIT = 16 << 20
TYPE_LIMIT = 0xFFFFF
DEPTH_LIMIT = 32

MAGIC = 0xEB9F
POINTER_SIZE = 8
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_LINKAGE = ("static", "global", "extern")
_MODIFIERS = {8: "typedef", 9: "volatile", 10: "const", 11: "restrict", 18: "type_tag"}

_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_PAIR = struct.Struct("<II")
_NAMED_I32 = struct.Struct("<Ii")
_TRIPLE = struct.Struct("<III")
# What follows the common part of a type: the record, and whether there are `vlen` of them.
_TAILS: dict[int, tuple[struct.Struct, bool]] = {
    1: (_U32, False),
    3: (_TRIPLE, False),
    4: (_TRIPLE, True),
    5: (_TRIPLE, True),
    6: (_NAMED_I32, True),
    13: (_PAIR, True),
    14: (_U32, False),
    15: (_TRIPLE, True),
    17: (_I32, False),
    19: (_TRIPLE, True),
}
_DATASEC, _KIND_MAX = 15, 19
_Rows = list[tuple[int, ...]]


class StringTable:
    """NUL-terminated strings by offset, each decoded once.

    The sum of what is decoded is bounded, since hostile offsets may point into one long string.
    """

    def __init__(self, data: bytes, fail: Callable[[str], ObjectError]) -> None:
        self._data = data
        self._fail = fail
        self._cache: dict[int, str] = {0: ""}
        self._budget = 8 * len(data)

    def __getitem__(self, at: int) -> str:
        known = self._cache.get(at)
        if known is not None:
            return known
        end = self._data.find(b"\0", at) if at < len(self._data) else -1
        if end < 0:
            raise self._fail(f"string offset {at} is outside the string table")
        self._budget -= end - at
        if self._budget < 0:
            raise self._fail("strings overlap too much")
        text = self._data[at:end].decode("utf-8", "replace")
        self._cache[at] = text
        return text


class Btf:
    """The types of one object; `types[id]`, with `void` at 0.

    `raw` are the section's bytes, completed by `complete_datasec` as BTF_LOAD of `bpf(2)` wants
    them.
    """

    def __init__(
        self,
        types: list[BtfType],
        strings: StringTable,
        path: str,
        raw: bytes = b"",
        datasecs_at: dict[int, int] | None = None,
    ) -> None:
        self.types = types
        self.strings = strings
        self.path = path
        self._raw = bytearray(raw)
        self.datasecs_at = datasecs_at or {}
        self._by_name: dict[str, list[int]] = {}
        for type_id, record in enumerate(types):
            if record.name:
                self._by_name.setdefault(record.name, []).append(type_id)

    def __len__(self) -> int:
        return len(self.types)

    @property
    def raw(self) -> bytes:
        """The bytes of the section, for `bpf(2)`."""
        return bytes(self._raw)

    def fail(self, message: str, symbol: str | None = None) -> ObjectError:
        """An `ObjectError` about this BTF, to be raised by the caller."""
        return ObjectError(message, file=self.path, section=".BTF", symbol=symbol or None)

    def get(self, type_id: int) -> BtfType:
        """The record with this id; raises `ObjectError` if there is none."""
        if 0 <= type_id < len(self.types):
            return self.types[type_id]
        raise self.fail(f"type id {type_id} does not exist")

    def find_all(self, name: str) -> Iterator[tuple[int, BtfType]]:
        """Every (id, type) with this name, in order of id."""
        for type_id in self._by_name.get(name, ()):
            yield type_id, self.types[type_id]

    def find(self, name: str, kind: type[BtfType]) -> int | None:
        """The id of the first type of class `kind` with this name."""
        for type_id, record in self.find_all(name):
            if isinstance(record, kind):
                return type_id
        return None

    def complete_datasec(self, type_id: int, size: int) -> None:
        """Give a DATASEC the size of its section and sort its variables, here and in `raw`."""
        record = self.get(type_id)
        if not isinstance(record, DataSec):
            raise TypeError(f"type {type_id} is not a DATASEC")
        record.size = size
        record.vars = tuple(sorted(record.vars, key=lambda var: var.offset))
        at = self.datasecs_at[type_id]
        body = b"".join(_TRIPLE.pack(v.type, v.offset, v.size) for v in record.vars)
        _U32.pack_into(self._raw, at + _TYPE.size - 4, size & 0xFFFFFFFF)
        self._raw[at + _TYPE.size : at + _TYPE.size + len(body)] = body

    def resolve_id(self, type_id: int) -> int:
        """The id behind typedefs, qualifiers and tags; raises `ObjectError` on a cycle."""
        for _ in range(DEPTH_LIMIT):
            record = self.get(type_id)
            if not isinstance(record, Modifier):
                return type_id
            type_id = record.type
        raise self.fail(f"type {type_id} is nested too deeply or refers to itself")

    def resolve(self, type_id: int) -> BtfType:
        """The type behind typedefs, qualifiers and tags."""
        return self.types[self.resolve_id(type_id)]

    def sizeof(self, type_id: int) -> int:
        """Size in bytes; raises `ObjectError` for a type without one (void, function, fwd)."""
        count = 1
        for _ in range(DEPTH_LIMIT):
            record = self.resolve(type_id)
            if isinstance(record, Array):
                count *= record.count
                type_id = record.type
            elif isinstance(record, Var):
                type_id = record.type
            elif isinstance(record, (Int, Struct, Enum, Float, DataSec)):
                return count * record.size
            elif isinstance(record, Ptr):
                return count * POINTER_SIZE
            else:
                kind = type(record).__name__.lower()
                raise self.fail(f"type {type_id} ({kind}) has no size", record.name)
        raise self.fail(f"type {type_id} is nested too deeply or refers to itself")


def parse_btf(data: bytes, path: str) -> Btf:
    """Parse the contents of a `.BTF` section, relocations applied."""

    def fail(message: str) -> ObjectError:
        return ObjectError(message, file=path, section=".BTF")

    if len(data) > SIZE_LIMIT:
        raise fail(f"BTF of {len(data)} bytes is larger than the kernel's limit of {SIZE_LIMIT}")
    if len(data) < _HEADER.size:
        raise fail("BTF is shorter than its header")
    magic, version, flags, header, type_at, type_len, str_at, str_len = _HEADER.unpack_from(data)
    if magic != MAGIC or version != 1 or flags != 0:
        raise fail(f"BTF header is not that of version 1 (magic {magic:#x}, version {version})")
    if header < _HEADER.size or header > len(data):
        raise fail(f"BTF header length {header} is wrong")
    body = data[header:]
    if type_at + type_len > len(body) or str_at + str_len > len(body):
        raise fail("BTF types or strings lie outside the section")
    strings = StringTable(body[str_at : str_at + str_len], fail)
    types, datasecs = _parse_types(body[type_at : type_at + type_len], strings, fail)
    starts = {type_id: header + type_at + at for type_id, at in datasecs.items()}
    btf = Btf(types, strings, path, data, starts)
    _check_references(btf)
    return btf


def _parse_types(
    data: bytes, strings: StringTable, fail: Callable[[str], ObjectError]
) -> tuple[list[BtfType], dict[int, int]]:
    """The types, and where in `data` each DATASEC starts."""
    types: list[BtfType] = [Void()]
    datasecs: dict[int, int] = {}
    at = 0
    while at < len(data):
        type_id = len(types)
        if type_id > TYPE_LIMIT:
            raise fail(f"more than {TYPE_LIMIT} types")
        if len(data) - at < _TYPE.size:
            raise fail(f"type {type_id} is cut off")
        name_at, info, size = _TYPE.unpack_from(data, at)
        if info >> 24 & 0x1F == _DATASEC:
            datasecs[type_id] = at
        at += _TYPE.size
        kind, vlen, flag = info >> 24 & 0x1F, info & 0xFFFF, bool(info >> 31)
        if not 1 <= kind <= _KIND_MAX:
            raise fail(f"type {type_id} has unknown kind {kind}")
        rows: _Rows = []
        if kind in _TAILS:
            record, repeated = _TAILS[kind]
            length = record.size * (vlen if repeated else 1)
            if length > len(data) - at:
                raise fail(f"type {type_id} is cut off")
            rows = list(record.iter_unpack(data[at : at + length]))
            at += length
        types.append(_make(kind, strings[name_at], size, vlen, flag, rows, strings))
    return types, datasecs


def _make(
    kind: int, name: str, size: int, vlen: int, flag: bool, rows: _Rows, strings: StringTable
) -> BtfType:
    """The record of one type; `size` is a type id for the kinds that refer to one."""
    if kind == 1:
        (word,) = rows[0]
        encoding = word >> 24 & 0xF
        return Int(
            name,
            size,
            word & 0xFF,
            word >> 16 & 0xFF,
            bool(encoding & 1),
            bool(encoding & 2),
            bool(encoding & 4),
        )
    if kind == 2:
        return Ptr(size)
    if kind == 3:
        element, index, count = rows[0]
        return Array(element, index, count)
    if kind in (4, 5):
        members = tuple(
            # With the flag, the offset word holds the bit field's size in its top byte.
            Member(strings[n], t, word & 0xFFFFFF, word >> 24)
            if flag
            else Member(strings[n], t, word, 0)
            for n, t, word in rows
        )
        return Struct(name, size, members, kind == 5)
    if kind == 6:
        mask = -1 if flag else 0xFFFFFFFF
        return Enum(name, size, flag, tuple((strings[n], value & mask) for n, value in rows))
    if kind == 7:
        return Fwd(name, flag)
    if kind in _MODIFIERS:
        return Modifier(_MODIFIERS[kind], size, name)
    if kind == 12:
        return Func(name, size, _LINKAGE[vlen] if vlen < 3 else "static")
    if kind == 13:
        return FuncProto(size, tuple(Param(strings[n], t) for n, t in rows))
    if kind == 14:
        return Var(name, size, _LINKAGE[rows[0][0]] if rows[0][0] < 3 else "static")
    if kind == 15:
        return DataSec(name, size, tuple(SecVar(*row) for row in rows))
    if kind == 16:
        return Float(name, size)
    if kind == 17:
        return DeclTag(name, size, rows[0][0])
    values = ((strings[n], low | high << 32) for n, low, high in rows)
    signed = tuple((n, v - (1 << 64) if flag and v >> 63 else v) for n, v in values)
    return Enum(name, size, flag, signed, wide=True)


def _check_references(btf: Btf) -> None:
    count = len(btf.types)
    for type_id, record in enumerate(btf.types):
        for target in _references(record):
            if target >= count:
                raise btf.fail(f"type {type_id} refers to type {target}, which does not exist")


def _references(record: BtfType) -> tuple[int, ...]:
    if isinstance(record, (Ptr, Modifier, Func, Var, DeclTag)):
        return (record.type,)
    if isinstance(record, Array):
        return (record.type, record.index_type)
    if isinstance(record, Struct):
        return tuple(member.type for member in record.members)
    if isinstance(record, FuncProto):
        return (record.type, *(param.type for param in record.params))
    if isinstance(record, DataSec):
        return tuple(var.type for var in record.vars)
    return ()
