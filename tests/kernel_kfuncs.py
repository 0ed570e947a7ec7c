"""Kernel functions for the oracle: the numbers that calls carry here become the running kernel's BTF ids."""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path

import kernel

from pktfilter.objects.btf import Btf, parse_btf
from pktfilter.objects.btf_types import Func
from pktfilter.objects.insns import CALL_KFUNC, OP_CALL, walk
from pktfilter.objects.kinds import helper_name

VMLINUX = Path("/sys/kernel/btf/vmlinux")


@lru_cache(maxsize=1)
def _types() -> Btf:
    return parse_btf(VMLINUX.read_bytes(), str(VMLINUX))


@lru_cache(maxsize=64)
def btf_id(name: str) -> int:
    """The id of the kernel's function; KernelError with ENOENT when it has none of that name."""
    found = (
        i
        for i, record in enumerate(_types().types)
        if isinstance(record, Func) and record.name == name
    )
    for number in found:
        return number
    raise kernel.KernelError(2, f"the kernel has no function {name}")


def resolved(insns: bytes) -> bytes:
    """The instructions with the kernel's ids; the same bytes where no kernel function is called."""
    out = bytearray(insns)
    for index, opcode, source, imm in walk(insns):
        if opcode == OP_CALL and source == CALL_KFUNC:
            struct.pack_into("<i", out, index * 8 + 4, btf_id(f"bpf_{helper_name(imm)}"))
    return bytes(out)
