"""Update flags on full maps, from programs and users, as in Linux: hash, LRU and per-CPU forms."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Callable

import kernel
import pytest

import pktfilter as pf
from pktfilter import Map, MapSpec

IN_KERNEL = kernel.requires_kernel()
FLAGS = (0, 0, 0, 1, 2, 3, 4, 5, 6, 8, 1 << 31)
SPECS = {
    "hash": MapSpec("hash", 4, 8, 8),
    "hash, no prealloc": MapSpec("hash", 4, 8, 8, 1),
    "percpu_hash": MapSpec("percpu_hash", 4, 8, 8),
    "percpu_hash, no prealloc": MapSpec("percpu_hash", 4, 8, 8, 1),
    "array": MapSpec("array", 4, 8, 8),
    "percpu_array": MapSpec("percpu_array", 4, 8, 8),
    "lru_hash": MapSpec("lru_hash", 4, 8, 256),
    "lru_hash, no common": MapSpec("lru_hash", 4, 8, 256, 2),
    "lru_percpu_hash": MapSpec("lru_percpu_hash", 4, 8, 256),
    "lru_percpu_hash, no common": MapSpec("lru_percpu_hash", 4, 8, 256, 2),
}


def program(operation: str) -> bytes:
    """Key at byte 14, flags at 18, value at 24 of the packet; returns what the helper said."""
    from pktfilter.assembler import assemble

    calls = {
        "update": "r4 = *(u32 *)(r6 +18)\n  call bpf_map_update_elem",
        "delete": "call bpf_map_delete_elem",
        "lookup": "call bpf_map_lookup_elem\n  if r0 == 0 goto out\n  r0 = *(u32 *)(r0 +0)\n  r0 |= 1",
    }
    text = f"""
.map m hash 4 8 8
.program p
  r2 = *(u32 *)(r1 +4)
  r6 = *(u32 *)(r1 +0)
  r3 = r6
  r3 += 32
  r0 = 77
  if r3 > r2 goto out
  r1 = *(u32 *)(r6 +14)
  *(u32 *)(r10 -4) = r1
  r1 = *(u64 *)(r6 +24)
  *(u64 *)(r10 -16) = r1
  r1 = map[m]
  r2 = r10
  r2 += -4
  r3 = r10
  r3 += -16
  {calls[operation]}
out:
  exit
"""
    return assemble(text, "full.s")[0].insns


def outcome(function: Callable[..., object], *arguments: object, **named: object) -> int:
    try:
        function(*arguments, **named)
    except OSError as error:
        return error.errno or 0
    return 0


def contents(theirs: kernel.KernelMap) -> dict[bytes, object]:
    return dict(theirs.items())


@IN_KERNEL
@pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
@pytest.mark.parametrize("name", SPECS)
def test_flags_of_a_full_map(name: str, engine: str) -> None:
    """The same operations on both; LRU maps choose other victims, so a key that only one has is left out."""
    spec, rng = SPECS[name], random.Random(5)
    lru = spec.type.startswith("lru")
    cpu = 0
    mine = Map(spec, cpus=kernel.possible_cpus())
    with (
        kernel.pinned(cpu),
        kernel.KernelMap(spec.type, 4, 8, spec.max_entries, spec.flags) as theirs,
    ):
        pairs = {}
        for operation in ("update", "delete", "lookup"):
            code = program(operation)
            pairs[operation] = (
                pf.Program.from_bytes(code, maps={1: mine}),
                kernel.KernelProgram.load(code, maps={1: theirs}),
            )
        compared = 0
        for step in range(400):
            number = rng.randrange(spec.max_entries * 2)
            key, value = struct.pack("<I", number), rng.randbytes(8)
            flags = rng.choice(FLAGS)
            operation = rng.choice(("update", "update", "update", "lookup", "delete", "user"))
            if operation == "delete" and rng.random() < 0.5:
                operation = "update"
            if lru:
                read = theirs.lookup_percpu if theirs.percpu else theirs.lookup
                known = read(key) is not None
                if (key in mine) != known:
                    continue
            compared += 1
            if operation == "user":
                assert outcome(mine.update, key, value, flags=flags) == outcome(
                    theirs.update, key, value, flags
                ), (step, number, flags)
                continue
            packet = bytes(14) + key + struct.pack("<I", flags) + bytes(2) + value + bytes(28)
            ours, kernels = pairs[operation]
            want = kernels.test_run(packet).retval
            got = ours.test_run(packet, engine=engine, cpu=cpu).retval
            assert got == want, (step, operation, number, flags)
            if not lru:
                assert dict(mine.items()) == contents(theirs), step
        for _, loaded in pairs.values():
            loaded.close()
    assert compared > 80


@pytest.mark.parametrize("kind", ["lru_hash", "lru_percpu_hash"])
def test_a_full_lru_map_never_refuses_and_keeps_what_is_used(kind: str) -> None:
    """By the kernel's Documentation/bpf/map_hash.rst: what was used least recently goes."""
    m = Map(MapSpec(kind, 4, 8, 64), cpus=2)
    for number in range(64):
        m[number] = number
    with pytest.raises(pf.MapError) as caught:
        m.update(1000, 0, flags=pf.BPF_EXIST)
    assert caught.value.errno == errno.ENOENT and len(m) == 64
    with pytest.raises(pf.MapError) as caught:
        m.update(5, 0, flags=pf.BPF_NOEXIST)
    assert caught.value.errno == errno.EEXIST and len(m) == 64
    for number in range(64, 1000):
        m[number] = number
        assert number in m
        assert len(m) == 64
