"""Static initialisers of prog arrays and maps of maps: relocations inside `.maps`."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ObjectError
from .btf import Btf
from .btf_types import Struct, Var
from .elf import R_BPF_64_ABS64, ElfObject, Reloc, Section, reloc_name
from .maps import BTF_SECTION, MapTable

_POINTER = 8

# Name of the program that starts at a byte offset of a section, "" if it is one that was skipped,
# None if there is none.
ProgramNamer = Callable[[Section, int], "str | None"]


def set_initial_values(
    elf: ElfObject, btf: Btf | None, table: MapTable, name_program: ProgramNamer
) -> None:
    """Fill `MapSpec.values` of the object's maps; raises `ObjectError` naming the map."""
    for section in elf.sections:
        if section.name != BTF_SECTION or btf is None:
            continue
        first = {name: _values_offset(btf, name) for name in table.specs}
        for relo in section.relocs:
            _apply(elf, table, section, relo, first, name_program)


def _apply(
    elf: ElfObject,
    table: MapTable,
    section: Section,
    relo: Reloc,
    first: dict[str, int | None],
    name_program: ProgramNamer,
) -> None:
    place = table.at(section.index, relo.offset)
    name = place.name if place else None

    def fail(message: str, found: str) -> ObjectError:
        return ObjectError(message, file=elf.path, section=section.name, symbol=name, found=found)

    if relo.kind != R_BPF_64_ABS64:
        raise fail("relocation is not supported in map definitions", reloc_name(relo.kind))
    values_at = first.get(place.name) if place else None
    if place is None or values_at is None or relo.offset < place.start + values_at:
        raise fail("initialiser is outside the map's values", f"offset {relo.offset}")
    slot, rest = divmod(relo.offset - place.start - values_at, _POINTER)
    if rest or relo.offset + _POINTER > place.end:
        raise fail("initialiser is not at a slot", f"offset {relo.offset}")
    spec = table.specs[place.name]
    addend = int.from_bytes(section.data[relo.offset : relo.offset + _POINTER], "little")
    offset = relo.symbol.value + addend
    target = elf.section_of(relo.symbol)
    if target is None:
        raise fail("initialiser is not defined in the object", f"'{relo.symbol.name}'")
    if spec.type == "prog_array":
        program = name_program(target, offset)
        if program is None:
            raise fail("prog array slot is not an XDP program", f"'{relo.symbol.name}'")
        if program:
            spec.values[slot] = program
        return
    inner = table.at(target.index, offset)
    if inner is None or inner.is_data or inner.start != offset or inner.name == spec.name:
        raise fail("slot of a map of maps is not a map", f"'{relo.symbol.name}'")
    spec.values[slot] = inner.name


def _values_offset(btf: Btf, name: str) -> int | None:
    """Byte offset of the member `values` in the definition of map `name`."""
    var_id = btf.find(name, Var)
    var = btf.get(var_id) if var_id is not None else None
    record = btf.resolve(var.type) if isinstance(var, Var) else None
    if isinstance(record, Struct):
        for member in record.members:
            if member.name == "values":
                return member.bit_offset // 8
    return None
