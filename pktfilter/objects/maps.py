"""Map definitions in an object: BTF-defined (`.maps`), legacy (`maps`), and global data.

The BTF form follows libbpf's macros: `__uint` is a pointer to an array whose length is the value,
`__type` a pointer to the type, `__array` an array of pointers to inner maps or functions.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from ..errors import ObjectError
from .btf import Btf
from .btf_types import Array, DataSec, FuncProto, Member, Ptr, Struct, Var
from .elf import ElfObject, Section, reloc_name
from .kinds import MAP_IN_MAP, map_type_name
from .legacy_maps import is_legacy_section, read_legacy_maps
from .map_spec import BPF_F_RDONLY_PROG, MapSpec
from .spin_lock import spin_lock_of

BTF_SECTION = ".maps"
_READ_ONLY = ".rodata"
_MEMBER_LIMIT = 32
_DATA = (_READ_ONLY, ".data", ".bss")
_UINTS = {
    "key_size": "key_size",
    "value_size": "value_size",
    "max_entries": "max_entries",
    "map_flags": "flags",
    "numa_node": "numa_node",
    "pinning": "pinning",
    "map_extra": "map_extra",
}


@dataclass(slots=True)
class Place:
    """A map's bytes in its section, `start` to before `end`; data maps are addressed inside."""

    start: int
    end: int
    name: str
    is_data: bool


class MapTable:
    """All maps of an object, and which map a place in a section belongs to."""

    def __init__(self) -> None:
        self.specs: dict[str, MapSpec] = {}
        self.places: dict[int, list[Place]] = {}

    def at(self, section: int, offset: int) -> Place | None:
        """The map that holds byte `offset` of the section with this index."""
        places = self.places.get(section, [])
        index = bisect_right(places, offset, key=lambda place: place.start) - 1
        return places[index] if index >= 0 and offset < places[index].end else None


def read_maps(elf: ElfObject, btf: Btf | None) -> MapTable:
    """Every map of the object, in the order of sections and then of offsets."""
    table = MapTable()
    for section in elf.sections:
        found: list[tuple[Place, MapSpec]] = []
        if section.name == BTF_SECTION:
            found = _read_btf_maps(elf, section, btf)
        elif is_legacy_section(section.name):
            found = [
                (Place(start, end, spec.name, False), spec)
                for start, end, spec in read_legacy_maps(elf, section)
            ]
        elif _is_data(section):
            found = [_data_map(elf, section, btf)]
        for place, spec in found:
            if spec.name in table.specs:
                raise ObjectError(
                    "map is defined twice", file=elf.path, section=section.name, symbol=spec.name
                )
            for each in (spec, spec.inner):
                if each is not None:
                    each.btf = btf
                    each.size(each.max_entries)
            table.specs[spec.name] = spec
            table.places.setdefault(section.index, []).append(place)
    return table


def _is_data(section: Section) -> bool:
    named = any(section.name == name or section.name.startswith(name + ".") for name in _DATA)
    return named and section.size > 0 and section.kind in ("SHT_PROGBITS", "SHT_NOBITS")


def _data_map(elf: ElfObject, section: Section, btf: Btf | None) -> tuple[Place, MapSpec]:
    if section.relocs:
        relo = section.relocs[0]
        raise ObjectError(
            "pointers in initialised data are not supported",
            file=elf.path,
            section=section.name,
            place=f"offset {relo.offset}",
            found=f"{reloc_name(relo.kind)} against '{relo.symbol.name}'",
            hint="use indexes or arrays of characters instead of pointers",
        )
    read_only = section.name.startswith(_READ_ONLY)
    spec = MapSpec(
        type="array",
        key_size=4,
        value_size=section.size,
        max_entries=1,
        flags=BPF_F_RDONLY_PROG if read_only else 0,
        name=section.name,
        data=section.data if section.kind == "SHT_PROGBITS" else None,
        frozen=read_only,
        value_btf=(btf.find(section.name, DataSec) or 0) if btf else 0,
        section=section.name,
    )
    _find_lock(btf, spec)
    return Place(0, section.size, section.name, True), spec


def _find_lock(btf: Btf | None, spec: MapSpec) -> None:
    if btf is not None and spec.value_btf:
        spec.lock = spin_lock_of(
            btf, spec.type, spec.key_btf, spec.value_btf, restricted=spec.restricted_prog
        )


