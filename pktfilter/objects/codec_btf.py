"""Codecs of BTF types, and of keys and values whose type nobody knows.

BTF is hostile: what it says is bounded by the size of the key or value that it is about.
"""

from __future__ import annotations

from typing import Any

from ..errors import InputError, ObjectError
from . import codec as c
from .btf import Btf
from .btf_types import Array, BtfType, DataSec, Enum, Float, Int, Member, Modifier, Ptr, Struct, Var
from .codec_record import Part, Record

#: Structs in structs, arrays of arrays; C code has a handful.
DEPTH = 32
#: Parts of one value when it is shown in full: unions in unions can be far more than their bytes.
COST = 1 << 22

_NET = {"__be16": 2, "__be32": 4, "__be64": 8}
_ADDRESSES = {"in_addr": 4, "in6_addr": 16}
# Written by nobody but the kernel's own helpers; the lock of a value reads as zeros.
_HIDDEN = ("bpf_spin_lock", "bpf_timer")
_WORDS = (1, 2, 4, 8)


class Bytes(c.Codec):
    """Bytes that mean nothing in particular; a number stands for them in the machine's order."""

    def __init__(self, size: int) -> None:
        self.size, self.kind = size, f"{size} bytes"

    def pack(self, value: Any) -> bytes:
        if isinstance(value, int) and not isinstance(value, bool):
            try:
                return value.to_bytes(self.size, "little", signed=value < 0)
            except OverflowError:
                raise c.Mismatch("the number is out of range", c.shown(value), self.kind) from None
        raise c.Mismatch("the value is of the wrong type", c.shown(value), f"bytes ({self.kind})")


def untyped(size: int) -> c.Codec:
    """For `size` bytes of unknown type: a number where C has one of this size, else bytes."""
    if size in _WORDS:
        return c.Int(size, 8 * size, False, f"{size} bytes", lenient=True)
    return Bytes(size)


def codec_of(btf: Btf, type_id: int, size: int) -> c.Codec:
    """The codec of a type of `size` bytes.

    Raises `InputError` saying which part of the type has no Python counterpart.
    """
    try:
        made = _Builder(btf).make(type_id, 0, DEPTH)
    except ObjectError as error:
        raise _no_type(error.message) from error
    if made.size != size:
        raise _no_type(f"it has {made.size} bytes, and the map says {size}")
    if made.cost > COST:
        raise _no_type(f"it has more than {COST} parts")
    return made


def _no_type(reason: str) -> InputError:
    return InputError(
        "the type cannot be converted", found=reason, hint="bytes can be read and written"
    )


