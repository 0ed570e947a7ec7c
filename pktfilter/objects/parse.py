"""From the bytes of an object file to an `ObjectSpec`."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import ObjectError
from .btf import Btf, parse_btf
from .btf_ext import parse_btf_ext
from .btf_types import DataSec
from .elf import (
    R_BPF_64_32,
    R_BPF_64_ABS32,
    R_BPF_64_NODYLD32,
    R_BPF_NONE,
    ElfObject,
    Section,
    read_elf,
    reloc_name,
)
from .externs import read_externs
from .insns import INSN_SIZE
from .kinds import map_type_by_name
from .map_values import set_initial_values
from .maps import read_maps
from .relocate import Function, Linker
from .spec import ObjectSpec, Skipped

LICENSE_LIMIT = 128
_U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Use:
    """What a section's name says of its programs; `reason` is set if they are not offered."""

    frags: bool = False
    attach: str = ""
    reason: str = ""


def classify(section: str) -> Use:
    """The use of an executable section, by libbpf's names and older `xdp...` ones."""
    if section.startswith("?"):
        return Use(reason="the section's name begins with '?', which asks not to load it")
    if not section.startswith("xdp"):
        return Use(reason=f"section '{section}' is not one for XDP programs")
    frags = section.startswith("xdp.frags")
    rest = section[len("xdp.frags" if frags else "xdp") :]
    use = rest[1:].split("/")[0]
    # Before libbpf 1.0 these were written xdp_devmap/NAME; a bare xdp_devmap is just a name.
    secondary = rest[:1] == "/" or (rest[:1] == "_" and "/" in rest)
    return Use(frags, use if secondary and use in ("devmap", "cpumap") else "")


