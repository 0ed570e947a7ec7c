"""Programs that fill a hash map and look everything in it up again, keys shuffled, and both tiers and the kernel at it.

A run of the program does `PER_RUN` operations; which, a counter in an array map says. The n-th insert stores the
n-th key, a permutation of numbers that looks random; the n-th lookup wants the key at `n * STRIDE % entries`, so that
its element lies nowhere near the one before. Programs count what went wrong: a bench of maps that forget is no bench.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time_ns

from ..handles.program import Program
from ..handles.tiers import require_compiled
from . import dpdk, kernelrun, programs

PER_RUN = 500
#: A prime, so without a common factor with the numbers of entries that are used here.
STRIDE = 7_368_787
INSERT = """
  r3 = r10
  r3 += -32
  r4 = 1
  call bpf_map_update_elem
  if r0 == 0 goto next
"""
LOOKUP = """
  call bpf_map_lookup_elem
  if r0 == 0 goto wrong
  r1 = *(u64 *)(r0 +0)
  if r1 == r9 goto next
"""
_WIDE_KEY = """
  r1 = 0x9e3779b97f4a7c15 ll
  r1 *= r9
  *(u64 *)(r10 -24) = r1
  r1 ^= 0x5bd1e995
  *(u64 *)(r10 -16) = r1
"""
_KEY = """
  w1 = w9
  w1 *= 0x3c6ef372
  w1 += w9
  w2 = w1
  w2 >>= 15
  w1 ^= w2
  w1 *= 0x2c1b3c6d
  *(u32 *)(r10 -24) = r1
"""


@dataclass(frozen=True)
class Shape:
    """What is stored: keys of so many bytes, values of 8, so many entries (a multiple of PER_RUN)."""

    key_size: int
    entries: int

    @property
    def table(self) -> str:
        """As a `.map` line says it."""
        return f"hash {self.key_size} 8 {self.entries}"


_STATE = "array 4 16 1"


def program(shape: Shape, operation: str) -> bytes:
    """`operation` is INSERT or LOOKUP; maps 1 `table` and 2 `state` (operations done, operations failed)."""
    order = "" if operation == INSERT else f"  r9 *= {STRIDE}\n  r9 %= {shape.entries}\n"
    return programs.code(f"""
.map table {shape.table}
.map state {_STATE}
.program large
  w1 = 0
  *(u32 *)(r10 -4) = r1
  r1 = map[state]
  r2 = r10
  r2 += -4
  call bpf_map_lookup_elem
  if r0 == 0 goto out
  r7 = r0
  r8 = *(u64 *)(r7 +0)
  r6 = 0
again:
  r9 = r8
{order}{_KEY if shape.key_size == 4 else _WIDE_KEY}
  *(u64 *)(r10 -32) = r9
  r1 = map[table]
  r2 = r10
  r2 += -24
{operation}
wrong:
  r1 = *(u64 *)(r7 +8)
  r1 += 1
  *(u64 *)(r7 +8) = r1
next:
  r8 += 1
  r6 += 1
  if r6 < {PER_RUN} goto again
  *(u64 *)(r7 +0) = r8
out:
  r0 = 2
  exit
""")


@dataclass(frozen=True)
class Times:
    """Nanoseconds of processor time for an operation; a map takes seconds to fill, in which others run too."""

    insert: float
    lookup: float


def _judge(state: bytes, entries: int, what: str) -> None:
    done, failed = struct.unpack("=QQ", state)
    if done != entries or failed:
        raise RuntimeError(f"{what}: {done} operations of {entries}, {failed} failed")


def ours(shape: Shape, engine: str) -> tuple[Times, int]:
    """One engine on a fresh map; and the map's `memory`."""
    table = programs.make_map(shape.table)
    found = []
    for name, operation in (("insert", INSERT), ("lookup", LOOKUP)):
        state = programs.make_map(_STATE)
        loaded = Program.from_bytes(program(shape, operation), name=name, maps={1: table, 2: state})
        if engine == "jit":
            require_compiled([loaded])
        begin = thread_time_ns()
        loaded.test_run(bytes(60), repeat=shape.entries // PER_RUN, engine=engine)
        spent = thread_time_ns() - begin
        value = state[0]
        assert isinstance(value, bytes)
        _judge(value, shape.entries, f"{engine} {name}")
        found.append(spent / shape.entries)
    memory = table.memory
    del table, loaded
    gc.collect()
    return Times(*found), memory


def kernel(shape: Shape) -> Times:
    """The kernel on a fresh map. Raises `dpdk.Unavailable` where it does not let us."""
    maps = kernelrun.KernelMaps()
    try:
        maps.create(1, shape.table)
        maps.create(2, _STATE)
        found = []
        for operation in (INSERT, LOOKUP):
            maps.fill(2, [(bytes(4), bytes(16))])
            loaded = kernelrun.KernelProgram(program(shape, operation), maps)
            try:
                runs = shape.entries // PER_RUN
                begin = thread_time_ns()
                loaded.test_run(bytes(60), runs)
                spent = thread_time_ns() - begin
            finally:
                loaded.close()
            found.append(spent / shape.entries)
            _judge(maps.read(2, bytes(4), 16), shape.entries, "kernel")
        return Times(*found)
    finally:
        maps.close()


SUBJECTS: dict[str, Callable[[Shape], Times]] = {
    "jit": lambda shape: ours(shape, "jit")[0],
    "interp": lambda shape: ours(shape, "interp")[0],
    "kernel TEST_RUN": kernel,
}


def interleaved(shape: Shape, rounds: int) -> dict[str, list[Times]]:
    """Every subject once a round, in turn; without the kernel where it does not let us."""
    found: dict[str, list[Times]] = {}
    for _ in range(rounds):
        for name, run in SUBJECTS.items():
            try:
                found.setdefault(name, []).append(run(shape))
            except dpdk.Unavailable:
                del found[name]
    return found
