"""Groups that run programs over packets in memory: dispatch, filter, examples, maps."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from pathlib import Path

from .._core.measure import Packets
from ..errors import PktfilterError
from ..handles.loader import load
from ..handles.maps import Map
from ..handles.program import CHECKED, INTERP, Program, resolve_engine
from . import dpdk, kernelrun, programs, workloads
from .model import Bound, Ratio, Skipped
from .runner import Session, Subject
from .tiers import TIERS, Case, tier_subjects, why_not

#: Done when: whole batch loop of the 64-instruction filter, compiled; and what it is of librte_bpf's JIT.
FILTER_NS = 5.0
FILTER_OF_DPDK = 0.8
INTERPRETER_OF_DPDK = 0.8
COUNTED_OF_KERNEL = 0.5

_EMPTY_NOTE = "net: less the same loop around a program of two instructions"


def _tier_ratios(subjects: list[Subject]) -> list[Ratio]:
    have = [s.name for s in subjects if s.role == "subject"]
    return [
        Ratio(a, b, net=True)
        for a, b in (("jit", "interp"), ("interp", "checked"))
        if {a, b} <= {*have}
    ]


def dispatch(session: Session) -> None:
    """The cost of one instruction of each class, by tier."""
    packets = workloads.packets("full")
    for kind in programs.CLASSES:
        case = Case(programs.xdp(programs.class_program(kind), kind.name), packets)
        empty = Case(programs.xdp(programs.class_program(kind, empty=True), "frame"), packets)
        parts = kind.repeat * kind.per_line
        subjects, skipped, facts = tier_subjects(case, empty, parts=parts)
        session.measure(
            f"dispatch/{kind.name}",
            kind.title,
            "ns/instruction",
            subjects,
            ratios=_tier_ratios(subjects),
            skipped=skipped,
            facts={"instructions": str(parts), **facts},
            note="net: less the same program without these instructions; what a compiler folds away costs nothing",
        )


def _dpdk_subjects(
    session: Session, packets: Packets, stack: ExitStack
) -> tuple[list[Subject], list[Skipped], dict[str, str]]:
    try:
        library = dpdk.Library(session.folder)
        subjects = []
        peers = {}
        for name, insns in (("filter", programs.memory_filter()), ("empty", programs.empty())):
            peers[name] = dpdk.Peer(library, insns, packets.stride)
            stack.callback(peers[name].close)
        skipped = []
        for native, title in ((True, "librte_bpf JIT"), (False, "librte_bpf interpreter")):
            if native and not peers["filter"].compiled:
                skipped.append(Skipped(title, "librte_bpf has no JIT for this processor"))
                continue
            base = f"{title}, empty program"
            subjects += [
                peers["filter"].subject(title, packets, native=native, baseline=base),
                peers["empty"].subject(base, packets, native=native, role="baseline"),
            ]
    except dpdk.Unavailable as reason:
        return [], [Skipped("librte_bpf", str(reason))], {}
    return subjects, skipped, {"dpdk": library.version}


def _memory_subjects(packets: Packets) -> list[Subject]:
    """The tiers called once per frame, as librte_bpf is: pf.vm without the batch loop."""
    subjects = []
    for name, insns in (
        ("filter", programs.memory_filter(checked=True)),
        ("empty", programs.empty()),
    ):
        program = Program(insns, type="memory", name=name, memory_size=packets.stride)
        engines = [("interp", INTERP), ("checked", CHECKED)]
        if why_not("jit", program) is None:
            engines.insert(0, ("jit", resolve_engine("jit")))
        for engine, number in engines:
            title, base = f"pf.vm {engine}", f"pf.vm {engine}, empty program"

            def run(times: int, program: Program = program, number: int = number) -> float:
                packets.memory(program._ref, number, 1)  # brings the packets to the cache
                return float(packets.memory(program._ref, number, times)[0])

            if name == "filter":
                subjects.append(Subject(title, run, parts=packets.count, baseline=base))
            else:
                subjects.append(Subject(base, run, parts=packets.count, role="baseline"))
    return subjects


def filter64(session: Session) -> None:
    """The 64-instruction filter: every tier, librte_bpf on the same bytecode, and the kernel."""
    filter_program = programs.xdp(programs.xdp_filter(), "filter")
    empty_program = programs.xdp(programs.empty(), "empty")
    for mix in workloads.MIXES:
        count = workloads.FEW if mix != "worst" else 4 * workloads.FEW
        packets = workloads.packets(mix, count)
        case, empty = Case(filter_program, packets), Case(empty_program, packets)
        subjects, skipped, facts = tier_subjects(case, empty)
        ratios, bounds = _tier_ratios(subjects), []
        with ExitStack() as stack:
            if mix == "full":
                peers, gone, versions = _dpdk_subjects(session, packets, stack)
                subjects += [*_memory_subjects(packets), *peers]
                skipped += gone
                facts.update(versions)
                ratios += [
                    Ratio("jit", "librte_bpf JIT", limit=FILTER_OF_DPDK, main=True),
                    Ratio(
                        "pf.vm interp",
                        "librte_bpf interpreter",
                        limit=INTERPRETER_OF_DPDK,
                        main=True,
                    ),
                    Ratio("pf.vm jit", "librte_bpf JIT"),
                    Ratio("pf.vm checked", "pf.vm interp"),
                ]
                bounds.append(Bound("jit", FILTER_NS))
                kernel, gone = _kernel_subjects(session, stack, counted=False)
                subjects += kernel
                skipped += gone
                ratios.append(Ratio("jit", "kernel TEST_RUN", net=True))
            session.measure(
                f"filter/{mix}",
                f"64-instruction filter, {_MIX_TITLES[mix]}",
                "ns/packet",
                subjects,
                ratios=ratios,
                bounds=bounds,
                skipped=skipped,
                facts={
                    "packets": f"{count:,} distinct, {programs.FRAME} bytes",
                    "batch": str(workloads.BATCH),
                    **facts,
                },
                note=_EMPTY_NOTE,
            )


_MIX_TITLES = {
    "full": "every packet through all of it",
    "median": "traffic of many protocols",
    "worst": "half leave at a random test",
}


def _kernel_subjects(
    session: Session, stack: ExitStack, *, counted: bool
) -> tuple[list[Subject], list[Skipped]]:
    """TEST_RUN of the filter, and of the same empty program; with the hash, half of the packets' keys are in it."""
    try:
        maps = kernelrun.KernelMaps()
        stack.callback(maps.close)
        data, _ = workloads.frames("full", 2 * programs.HASH_ENTRIES if counted else workloads.FEW)
        step = len(data) // programs.FRAME // kernelrun.PACKETS | 1
        picked = [i * step for i in range(kernelrun.PACKETS)]
        if counted:
            maps.create(1, f"hash 4 8 {programs.HASH_ENTRIES}")
            maps.create(2, "percpu_array 4 8 2")
            maps.fill(1, _hash_items())
        loaded = kernelrun.KernelProgram(
            programs.counted_filter() if counted else programs.xdp_filter(), maps
        )
        stack.callback(loaded.close)
        empty = kernelrun.KernelProgram(programs.empty())
        stack.callback(empty.close)
    except dpdk.Unavailable as reason:
        return [], [Skipped("kernel TEST_RUN", str(reason))]
    packets = [data[i * programs.FRAME : (i + 1) * programs.FRAME] for i in picked]
    repeat = 2_000 if session.quick else 10_000
    base = "kernel TEST_RUN, empty program"
    return [
        loaded.subject("kernel TEST_RUN", packets, repeat=repeat, baseline=base),
        empty.subject(base, packets, repeat=repeat, role="baseline"),
    ], []