def _read_btf_maps(
    elf: ElfObject, section: Section, btf: Btf | None
) -> list[tuple[Place, MapSpec]]:
    if section.size == 0:
        return []
    datasec_id = btf.find(BTF_SECTION, DataSec) if btf else None
    if btf is None or datasec_id is None:
        raise ObjectError(
            "map definitions have no BTF",
            file=elf.path,
            section=section.name,
            hint="compile with clang -g",
        )
    datasec = btf.get(datasec_id)
    assert isinstance(datasec, DataSec)
    offsets = {s.name: s.value for s in elf.symbols_of(section) if s.name}
    starts: list[tuple[int, int, str, int]] = []
    for number, entry in enumerate(datasec.vars):
        var = btf.get(entry.type)
        if not isinstance(var, Var) or not var.name:
            raise btf.fail(f"section {BTF_SECTION} holds type {entry.type}, not a variable")
        # The symbol is what relocations refer to; the offset in BTF is 0 in some tools' output.
        start = offsets.get(var.name, entry.offset)
        if start >= section.size:
            raise ObjectError(
                "map lies outside its section",
                file=elf.path,
                section=section.name,
                symbol=var.name,
                found=f"offset {start}",
            )
        starts.append((start, number, var.name, var.type))
    starts.sort()
    ends = [start for start, *_ in starts[1:]] + [section.size]
    result = []
    for (start, _, name, type_id), end in zip(starts, ends, strict=True):
        spec = _Definition(btf, elf.path, name).parse(type_id, inner=False)
        result.append((Place(start, end, name, False), spec))
    return result


class _Definition:
    """Reads one BTF map definition; `name` is the variable's, for messages."""

    def __init__(self, btf: Btf, path: str, name: str) -> None:
        self.btf = btf
        self.path = path
        self.name = name

    def fail(self, message: str, found: object = None, expected: object = None) -> ObjectError:
        return ObjectError(
            message,
            file=self.path,
            section=BTF_SECTION,
            symbol=self.name,
            found=found,
            expected=expected,
        )

    def parse(self, type_id: int, *, inner: bool) -> MapSpec:
        record = self.btf.resolve(type_id)
        if not isinstance(record, Struct) or record.is_union:
            raise self.fail("map definition is not a struct", type(record).__name__.lower())
        if len(record.members) > _MEMBER_LIMIT:
            raise self.fail("map definition has too many members", len(record.members))
        spec = MapSpec(type="", name=f"{self.name}.inner" if inner else self.name)
        spec.section = BTF_SECTION
        seen_values = False
        for member in record.members:
            if member.name == "type":
                spec.type = map_type_name(self.uint(member))
            elif member.name in _UINTS:
                self.set_once(spec, _UINTS[member.name], self.uint(member))
            elif member.name in ("key", "value"):
                self.set_typed(spec, member)
            elif member.name == "values":
                if inner:
                    raise self.fail("inner map cannot have values")
                seen_values = True
                spec.inner = self.values(member)
            else:
                raise self.fail("map definition has an unknown member", f"'{member.name}'")
        if not spec.type:
            raise self.fail("map definition has no type")
        if spec.type == "prog_array" or spec.type in MAP_IN_MAP:
            spec.value_size = spec.value_size or 4
            if spec.type != "hash_of_maps":
                spec.key_size = spec.key_size or 4
        elif seen_values:
            raise self.fail("map of this type cannot have values", spec.type)
        _find_lock(self.btf, spec)
        return spec

    def uint(self, member: Member) -> int:
        pointer = self.btf.resolve(member.type)
        array = self.btf.resolve(pointer.type) if isinstance(pointer, Ptr) else None
        if not isinstance(array, Array):
            raise self.fail(f"member '{member.name}' is not written with __uint")
        return array.count

    def set_once(self, spec: MapSpec, attribute: str, value: int) -> None:
        known = getattr(spec, attribute)
        if known and known != value:
            raise self.fail(f"{attribute} is given twice", f"{known} and {value}")
        setattr(spec, attribute, value)

    def set_typed(self, spec: MapSpec, member: Member) -> None:
        pointer = self.btf.resolve(member.type)
        if not isinstance(pointer, Ptr):
            raise self.fail(f"member '{member.name}' is not written with __type")
        size = self.btf.sizeof(pointer.type)
        if size > 0xFFFFFFFF:
            raise self.fail(f"{member.name} is too large", f"{size} bytes")
        self.set_once(spec, f"{member.name}_size", size)
        setattr(spec, f"{member.name}_btf", pointer.type)

    def values(self, member: Member) -> MapSpec | None:
        array = self.btf.resolve(member.type)
        pointer = self.btf.resolve(array.type) if isinstance(array, Array) else None
        if not isinstance(pointer, Ptr):
            raise self.fail("member 'values' is not written with __array")
        target = self.btf.resolve(pointer.type)
        return None if isinstance(target, FuncProto) else self.parse(pointer.type, inner=True)
