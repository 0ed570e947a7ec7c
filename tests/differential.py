"""The same object in the engine and in the kernel, for tests that compare the two."""

from __future__ import annotations

from contextlib import ExitStack

import kernel
from kernel_rings import KernelRing

from pktfilter.objects import MapSpec, ProgramSpec


def kernel_map(stack: ExitStack, spec: MapSpec, btf: bytes = b"") -> kernel.KernelMap:
    """`btf`: of the object, which the kernel gets for values with a bpf_spin_lock."""
    inner = kernel_map(stack, spec.inner, btf) if spec.inner else None
    types = None if spec.lock is None else (btf, spec.key_btf, spec.value_btf)
    if spec.type == "ringbuf":
        return stack.enter_context(KernelRing(spec.max_entries, spec.flags))
    made = stack.enter_context(
        kernel.KernelMap(
            spec.type,
            spec.key_size,
            spec.value_size,
            spec.max_entries,
            spec.flags,
            inner,
            types=types,
        )
    )
    if spec.data is not None:
        made.update(bytes(4), spec.data)
    if spec.frozen:
        made.freeze()
    return made


def kernel_program(spec: ProgramSpec, maps: dict[str, kernel.KernelMap]) -> kernel.KernelProgram:
    return kernel.KernelProgram.load(
        spec.insns,
        license="GPL",
        maps={fd: maps[name] for fd, name in spec.map_refs.items()},
        prog_flags=kernel.BPF_F_XDP_HAS_FRAGS if spec.frags else 0,
    )
