"""Programs that benchmarks run: the 64-instruction filter in its three forms, and single operations.

The filter parses Ethernet, IPv4 and TCP or UDP and rejects what cannot be. Its body reads a frame at r6
and executes 64 instructions for a plain TCP segment that it lets through. The same body makes a program
of type memory (r1 is the frame: what librte_bpf and pf.vm run), an XDP program (the bounds check comes
on top), and an XDP program that also looks the source up in a hash of 64 k entries and counts per CPU.
It has no JSET with an immediate below 128: the JIT of librte_bpf 22.11 encodes that as an instruction
of another length, and crashes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..assembler import assemble
from ..handles.maps import Map
from ..handles.program import Program
from ..objects import MapSpec

FRAME = 64
#: Bytes of a frame that the filter reads.
NEEDED = 48
HASH_ENTRIES = 1 << 16

_FILTER = """
  r2 = *(u16 *)(r6 +12)
  r2 = be16 r2
  if r2 != 0x800 goto drop
  r3 = *(u8 *)(r6 +14)
  r4 = r3
  r4 >>= 4
  if r4 != 4 goto drop
  r3 &= 15
  if r3 < 5 goto drop
  r3 <<= 2
  r4 = *(u16 *)(r6 +20)
  r4 = be16 r4
  r4 &= 0x3fff
  if r4 != 0 goto drop
  r5 = *(u8 *)(r6 +22)
  if r5 < 2 goto drop
  r5 = *(u16 *)(r6 +16)
  r5 = be16 r5
  if r5 < 28 goto drop
  if r5 > 1500 goto drop
  r7 = *(u32 *)(r6 +26)
  r7 = be32 r7
  r2 = r7
  r2 >>= 24
  if r2 == 0 goto drop
  if r2 == 127 goto drop
  if r2 >= 224 goto drop
  r8 = *(u32 *)(r6 +30)
  r8 = be32 r8
  if r7 == r8 goto drop
  r2 = r8
  r2 >>= 24
  if r2 == 127 goto drop
  r9 = *(u8 *)(r6 +23)
  if r9 == 47 goto drop
  if r9 == 6 goto tcp
  if r9 != 17 goto drop
  if r9 == 17 goto ports
tcp:
  r4 = *(u8 *)(r6 +47)
  r5 = r4
  r5 &= 3
  if r5 == 3 goto drop
  if r4 > 63 goto drop
  r5 = *(u8 *)(r6 +46)
  r5 >>= 4
  if r5 < 5 goto drop
  if r4 == 0 goto drop
ports:
  r2 = *(u16 *)(r6 +34)
  r2 = be16 r2
  r3 = *(u16 *)(r6 +36)
  r3 = be16 r3
  if r3 == 445 goto drop
  if r3 == 23 goto drop
  if r3 == 11211 goto drop
  if r2 == 0 goto drop
  r4 = r7
  r4 ^= r8
  r2 <<= 16
  r2 |= r3
  r4 += r2
  r4 &= 0xff
  if r4 > 255 goto drop
"""
_EXITS = """
  r0 = 2
  r0 += 0
  exit
drop:
  r0 = 1
  exit
"""
_FRAME_OF_XDP = f"""
  r2 = *(u32 *)(r1 +4)
  r6 = *(u32 *)(r1 +0)
  r3 = r6
  r3 += {NEEDED}
  if r3 > r2 goto drop
"""
_MEMORY_CHECK = f"""
  r2 += r1
  r3 = r1
  r3 += {NEEDED}
  if r3 > r2 goto drop
"""
_COUNTED = """
  *(u32 *)(r10 -4) = r7
  r1 = map[flows]
  r2 = r10
  r2 += -4
  call bpf_map_lookup_elem
  r8 = 0
  if r0 == 0 goto count
  r8 = 1
count:
  *(u32 *)(r10 -8) = r8
  r1 = map[counts]
  r2 = r10
  r2 += -8
  call bpf_map_lookup_elem
  if r0 == 0 goto drop
  r1 = *(u64 *)(r0 +0)
  r1 += 1
  *(u64 *)(r0 +0) = r1
"""
_MAPS = f".map flows hash 4 8 {HASH_ENTRIES}\n.map counts percpu_array 4 8 2\n"
EMPTY = ".program empty\n  r0 = 2\n  exit\n"


def code(text: str) -> bytes:
    """Bytecode of one program's assembly."""
    return assemble(text, "benchmark.s")[0].insns


