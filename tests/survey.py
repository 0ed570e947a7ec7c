"""The rows of the survey of public XDP programs, and which of them an object file uses.

The survey counted what 389 XDP programs in public objects use: map types, helpers, kernel functions,
features. :func:`uses` computes the same of an object from its instructions, maps and BTF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pktfilter.objects import MapSpec, ObjectSpec, ProgramSpec
from pktfilter.objects.kinds import (
    KFUNC_FIRST,
    helper_by_number,
    helper_name,
    kfunc_by_name,
    map_type_by_name,
)

MAP_TYPES = (
    "percpu_array", "array", "lru_hash", "percpu_hash", "hash", "prog_array", "perf_event_array",
    "cpumap", "devmap", "hash_of_maps", "lpm_trie", "xskmap", "array_of_maps", "devmap_hash",
    "ringbuf", "queue", "stack", "bloom_filter",
)  # fmt: skip
HELPERS = (
    "map_lookup_elem", "redirect_map", "map_update_elem", "tail_call", "perf_event_output",
    "get_smp_processor_id", "jiffies64", "csum_diff", "fib_lookup", "xdp_adjust_head",
    "xdp_adjust_meta", "get_prandom_u32", "xdp_adjust_tail", "map_delete_elem", "ktime_get_ns",
    "redirect", "check_mtu", "trace_printk", "xdp_load_bytes", "xdp_store_bytes",
    "xdp_get_buff_len", "skc_lookup_tcp", "sk_lookup_tcp", "sk_lookup_udp", "sk_release",
    "tcp_check_syncookie", "tcp_gen_syncookie", "tcp_raw_gen_syncookie_ipv4",
    "tcp_raw_gen_syncookie_ipv6", "tcp_raw_check_syncookie_ipv4", "tcp_raw_check_syncookie_ipv6",
    "loop", "spin_lock", "spin_unlock", "ktime_get_coarse_ns", "ktime_get_tai_ns", "dynptr_write",
)  # fmt: skip
KFUNCS = (
    "dynptr_from_xdp", "dynptr_slice", "dynptr_slice_rdwr", "xdp_metadata_rx_timestamp",
    "xdp_metadata_rx_hash", "xdp_metadata_rx_vlan_tag", "xdp_ct_lookup", "xdp_ct_alloc",
    "ct_insert_entry", "ct_release",
)  # fmt: skip
FEATURES = (
    "BTF", "32-bit jumps", "BTF-defined maps", "legacy maps", "global data", "atomic add",
    "tail calls", "devmap secondary program", "cpumap secondary program", "CO-RE relocations",
    "xdp.frags", "subprogram calls", "kfuncs", "global subprograms", "callbacks",
    "max_entries set before load", "inner map set before load", "LRU per-CPU hash as inner map",
)  # fmt: skip
ROWS = frozenset(
    [f"map {name}" for name in MAP_TYPES]
    + [f"helper {name}" for name in HELPERS]
    + [f"kfunc {name}" for name in KFUNCS]
    + [f"feature {name}" for name in FEATURES]
)

_INSN = struct.Struct("<BBhi")
_JMP32, _ATOMIC_W, _ATOMIC_DW, _LD_IMM64, _CALL = 0x06, 0xC3, 0xDB, 0x18, 0x85
_ADD, _ADD_FETCH = 0, 1
_LOCAL, _KFUNC, _FUNC = 1, 2, 4
_MAPS_OF_MAPS = ("array_of_maps", "hash_of_maps")
_UNSIZED = ("perf_event_array",)  # 0 entries are a slot for each CPU there


def supported(row: str) -> bool:
    """Whether the engine's tables say that what the row names can be run; features always can."""
    kind, name = row.split(" ", 1)
    if kind == "map":
        found = map_type_by_name(name)
        return found is not None and found.supported
    if kind == "kfunc":
        called = kfunc_by_name(f"bpf_{name}")
        return called is not None and called.supported
    if kind == "helper":
        numbers = (number for number in range(1, KFUNC_FIRST) if helper_name(number) == name)
        row_of = helper_by_number(next(numbers, 0))
        return row_of is not None and row_of.supported
    return True


def _of_map(spec: MapSpec) -> Iterator[str]:
    yield f"map {spec.type}"
    if spec.section == "maps":
        yield "feature legacy maps"
    if spec.section == ".maps":
        yield "feature BTF-defined maps"
    if spec.section.startswith((".bss", ".data", ".rodata")):
        yield "feature global data"
    if spec.max_entries == 0 and spec.type not in _UNSIZED:
        yield "feature max_entries set before load"
    if spec.type in _MAPS_OF_MAPS and spec.inner is None:
        yield "feature inner map set before load"
    if spec.inner is not None:
        yield f"map {spec.inner.type}"
        if spec.inner.type == "lru_percpu_hash":
            yield "feature LRU per-CPU hash as inner map"


def _of_insns(insns: bytes) -> Iterator[str]:
    wide = False
    for opcode, regs, _, imm in _INSN.iter_unpack(insns):
        if wide:
            wide = False
            continue
        source = regs >> 4
        wide = opcode == _LD_IMM64
        if wide and source == _FUNC:
            yield "feature callbacks"
        if opcode & 7 == _JMP32 and opcode >> 4 != 0:  # 0x06 is gotol, which is no comparison
            yield "feature 32-bit jumps"
        if opcode in (_ATOMIC_W, _ATOMIC_DW) and imm in (_ADD, _ADD_FETCH):
            yield "feature atomic add"
        if opcode != _CALL:
            continue
        if source == _LOCAL:
            yield "feature subprogram calls"
        elif source == _KFUNC:
            yield "feature kfuncs"
            yield f"kfunc {helper_name(imm)}"
        else:
            yield f"helper {helper_name(imm)}"


def _of_program(program: ProgramSpec) -> Iterator[str]:
    yield from _of_insns(program.insns)
    if program.attach:
        yield f"feature {program.attach} secondary program"
    if program.core_relos:
        yield "feature CO-RE relocations"
    if program.frags:
        yield "feature xdp.frags"
    if program.globals:
        yield "feature global subprograms"


def uses(spec: ObjectSpec) -> frozenset[str]:
    """What the object uses, in the words of the rows; things that are no row too."""
    found: set[str] = set()
    if spec.btf is not None:
        found.add("feature BTF")
    for each in spec.maps.values():
        found.update(_of_map(each))
    for program in spec.programs.values():
        found.update(_of_program(program))
    if "helper tail_call" in found:
        found.add("feature tail calls")
    return frozenset(found)
