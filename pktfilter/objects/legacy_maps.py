"""Map definitions from before BTF: an array of structs of 32-bit words in section `maps`.

All forms start with type, key size, value size, number of entries and flags. What follows, as the
tools that made such objects wrote it:

- 20 bytes: nothing;
- 24 bytes: the inner map's index for maps of maps, an id otherwise;
- 28 bytes: the same, then the NUMA node if the flags ask for one, the pinning otherwise;
- 36 bytes (iproute2): id, pinning, the inner map's id, and the slot of the outer map that this
  map fills.
"""

from __future__ import annotations

import struct

from ..errors import ObjectError
from .elf import ElfObject, Section, Symbol
from .kinds import MAP_IN_MAP, map_type_name
from .map_spec import BPF_F_NUMA_NODE, MapSpec

SIZES = (20, 24, 28, 36)
_LOADER_ID_FORM = 36


def is_legacy_section(name: str) -> bool:
    """Whether the section holds definitions of this kind."""
    return name == "maps" or name.startswith("maps/")


def read_legacy_maps(elf: ElfObject, section: Section) -> list[tuple[int, int, MapSpec]]:
    """The (start, end, definition) of every map; the size of one is deduced from the symbols."""
    symbols = sorted(
        (
            symbol
            for symbol in elf.symbols_of(section)
            if symbol.kind in ("object", "notype")
            and symbol.name
            and not symbol.name.startswith("LBB")
        ),
        key=lambda symbol: symbol.value,
    )
    if section.relocs:
        relo = section.relocs[0]
        raise _fail(elf, section, relo.symbol.name, "relocation in a legacy map definition")
    if not symbols:
        if section.size == 0:
            return []
        raise _fail(elf, section, None, "map definitions have no symbols")
    size = _definition_size(elf, section, symbols)
    rows = [struct.unpack_from(f"<{size // 4}I", section.data, symbol.value) for symbol in symbols]
    specs = [
        _make(symbol.name, section.name, row) for symbol, row in zip(symbols, rows, strict=True)
    ]
    _set_inner(elf, section, specs, rows)
    return [(s.value, s.value + size, spec) for s, spec in zip(symbols, specs, strict=True)]


def _fail(
    elf: ElfObject,
    section: Section,
    symbol: str | None,
    message: str,
    found: object = None,
    expected: object = None,
) -> ObjectError:
    return ObjectError(
        message,
        file=elf.path,
        section=section.name,
        symbol=symbol,
        found=found,
        expected=expected,
    )


def _definition_size(elf: ElfObject, section: Section, symbols: list[Symbol]) -> int:
    size = len(section.data) // len(symbols)
    expected = "20, 24, 28 or 36 bytes each"
    if size not in SIZES or size * len(symbols) != len(section.data):
        found = f"{len(section.data)} bytes for {len(symbols)} maps"
        raise _fail(elf, section, None, "map definitions have an unknown size", found, expected)
    for number, symbol in enumerate(symbols):
        if symbol.value != number * size or symbol.size not in (0, size):
            raise _fail(
                elf,
                section,
                symbol.name,
                "map definition is not where its neighbours put it",
                f"{symbol.size} bytes at offset {symbol.value}",
                f"{size} bytes at offset {number * size}",
            )
    return size


def _make(name: str, section: str, row: tuple[int, ...]) -> MapSpec:
    kind, key_size, value_size, max_entries, flags = row[:5]
    spec = MapSpec(
        type=map_type_name(kind),
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
        name=name,
        section=section,
    )
    if len(row) * 4 == _LOADER_ID_FORM:
        spec.pinning = row[6]
    elif len(row) == 7 and flags & BPF_F_NUMA_NODE:
        spec.numa_node = row[6]
    elif len(row) == 7:
        spec.pinning = row[6]
    return spec


def _set_inner(
    elf: ElfObject, section: Section, specs: list[MapSpec], rows: list[tuple[int, ...]]
) -> None:
    by_id: dict[int, int] = {}
    for number, row in enumerate(rows):
        if len(row) * 4 == _LOADER_ID_FORM and specs[number].type not in MAP_IN_MAP:
            by_id.setdefault(row[5], number)
    for number, (spec, row) in enumerate(zip(specs, rows, strict=True)):
        if spec.type not in MAP_IN_MAP:
            continue
        if len(row) == 5:
            continue  # for whoever loads the object to say
        if len(row) * 4 == _LOADER_ID_FORM:
            wanted = row[7]
            index = by_id.get(wanted)
        else:
            wanted = row[5]
            index = wanted if wanted < len(specs) and wanted != number else None
        if index is None or specs[index].type in MAP_IN_MAP:
            raise _fail(elf, section, spec.name, "inner map does not exist", f"number {wanted}")
        inner = specs[index]
        spec.inner = MapSpec(
            type=inner.type,
            key_size=inner.key_size,
            value_size=inner.value_size,
            max_entries=inner.max_entries,
            flags=inner.flags,
            name=f"{spec.name}.inner",
            section=section.name,
        )
        if len(row) * 4 == _LOADER_ID_FORM and rows[index][8] < spec.max_entries:
            spec.values[rows[index][8]] = inner.name
