"""Hash maps that compiled code looks up by itself: every key against a dict, in buckets of every kind."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from commandline import pcap

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.handles.program import Program

pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")

#: Passes where the map holds the packet's first four bytes, and its value is the key's complement.
TEXT = """
  r2 = *(u32 *)(r1 +4)
  r6 = *(u32 *)(r1 +0)
  r3 = r6
  r3 += 14
  if r3 > r2 goto drop
  r7 = *(u32 *)(r6 +0)
  *(u32 *)(r10 -4) = r7
  r1 = map[flows]
  r2 = r10
  r2 += -4
  call bpf_map_lookup_elem
  if r0 == 0 goto drop
  r1 = *(u32 *)(r0 +0)
  r7 ^= -1
  w7 = w7
  if r1 != r7 goto aborted
  r0 = 2
  exit
aborted:
  r0 = 0
  exit
drop:
  r0 = 1
  exit
"""
MASK32 = (1 << 32) - 1


def inverse(x: int) -> int:
    """x * inverse(x) is 1 modulo 2^32, for odd x."""
    return pow(x, -1, 1 << 32)


def unhash(hash_: int, add: int) -> int:
    """The key with this hash (csrc/map/bucket.h)."""

    def unshift(x: int, by: int) -> int:
        return (x ^ x >> by ^ x >> 2 * by) & MASK32

    x = unshift(hash_, 16) * inverse(0x85EBCA77) & MASK32
    return unshift(unshift(x, 15) * inverse(0x9E3779B1) & MASK32, 16) - add & MASK32


def verdicts(program: Program, keys: list[int], path: Path, engine: str) -> list[int]:
    path.write_bytes(pcap([struct.pack("<I", key).ljust(60, b"\0") for key in keys]))
    hook = pf.Hook()
    hook.attach(program)
    return [int(v) for b in pf.batches(path, hook, engine=engine) for v in b.verdicts]


@pytest.mark.parametrize("type", ["hash", "percpu_hash", "lru_hash"])
@pytest.mark.parametrize("entries", [1, 2, 7, 30, 4096])
def test_every_key(type: str, entries: int, tmp_path: Path) -> None:
    flows = pf.Map(
        pf.MapSpec(name="flows", type=type, key_size=4, value_size=4, max_entries=entries)
    )
    asm = assemble(f".map flows {type} 4 4 {entries}\n" + TEXT, "flows.s")[0]
    r = random.Random(entries)
    present = [r.getrandbits(32) for _ in range(entries)]
    absent = [r.getrandbits(32) for _ in range(entries + 50)]
    word = flows._ref.word
    assert (word is None) == (type == "lru_hash")
    if word is not None:
        # The key whose hash is 0, and keys that share a bucket until its slots do not suffice.
        present[: entries // 2] = [unhash(n * (word[1] + 1), word[0]) for n in range(entries // 2)]
        absent += [
            unhash(n * (word[1] + 1), word[0]) for n in range(entries // 2, entries // 2 + 9)
        ]
    present = list(dict.fromkeys(present))
    for round_ in range(3):
        for key in present:
            flows[struct.pack("<I", key)] = struct.pack("<I", key ^ MASK32)
        program = Program(asm.insns, name="flows", maps={1: flows})
        keys = present + absent
        r.shuffle(keys)
        wanted = [2 if key in set(present) else 1 for key in keys]
        for engine in ("jit", "interp", "checked"):
            assert verdicts(program, keys, tmp_path / "k.pcap", engine) == wanted, (engine, round_)
        for key in present[:: 2 + round_]:  # slots become free, and others take them
            del flows[struct.pack("<I", key)]
            present = [k for k in present if k != key]
        present += [r.getrandbits(32) for _ in range((entries - len(present)) // 2)]
        present = list(dict.fromkeys(present))