def parse_object(data: bytes, path: str) -> ObjectSpec:
    """Parse an object; raises `ObjectError` for anything that is damaged or unknown."""
    elf = read_elf(data, path)
    spec = ObjectSpec(path)
    spec.license = _license(elf)
    spec.version = _version(elf)
    spec.btf, ext = None, None
    btf_section, ext_section = elf.find(".BTF"), elf.find(".BTF.ext")
    if btf_section is not None:
        spec.btf = parse_btf(_relocated(elf, btf_section), path)
        spec.btf_size = len(btf_section.data)
        _complete_datasecs(elf, spec.btf)
        if ext_section is not None:
            ext = parse_btf_ext(_relocated(elf, ext_section), spec.btf, path)
    functions = _read_functions(elf)
    maps = read_maps(elf, spec.btf)
    spec.maps = maps.specs
    read_externs(elf, spec.btf, spec)
    linker = Linker(elf, functions, maps, spec.btf, ext)
    linker.kconfig = {var.name: var.offset for var in spec.kconfig.values()}
    _link_programs(elf, functions, linker, spec)

    def program_at(section: Section, offset: int) -> str | None:
        function = linker.by_start.get((section.index, offset // INSN_SIZE))
        if function is None or offset % INSN_SIZE:
            return None
        known = spec.programs.get(function.name)
        if known is not None and known.section == section.name:
            return known.name
        return "" if any(item.name == function.name for item in spec.skipped) else None

    set_initial_values(elf, spec.btf, maps, program_at)
    _mark_unused(spec)
    if not functions:
        raise ObjectError(
            "object holds no programs",
            file=path,
            expected="functions in a section 'xdp' or 'xdp/NAME'",
        )
    return spec


def _mark_unused(spec: ObjectSpec) -> None:
    """Maps that only skipped programs may need do not stand in the way of the others."""
    needed = {name for program in spec.programs.values() for name in program.map_refs.values()}
    for name in list(needed):
        needed.update(spec.maps[name].values.values())
    for name, map_spec in spec.maps.items():
        row = map_type_by_name(map_spec.type)
        map_spec.unused = (
            bool(spec.skipped) and name not in needed and (row is None or not row.supported)
        )


def _license(elf: ElfObject) -> str:
    section = elf.find("license")
    if section is None:
        return ""
    if len(section.data) > LICENSE_LIMIT:
        raise ObjectError(
            "license is too long",
            file=elf.path,
            section="license",
            found=f"{len(section.data)} bytes",
            expected=f"at most {LICENSE_LIMIT}",
        )
    return section.data.split(b"\0", 1)[0].decode("utf-8", "replace")


def _version(elf: ElfObject) -> int | None:
    section = elf.find("version")
    if section is None or len(section.data) != _U32.size:
        return None
    return int(_U32.unpack(section.data)[0])


def _relocated(elf: ElfObject, section: Section) -> bytes:
    """The section's bytes with the offsets filled in that clang leaves to the linker.

    Before clang 13 the relocations had other types, and some offsets are filled in already."""
    data = bytearray(section.data)
    for relo in section.relocs:
        old = relo.kind in (R_BPF_NONE, R_BPF_64_32)
        if not old and relo.kind not in (R_BPF_64_ABS32, R_BPF_64_NODYLD32):
            problem = f"relocation {reloc_name(relo.kind)} is not supported in BTF"
        elif relo.offset > len(data) - _U32.size:
            problem = f"relocation at offset {relo.offset} lies outside the section"
        else:
            word = _U32.unpack_from(data, relo.offset)[0]
            if not (old and word):
                word += relo.symbol.value
            _U32.pack_into(data, relo.offset, word & 0xFFFFFFFF)
            continue
        raise ObjectError(problem, file=elf.path, section=section.name, symbol=relo.symbol.name)
    return bytes(data)


def _complete_datasecs(elf: ElfObject, btf: Btf) -> None:
    sizes = {section.name: section.size for section in elf.sections}
    for type_id, record in enumerate(btf.types):
        if isinstance(record, DataSec) and record.size == 0:
            btf.complete_datasec(type_id, sizes.get(record.name, 0))


def _read_functions(elf: ElfObject) -> list[Function]:
    """The functions of all executable sections, sorted by section and start."""
    functions: list[Function] = []
    for section in elf.sections:
        if section.executable and section.size:
            if section.kind != "SHT_PROGBITS" or section.size % INSN_SIZE:
                raise ObjectError(
                    "section is not made of whole instructions",
                    file=elf.path,
                    section=section.name,
                    found=f"{section.size} bytes",
                    expected=f"a multiple of {INSN_SIZE}",
                )
            functions += _functions_of(elf, section)
    return functions


def _functions_of(elf: ElfObject, section: Section) -> list[Function]:
    symbols = elf.symbols_of(section)
    # Old compilers and assemblers leave functions untyped; local untyped symbols are labels.
    found = [s for s in symbols if s.kind == "func"] or [
        s for s in symbols if s.kind == "notype" and s.is_global
    ]
    found.sort(key=lambda symbol: symbol.value)
    if not found:
        raise ObjectError(
            "section holds instructions but no function symbol",
            file=elf.path,
            section=section.name,
        )
    functions = []
    for number, symbol in enumerate(found):
        limit = found[number + 1].value if number + 1 < len(found) else section.size
        end = symbol.value + symbol.size if symbol.size else limit
        if (
            symbol.value % INSN_SIZE
            or end % INSN_SIZE
            or not symbol.value < end <= limit <= section.size
            or not symbol.name
        ):
            raise ObjectError(
                "function does not lie within its section, or overlaps the next",
                file=elf.path,
                section=section.name,
                symbol=symbol.name,
                found=f"offset {symbol.value}, {symbol.size} bytes",
            )
        functions.append(
            Function(
                symbol.name,
                section.index,
                symbol.value // INSN_SIZE,
                end // INSN_SIZE,
                symbol.is_global,
            )
        )
    return functions


def _link_programs(
    elf: ElfObject, functions: list[Function], linker: Linker, spec: ObjectSpec
) -> None:
    mains: list[tuple[Function, Use]] = []
    static: list[Function] = []
    for function in functions:
        section = elf.sections[function.section].name
        if section == ".text":
            continue
        use = classify(section)
        if use.reason:
            spec.skipped.append(Skipped(function.name, section, use.reason))
        elif function.is_global:
            mains.append((function, use))
        else:
            static.append(function)
    for function, use in mains:
        if function.name in spec.programs:
            raise ObjectError(
                "program is defined twice",
                file=elf.path,
                section=elf.sections[function.section].name,
                symbol=function.name,
            )
        program = linker.link(function)
        program.frags, program.attach = use.frags, use.attach
        program.license = spec.license
        spec.programs[function.name] = program
    for function in static:
        if function not in linker.linked:
            section = elf.sections[function.section].name
            reason = "it is static and not called; a program must be a global function"
            spec.skipped.append(Skipped(function.name, section, reason))
    if not mains and not spec.skipped:
        for function in functions:
            spec.skipped.append(
                Skipped(function.name, ".text", "it is a subprogram; no program calls it")
            )