def memory_filter(*, checked: bool = False) -> bytes:
    """The filter over plain memory: r1 is the frame, r2 its length. `checked`: with the bounds check that our
    verifier wants; librte_bpf gives no r2, and trusts."""
    check = _MEMORY_CHECK if checked else ""
    return code(".program filter\n  r6 = r1\n" + check + _FILTER + _EXITS)


def empty() -> bytes:
    """Two instructions: PASS."""
    return code(EMPTY)


def xdp_filter() -> bytes:
    """The filter as an XDP program, with the bounds check that the verifier wants."""
    return code(".program filter\n" + _FRAME_OF_XDP + _FILTER + _EXITS)


def counted_filter() -> bytes:
    """The same with a hash lookup and a count per CPU; maps 1 `flows` and 2 `counts`."""
    return code(_MAPS + ".program counted\n" + _FRAME_OF_XDP + _FILTER + _COUNTED + _EXITS)


@dataclass(frozen=True)
class Class:
    """A class of instructions: `line` (of `per_line`) stands in a program `repeat` times, `after` once."""

    name: str
    title: str
    line: str
    repeat: int = 256
    per_line: int = 1
    after: str = ""


CLASSES = (
    Class("alu64-reg", "64-bit arithmetic, register", "r3 += r4\n  r4 ^= r3", 128, 2),
    Class("alu64-imm", "64-bit arithmetic, immediate", "r3 += 77\n  r3 ^= 0x155", 128, 2),
    Class("alu32-reg", "32-bit arithmetic, register", "w3 += w4\n  w4 ^= w3", 128, 2),
    Class("mul", "multiplication", "r3 *= r4"),
    Class("div", "division", "r3 /= r4\n  r3 += r4", 128, 2),
    Class("shift", "shift by register", "r3 <<= r4\n  r4 >>= r3", 128, 2),
    Class("byte-swap", "byte swap", "r3 = be64 r3"),
    Class("imm64", "64-bit immediate", "r3 = 0x1122334455667788 ll"),
    Class("move", "register move", "r3 = r4\n  r4 = r3", 128, 2),
    Class("packet-load", "load from the packet", "r3 = *(u32 *)(r6 +12)"),
    Class("packet-store", "store to the packet", "*(u32 *)(r6 +44) = r3"),
    Class("stack-load", "load from the stack", "r3 = *(u64 *)(r10 -8)"),
    Class("stack-store", "store to the stack", "*(u64 *)(r10 -8) = r3"),
    Class("atomic-add", "atomic add, stack", "lock *(u64 *)(r10 -8) += r3"),
    Class("branch", "conditional branch, not taken", "if r5 == 0x12345 goto out"),
    Class("branch-taken", "conditional branch, taken", "if r5 != 0x12345 goto pc+0"),
    Class("ctx-load", "load from the context", "r3 = *(u32 *)(r7 +16)"),
    Class("helper", "helper call", "call bpf_get_smp_processor_id", after="r3 = r0\n  r4 = r0"),
)


def class_program(kind: Class, *, empty: bool = False) -> bytes:
    """A program that executes `repeat` times the class's line, or its frame alone."""
    body = "" if empty else "\n".join(f"  {kind.line}" for _ in range(kind.repeat))
    return code(f"""
.program {kind.name.replace("-", "_")}
  r7 = r1
  r2 = *(u32 *)(r1 +4)
  r6 = *(u32 *)(r1 +0)
  r3 = r6
  r3 += {NEEDED}
  if r3 > r2 goto out
  r3 = *(u32 *)(r6 +26)
  r4 = *(u32 *)(r6 +30)
  r5 = *(u16 *)(r6 +34)
  *(u64 *)(r10 -8) = r3
  r0 = 0
{body}
  {"" if empty else kind.after}
  r3 ^= r4
  r3 ^= r0
  r3 &= 1
  r0 = 2
  if r3 == 0 goto out
  r0 = 1
  exit
out:
  r0 = 2
  exit
""")


@dataclass(frozen=True)
class Operation:
    """An operation on a map, its key from the packet's source address. What was not found is dropped."""

    name: str
    title: str
    map: str
    text: str
    half: bool = True
    key_size: int = 4