class _Builder:
    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._made: dict[int, c.Codec] = {}

    def make(self, type_id: int, bits: int, depth: int) -> c.Codec:
        """The codec of a type; of a bit field of `bits` bits when that is not 0."""
        if not depth:
            raise self.btf.fail("it is nested too deeply")
        if bits:
            return self._field(type_id, bits)
        if type_id not in self._made:
            self._made[type_id] = self._new(type_id, self._typedef(type_id), depth)
        return self._made[type_id]

    def _typedef(self, type_id: int) -> str:
        """The name of a network order type behind typedefs; else the first name there is."""
        first = ""
        for _ in range(DEPTH):
            record = self.btf.get(type_id)
            first = first or record.name
            if record.name in _NET:
                return record.name
            if not isinstance(record, Modifier):
                return first
            type_id = record.type
        raise self.btf.fail("it is nested too deeply")

    def _new(self, type_id: int, name: str, depth: int) -> c.Codec:
        record: BtfType = self.btf.resolve(type_id)
        if isinstance(record, Int):
            if name in _NET and _NET[name] == record.size:
                return c.Net(record.size, name)
            return self._int(record, record.bits, name)
        if isinstance(record, Enum):
            return self._enum(record, 8 * record.size)
        if isinstance(record, Float):
            if record.size not in (4, 8):
                raise self.btf.fail(f"a floating-point number of {record.size} bytes")
            return c.Float(record.size, record.name or "float")
        if isinstance(record, Ptr):
            return c.Pointer(8)
        if isinstance(record, Array):
            return self._array(record, depth)
        if isinstance(record, Struct):
            if _ADDRESSES.get(record.name) == record.size and not record.is_union:
                return c.Address(record.size)
            return self._record(record, depth)
        if isinstance(record, DataSec):
            return self._section(record, depth)
        if isinstance(record, Var):
            return self.make(record.type, 0, depth - 1)
        raise self.btf.fail(f"'{record.name}' ({type(record).__name__.lower()}) has no values")

    def _int(self, record: Int, bits: int, name: str) -> c.Scalar:
        if record.size not in (*_WORDS, 16) or not 0 < bits <= 8 * record.size:
            raise self.btf.fail(f"an integer of {record.size} bytes and {bits} bits")
        kind = name or f"{bits} bits"
        if record.bool:
            return c.Bool(record.size, bits, kind)
        return c.Int(record.size, bits, record.signed, kind)

    def _enum(self, record: Enum, bits: int) -> c.Enum:
        if record.size not in _WORDS or not 0 < bits <= 8 * record.size:
            raise self.btf.fail(f"an enumeration of {record.size} bytes and {bits} bits")
        kind = f"enum {record.name}" if record.name else "enum"
        # Older compilers cut the values of 8-byte enumerations: their names would mean other numbers.
        names = record.values if record.wide or record.size < 8 else ()
        return c.Enum(record.size, bits, record.signed, names, kind)

    def _field(self, type_id: int, bits: int) -> c.Scalar:
        record = self.btf.resolve(type_id)
        if isinstance(record, Int):
            return self._int(record, bits, f"{record.name}:{bits}")
        if isinstance(record, Enum):
            return self._enum(record, bits)
        raise self.btf.fail(f"a bit field of type '{record.name}'")

    def _array(self, record: Array, depth: int) -> c.Codec:
        inner = self.btf.resolve(record.type)
        if isinstance(inner, Int) and inner.name == "char" and inner.size == 1:
            return c.Chars(record.count)
        element = self.make(record.type, 0, depth - 1)
        # An element without bytes has no number that would mean anything.
        count = record.count if element.size else 0
        return c.Array(element, count, f"{element.kind}[{count}]")

    def _record(self, record: Struct, depth: int) -> Record:
        word = "union" if record.is_union else "struct"
        kind = f"{word} {record.name}" if record.name else word
        parts = []
        for member in record.members:
            part = self._part(record, member, depth)
            if part is not None:
                parts.append(part)
        return self._checked(Record(parts, record.size, kind, union=record.is_union))

    def _part(self, record: Struct, member: Member, depth: int) -> Part | None:
        target = self.btf.resolve(member.type)
        if target.name in _HIDDEN and isinstance(target, Struct):
            return None
        bits, bit = member.bitfield_size, member.bit_offset
        if not bits and isinstance(target, Int) and not target.bool:
            # How bit fields were described before they had a form of their own.
            narrow = target.bits < 8 * target.size
            bits, bit = (target.bits, bit + target.offset) if narrow else (0, bit)
        codec = self.make(member.type, bits, depth - 1)
        where = f"member '{member.name}' of '{record.name}'"
        if bit % 8 and not bits:
            raise self.btf.fail(f"{where} does not start at a byte")
        if bit + (bits or 8 * codec.size) > 8 * record.size:
            raise self.btf.fail(f"{where} lies outside")
        if not codec.size or not (member.name or isinstance(codec, Record)):
            return None
        return Part(member.name, codec, bit, bits)

    def _section(self, record: DataSec, depth: int) -> Record:
        parts = []
        for entry in record.vars:
            codec, name = self.make(entry.type, 0, depth - 1), self.btf.get(entry.type).name
            if not name:
                raise self.btf.fail(f"a variable of section '{record.name}' has no name")
            if codec.size > entry.size or entry.offset + entry.size > record.size:
                raise self.btf.fail(f"variable '{name}' lies outside")
            if codec.size:
                parts.append(Part(name, codec, 8 * entry.offset))
        return self._checked(Record(parts, record.size, f"section {record.name}", union=False))

    def _checked(self, made: Record) -> Record:
        if sum(len(part.names) for part in made.parts) != len(made.names):
            raise self.btf.fail(f"{made.kind} has two members of one name")
        if made.cost > COST:
            raise self.btf.fail(f"it has more than {COST} parts")
        return made
