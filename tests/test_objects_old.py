"""Objects of older compilers and loaders."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import pktfilter as pf
from pktfilter import InputError, MapSpec
from pktfilter.objects import ObjectSpec

FIXTURES = Path(__file__).parent / "objects"


@pytest.mark.parametrize("name", ["maps.o", "subprogs.o", "sections.o", "typed_maps.o"])
@pytest.mark.parametrize("filled", [False, True])
def test_types_of_older_compilers_are_the_same(name: str, filled: bool) -> None:
    """Before clang 13 the offsets in .BTF had relocations of type NONE (global symbols, filled in or not) and
    64_32 (local ones): what comes out is what today's give."""
    data = bytearray((FIXTURES / name).read_bytes())
    elf, changed = ELFFile(io.BytesIO(bytes(data))), 0
    symbols = elf.get_section_by_name(".symtab")
    for relocs in (".rel.BTF", ".rel.BTF.ext"):
        section = elf.get_section_by_name(relocs)
        target = elf.get_section_by_name(relocs.removeprefix(".rel"))
        for number, relo in enumerate(section.iter_relocations()):
            symbol = symbols.get_symbol(relo["r_info_sym"])
            local = symbol["st_info"]["bind"] == "STB_LOCAL"
            kind = 10 if local and relocs == ".rel.BTF" else 0
            at = section["sh_offset"] + number * 16 + 8
            struct.pack_into("<I", data, at, kind)
            place = target["sh_offset"] + relo["r_offset"]
            (word,) = struct.unpack_from("<I", data, place)
            if filled and not word:
                struct.pack_into("<I", data, place, symbol["st_value"])
            changed += 1
    assert changed > 3
    old, new = ObjectSpec.from_bytes(bytes(data), name=name), ObjectSpec.from_file(FIXTURES / name)
    assert old.maps == new.maps
    for key, program in new.programs.items():
        assert old.programs[key].insns == program.insns
        assert old.programs[key].lines == program.lines


def test_a_legacy_outer_map_without_an_inner_one_is_given_one_at_load() -> None:
    """As with definitions by BTF: two programs of the survey leave it to their loader."""
    data = bytearray((FIXTURES / "legacy20.o").read_bytes())
    start = ELFFile(io.BytesIO(bytes(data))).get_section_by_name("maps")["sh_offset"]
    outer = bytes.fromhex("05000000")  # percpu_hash becomes array_of_maps, of ids
    at = data.index(outer, start)
    struct.pack_into("<III", data, at, 12, 4, 4)
    spec = ObjectSpec.from_bytes(bytes(data), name="legacy20.o")
    assert spec.maps["outer"].type == "array_of_maps" and spec.maps["outer"].inner is None
    with pytest.raises(InputError, match="no inner map; give one with load"):
        pf.load(spec)
    obj = pf.load(
        ObjectSpec.from_bytes(bytes(data), name="legacy20.o"),
        inner={"outer": MapSpec("array", 4, 8, 2)},
        verify=False,
    )
    assert obj.maps["outer"].spec.inner is not None
