"""A JSON-ready description of a parsed object, for `pktfilter inspect`."""

from __future__ import annotations

from typing import Any

from .btf import Btf
from .btf_types import BtfType, Enum, Float, Int, Ptr, Struct
from .kinds import helper_name
from .map_spec import MapSpec
from .spec import ObjectSpec, ProgramSpec


def describe(spec: ObjectSpec) -> dict[str, Any]:
    """Everything that `pktfilter inspect` shows: programs, maps, license, BTF, what was skipped."""
    return {
        "path": spec.path,
        "license": spec.license,
        "version": spec.version,
        "btf_bytes": spec.btf_size,
        "btf_types": len(spec.btf) - 1 if spec.btf else 0,
        "programs": [_program(program) for program in spec.programs.values()],
        "maps": [_map(map_spec, spec.btf) for map_spec in spec.maps.values()],
        "skipped": [
            {"name": item.name, "section": item.section, "reason": item.reason}
            for item in spec.skipped
        ],
    }


def _program(program: ProgramSpec) -> dict[str, Any]:
    return {
        "name": program.name,
        "section": program.section,
        "type": program.type,
        "frags": program.frags,
        "attach": program.attach or None,
        "insns": program.insn_count,
        "subprograms": [info.name for info in program.functions[1:]],
        "helpers": [helper_name(number) for number in program.helpers],
        "maps": list(program.map_refs.values()),
        "line_info": bool(program.lines),
        "core_relocations": len(program.core_relos),
    }


def _map(spec: MapSpec, btf: Btf | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": spec.name,
        "type": spec.type,
        "key_size": spec.key_size,
        "value_size": spec.value_size,
        "max_entries": spec.max_entries,
        "flags": spec.flags,
        "section": spec.section,
        "frozen": spec.frozen,
        "readonly_prog": spec.readonly_prog,
        "pinning": spec.pinning,
        "key_type": _type_name(btf, spec.key_btf),
        "value_type": _type_name(btf, spec.value_btf),
        "values": {str(slot): name for slot, name in sorted(spec.values.items())},
        "inner": _map(spec.inner, btf) if spec.inner else None,
    }
    return result


def _type_name(btf: Btf | None, type_id: int) -> str | None:
    """How C names the type: its typedef's name if it has one; None if unknown or without one."""
    if btf is None or type_id == 0:
        return None
    named = btf.get(type_id).name
    if named and not isinstance(btf.get(type_id), Struct):
        return named
    record: BtfType = btf.resolve(type_id)
    if isinstance(record, Struct) and record.name:
        return ("union " if record.is_union else "struct ") + record.name
    if isinstance(record, Enum) and record.name:
        return "enum " + record.name
    if isinstance(record, (Int, Float)):
        return record.name
    return "pointer" if isinstance(record, Ptr) else None