def _hash_items() -> list[tuple[bytes, bytes]]:
    """Every other one of 128 k sources: 64 k entries, full."""
    keys = workloads.sources(2 * programs.HASH_ENTRIES)[::2]
    return [(struct.pack("<I", key), bytes(8)) for key in keys]


def counted(session: Session) -> None:
    """The filter with a hash lookup (64 k entries, half of the lookups hit) and a count per CPU."""
    flows = programs.make_map(f"hash 4 8 {programs.HASH_ENTRIES}")
    counts = programs.make_map("percpu_array 4 8 2")
    for key, value in _hash_items():
        flows[key] = value
    program = programs.xdp(programs.counted_filter(), "counted", {1: flows, 2: counts})
    empty_program = programs.xdp(programs.empty(), "empty")
    # The first packets of the larger set: the same sources, in the cache; and all, which are not.
    data, lens = workloads.frames("full", 2 * programs.HASH_ENTRIES)
    for mix, count in (("median", workloads.FEW), ("worst", workloads.MANY)):
        packets = Packets(
            data[: count * programs.FRAME], lens[:count], programs.FRAME, workloads.BATCH
        )
        case, empty = Case(program, packets), Case(empty_program, packets)
        subjects, skipped, facts = tier_subjects(case, empty)
        ratios = _tier_ratios(subjects)
        with ExitStack() as stack:
            kernel, gone = _kernel_subjects(session, stack, counted=True)
            limit = COUNTED_OF_KERNEL if mix == "median" else None
            ratios.append(
                Ratio("jit", "kernel TEST_RUN", net=True, limit=limit, main=limit is not None)
            )
            session.measure(
                f"counted/{mix}",
                f"filter, hash lookup, per-CPU count: {count:,} flows",
                "ns/packet",
                subjects + kernel,
                ratios=ratios,
                skipped=skipped + gone,
                facts={
                    "packets": f"{count:,} distinct",
                    "hash": f"{programs.HASH_ENTRIES:,} entries, half of the lookups hit",
                    **facts,
                },
                note=f"{_EMPTY_NOTE}; the kernel repeats {kernelrun.PACKETS} packets, so its keys are in its cache",
            )


