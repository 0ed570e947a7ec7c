"""Where the values of a map have a `struct bpf_spin_lock`, from their BTF, by Linux 6.18's rules."""

from __future__ import annotations

from .btf import DEPTH_LIMIT, Btf
from .btf_types import Array, DataSec, Int, Struct, Var

_NAME = "bpf_spin_lock"
_SIZE = 4
_TYPES = ("hash", "array")


def spin_lock_of(
    btf: Btf, map_type: str, key_type: int, value_type: int, *, restricted: bool
) -> int | None:
    """Byte offset of the only lock in the value; None where Linux knows of none.

    Measured: the lock is a member of a struct, of a struct within, or of an array of one element,
    or a variable of a data section; not behind a typedef or qualifier, in a union, or the value
    itself. It takes 4 bytes at a multiple of 4. Values with several have none, as have those of
    other types than hash and array, of maps that programs may only read or only write
    (`restricted`), and of maps whose key has no type (an array's is a 32-bit integer).
    """
    value = btf.resolve(value_type)
    if map_type not in _TYPES or restricted or not isinstance(value, (Struct, DataSec)):
        return None
    if isinstance(value, Struct):
        key = btf.resolve(key_type)
        if not key_type or (map_type == "array" and not (isinstance(key, Int) and key.size == 4)):
            return None
    found = _Search(btf).inside(btf.resolve_id(value_type), 0)
    if len(found) != 1 or found[0] % _SIZE:
        return None
    return found[0]


class _Search:
    """At most two offsets of each type are kept, and each type is looked at once."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.known: dict[int, tuple[int, ...]] = {}

    def inside(self, type_id: int, depth: int) -> tuple[int, ...]:
        """Offsets of locks in a struct or data section."""
        if type_id in self.known or depth > DEPTH_LIMIT:
            return self.known.get(type_id, ())
        self.known[type_id] = ()  # a struct cannot hold itself; damaged BTF may say so
        record = self.btf.get(type_id)
        parts: list[tuple[int, int]] = []
        if isinstance(record, DataSec):
            for entry in record.vars:
                var = self.btf.get(entry.type)
                if isinstance(var, Var):
                    parts.append((entry.offset, var.type))
        elif isinstance(record, Struct) and not record.is_union:
            parts = [(m.bit_offset // 8, m.type) for m in record.members if not m.bitfield_size]
        found: list[int] = []
        for offset, part in parts:
            found += [offset + at for at in self.of(part, depth + 1)]
            if len(found) > 1:
                break
        self.known[type_id] = tuple(found[:2])
        return self.known[type_id]

    def of(self, type_id: int, depth: int) -> tuple[int, ...]:
        """Offsets of locks in what one member or variable holds."""
        count = 1
        for _ in range(DEPTH_LIMIT):
            array = self.btf.get(type_id)
            if not isinstance(array, Array):
                break
            count *= array.count
            type_id = array.type
        record = self.btf.get(type_id)
        if count == 0 or not isinstance(record, Struct) or record.is_union:
            return ()
        if record.name == _NAME and record.size == _SIZE:
            found: tuple[int, ...] = (0,)
        else:
            found = self.inside(type_id, depth)
        return found if count == 1 else found * 2
