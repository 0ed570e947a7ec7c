"""Where a C compiler would put the members of a struct, and what it takes to put them elsewhere.

The rules are those of the System V ABI for x86-64, that BPF shares: a bit field never crosses a unit of its
type's size, and unnamed bit fields, which make the padding here, do not align a struct.
"""

from __future__ import annotations

from dataclasses import dataclass

from .btf import DEPTH_LIMIT, POINTER_SIZE, Btf
from .btf_types import Array, BtfType, Enum, Float, Int, Member, Ptr, Struct

_PADDING = ((64, "long"), (32, "int"), (16, "short"))
#: Longer holes are arrays of bytes, so that a hostile size does not make a hostile text.
_BITS_LIMIT = 512
_SIZES = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Place:
    """A member with its bits (0 unless it is a bit field) and the padding lines before it."""

    member: Member
    bits: int
    before: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A struct as C: its members in order, padding after them, and whether it must be packed."""

    places: tuple[Place, ...]
    after: tuple[str, ...]
    packed: bool
    align: int


class Layouts:
    """The layouts of one BTF's structs; `align` is that of the C text made of them."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._known: dict[int, Layout] = {}
        self._pads = 0

    def align(self, type_id: int, depth: int = 0) -> int:
        """Alignment in bytes of a type; raises `ObjectError` for damaged ones."""
        if depth > 2 * DEPTH_LIMIT:
            raise self.btf.fail(f"type {type_id} is nested too deeply or contains itself")
        at = self.btf.resolve_id(type_id)
        record = self.btf.get(at)
        if isinstance(record, Array):
            return self.align(record.type, depth + 1)
        if isinstance(record, Struct):
            return self.of(at, depth + 1).align
        if isinstance(record, (Int, Enum, Float)):
            if record.size not in _SIZES:
                raise self.btf.fail(f"C has no type of {record.size} bytes", record.name)
            return record.size
        return POINTER_SIZE if isinstance(record, Ptr) else 1

    def of(self, type_id: int, depth: int = 0) -> Layout:
        """The layout of struct or union `type_id`."""
        known = self._known.get(type_id)
        if known is None:
            record = self.btf.get(type_id)
            assert isinstance(record, Struct)
            known = self._known[type_id] = self._make(record, depth)
        return known

    def _make(self, record: Struct, depth: int) -> Layout:
        rows = [(m, *self._bits(m), self.align(m.type, depth)) for m in record.members]
        packed = record.size % max([row[3] for row in rows], default=1) != 0
        for _, bits, start, align in rows:
            unit = align * 8
            packed |= start // unit != (start + bits - 1) // unit if bits else start % unit != 0
        end, places = 0, []
        for member, bits, start, align in rows:
            at = 0 if record.is_union else end
            unit = 8 if packed else align * 8
            natural = at if bits else -(-at // unit) * unit
            if bits and not packed and at // unit != (at + bits - 1) // unit:
                natural = -(-at // unit) * unit
            before = () if natural == start else self._padding(record, at, start)
            places.append(Place(member, bits, before))
            stop = start + (bits or self.btf.sizeof(member.type) * 8)
            end = max(end, stop) if record.is_union else stop
        align = 1 if packed else max([row[3] for row in rows], default=1)
        size = -(-end // (8 * align)) * align
        after: tuple[str, ...] = ()
        if size != record.size:
            after = (
                (self._pad(record.size),)
                if record.is_union
                else self._padding(record, end, record.size * 8)
            )
        return Layout(tuple(places), after, packed, align)

    def _bits(self, member: Member) -> tuple[int, int]:
        """Width of a bit field (0 if it is none) and bit offset; old ones have both in the type."""
        record: BtfType = self.btf.resolve(member.type)
        if member.bitfield_size or not isinstance(record, Int):
            return member.bitfield_size, member.bit_offset
        narrow = record.offset or record.bits != record.size * 8
        return (record.bits if narrow else 0), member.bit_offset + record.offset

    def _padding(self, record: Struct, at: int, to: int) -> tuple[str, ...]:
        if at > to or record.is_union:
            raise self.btf.fail("members overlap, or stand in another order than in C", record.name)
        lines = []
        while at < to:
            if at % 8 == 0 and to - at > _BITS_LIMIT:
                lines.append(self._pad((to - at) // 8))
                at = to - to % 8
                continue
            step, name = next(
                ((n, t) for n, t in _PADDING if at % n == 0 and to - at >= n),
                (min(8 - at % 8, to - at), "char"),
            )
            lines.append(f"{name} : {step};")
            at += step
        return tuple(lines)

    def _pad(self, size: int) -> str:
        self._pads += 1
        return f"unsigned char __pad{self._pads}[{size}];"