def _fill(operation: programs.Operation, map_: Map, count: int) -> None:
    words = operation.map.split()
    if words[0].endswith("array"):
        return
    keys = workloads.sources(count)
    if operation.half:
        keys = keys[::2]
    for key in keys[: programs.HASH_ENTRIES]:
        raw = struct.pack("<I", key)
        map_[struct.pack("<I", 32) + raw if words[0] == "lpm_trie" else raw] = bytes(8)


def maps(session: Session) -> None:
    """Lookups and updates by map type, from programs, keys from the packets."""
    data, lens = workloads.frames("full", 2 * programs.HASH_ENTRIES)
    for operation in programs.OPERATIONS:
        # Half hit: twice as many packets' keys as entries; all hit: as many.
        total = 2 * programs.HASH_ENTRIES if operation.half else programs.HASH_ENTRIES
        for mix, count in (("median", workloads.FEW), ("worst", total)):
            map_ = programs.make_map(operation.map)
            _fill(operation, map_, total)
            packets = Packets(
                data[: count * programs.FRAME], lens[:count], programs.FRAME, workloads.BATCH
            )
            insns = programs.operation_program(operation)
            case = Case(programs.xdp(insns, operation.name, {1: map_}), packets)
            frame = programs.operation_program(operation, empty=True)
            empty = Case(programs.xdp(frame, "frame", {1: map_}), packets)
            subjects, skipped, facts = tier_subjects(case, empty, tiers=TIERS)
            session.measure(
                f"maps/{operation.name}-{mix}",
                f"{operation.title}: {count:,} keys in turn",
                "ns/operation",
                subjects,
                ratios=_tier_ratios(subjects),
                skipped=skipped,
                facts={
                    "map": operation.map,
                    "hits": "half of the keys are in the map" if operation.half else "all",
                    **facts,
                },
                note="net: less the same program without the operation",
            )


def examples(session: Session) -> None:
    """Every example program by tier, over generated traffic of many protocols."""
    if session.examples is None:
        session.skip(
            "examples", "no example programs beside the package; name their folder with --examples"
        )
        return
    packets = workloads.traffic()
    empty = Case(programs.xdp(programs.empty(), "empty"), packets)
    for path in sorted(session.examples.glob("*.o")):
        try:
            loaded = load(path)
            program = next(iter(loaded.programs.values()))

            def fresh(path: Path = path, name: str = program.name) -> Case:
                return Case(load(path).programs[name], packets)

            subjects, skipped, facts = tier_subjects(fresh, empty)
        except PktfilterError as error:
            session.skip(f"examples/{path.stem}", str(error))
            continue
        session.measure(
            f"examples/{path.stem}",
            f"example {path.stem}, program {program.name}",
            "ns/packet",
            subjects,
            ratios=_tier_ratios(subjects),
            skipped=skipped,
            facts={"instructions": str(len(program.insns) // 8), **facts},
            note=f"{_EMPTY_NOTE}; {workloads.FEW:,} packets of many protocols, at most {workloads.SNAP} bytes of each",
        )