_LOOKUP = """
  r1 = map[m]
  r2 = r10
  r2 += -8
  call bpf_map_lookup_elem
  if r0 == 0 goto missed
  r3 = *(u64 *)(r0 +0)
  r3 += 1
  *(u64 *)(r0 +0) = r3
"""
_UPDATE = """
  *(u64 *)(r10 -16) = r7
  r1 = map[m]
  r2 = r10
  r2 += -8
  r3 = r10
  r3 += -16
  r4 = 0
  call bpf_map_update_elem
"""
_INDEX = f"  r7 &= {HASH_ENTRIES - 1}\n  *(u32 *)(r10 -8) = r7\n"
_KEY = "  *(u32 *)(r10 -8) = r7\n"
_PREFIX = "  w8 = 32\n  *(u32 *)(r10 -8) = r8\n  *(u32 *)(r10 -4) = r7\n"
_N = HASH_ENTRIES

OPERATIONS = (
    Operation("array-lookup", "array, lookup", f"array 4 8 {_N}", _INDEX + _LOOKUP, False),
    Operation("array-update", "array, update", f"array 4 8 {_N}", _INDEX + _UPDATE, False),
    Operation(
        "percpu-array-lookup", "per-CPU array, lookup", f"percpu_array 4 8 {_N}",
        _INDEX + _LOOKUP, False,
    ),
    Operation("hash-lookup", "hash, lookup", f"hash 4 8 {_N}", _KEY + _LOOKUP),
    Operation("hash-update", "hash, update of what is there", f"hash 4 8 {_N}", _KEY + _UPDATE, False),
    Operation("percpu-hash-lookup", "per-CPU hash, lookup", f"percpu_hash 4 8 {_N}", _KEY + _LOOKUP),
    Operation("lru-hash-lookup", "LRU hash, lookup", f"lru_hash 4 8 {_N}", _KEY + _LOOKUP),
    Operation("lru-hash-update", "LRU hash, update, half evict", f"lru_hash 4 8 {_N}", _KEY + _UPDATE),
    Operation(
        "lpm-lookup", "LPM trie, lookup", f"lpm_trie 8 8 {_N} 0x1", _PREFIX + _LOOKUP, key_size=8
    ),
)  # fmt: skip
"""After `half`: whether half of the keys are in the map; otherwise all of them."""


def operation_program(operation: Operation, *, empty: bool = False) -> bytes:
    """The operation on a key from each packet, or the program without it: the key made and stored."""
    text = operation.text
    if empty:
        text = text[
            : min(
                at for at in (text.find("  r1 = map"), text.find("  *(u64 *)(r10 -16)")) if at >= 0
            )
        ]
    missed = "goto pass\nmissed:\n  r0 = 1\n  exit\n"
    return code(f"""
.map m {operation.map}
.program {operation.name.replace("-", "_")}
  r2 = *(u32 *)(r1 +4)
  r6 = *(u32 *)(r1 +0)
  r3 = r6
  r3 += {NEEDED}
  if r3 > r2 goto pass
  r7 = *(u32 *)(r6 +26)
  r7 = be32 r7
{text}
  {missed if "goto missed" in text else ""}
pass:
  r0 = 2
  exit
""")


def straight(count: int) -> bytes:
    """An XDP program of about `count` instructions that no compiler folds away: a digest of the packet."""
    lines: list[str] = []
    step = 0
    while len(lines) < count - 12:
        offset = 4 * (step % 11)
        lines += [f"  r4 = *(u32 *)(r6 +{offset})", "  r3 ^= r4", f"  r3 *= {2 * step + 3}"]
        if step % 5 == 4:
            lines += ["  r5 = r3", "  r5 >>= 17", "  r3 += r5", f"  if r3 == {step + 1} goto drop"]
        step += 1
    body = "\n".join(lines)
    return code(f"""
.program straight
{_FRAME_OF_XDP}
  r3 = 0
{body}
  r3 &= 1
  r0 = 2
  if r3 == 0 goto drop
  exit
drop:
  r0 = 1
  exit
""")


def make_map(text: str, cpus: int | None = None) -> Map:
    """A map from the words of a `.map` line behind its name."""
    words = text.split()
    sizes = [int(word, 0) for word in words[1:]]
    spec = MapSpec(
        type=words[0], key_size=sizes[0], value_size=sizes[1], max_entries=sizes[2],
        flags=sizes[3] if len(sizes) > 3 else 0,
    )  # fmt: skip
    return Map(spec) if cpus is None else Map(spec, cpus=cpus)


def xdp(insns: bytes, name: str, maps: dict[int, Map] | None = None) -> Program:
    """A verified XDP program."""
    return Program.from_bytes(insns, name=name, maps=maps)
