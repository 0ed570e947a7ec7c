"""Changes of bytecode for scoring: clocks that both sides share, recorders of keys, traps.

All add code at the end only, so that no jump moves. Where a helper's answer is the machine's own (the
clock, random numbers, SYN cookies under a secret key), the call becomes a call of an added function
that counts in a map: the same on both sides, and for a verifier as unknown as the helper's answer. A
recorder puts the key of a map call into a queue on its way; a trap is an instruction that the checked
interpreter always stops at, to learn whether a run comes there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from pktfilter.assembler import assemble
from pktfilter.objects import MapSpec, ObjectSpec, ProgramSpec

CLOCK, RECORDS = "scored_clock", "scored_keys"
CLOCK_START = struct.pack("<QQ", 1_700_000_000_000_000_000, 12345)
"""What the added functions count in: nanoseconds, the state of random numbers."""
KEY_MAX = 64
RECORD = 4 + KEY_MAX
_INSN = struct.Struct("<BBhi")
_LD_IMM64, _CALL, _EXIT, _JA = 0x18, 0x85, 0x95, 0x05
_LOCAL, _FUNC = 1, 4
_FAR = 32000
_ST, _STX, _JMP, _JMP32, _ST_DW, _LDX_DW = 2, 3, 5, 6, 0x7A, 0x79
_LOOKUP, _UPDATE, _PEEK, _TAIL_CALL = 1, 2, 89, 12
_NS, _RANDOM, _JIFFIES = "r0 = *(u64 *)(r1 +0)", "r0 = *(u64 *)(r1 +8)", "r0 >>= 22"
_TICK = f"{_NS}\nr2 = r0\nr2 += 1000003\n*(u64 *)(r1 +0) = r2"
_DRAW = f"{_RANDOM}\nr0 *= 1103515245\nr0 += 12345\nr0 <<= 32\nr0 >>= 32\n*(u64 *)(r1 +8) = r0"
_YES_OR_NO = f"{_DRAW}\nr0 >>= 16\nr0 &= 1\nr0 = -r0"
OWN_ANSWERS = {
    5: _TICK,  # ktime_get_ns
    125: _TICK,  # ktime_get_boot_ns
    160: _TICK,  # ktime_get_coarse_ns
    208: _TICK,  # ktime_get_tai_ns
    118: f"{_TICK}\n{_JIFFIES}",  # jiffies64
    7: _DRAW,  # get_prandom_u32
    204: _DRAW,  # tcp_raw_gen_syncookie_ipv4
    205: _DRAW,  # tcp_raw_gen_syncookie_ipv6
    206: _YES_OR_NO,  # tcp_raw_check_syncookie_ipv4
    207: _YES_OR_NO,  # tcp_raw_check_syncookie_ipv6
}
"""Helper number to the function that stands in for it; r1 is the clock map's value."""


def _calls(insns: bytes) -> Iterator[tuple[int, int]]:
    """Index and number of every helper call."""
    wide = False
    for index, (opcode, regs, _, imm) in enumerate(_INSN.iter_unpack(insns)):
        if wide:
            wide = False
        elif opcode == _LD_IMM64:
            wide = True
        elif opcode == _CALL and regs >> 4 == 0:
            yield index, imm


def _function(text: str, maps: dict[str, int]) -> bytes:
    externs = "".join(f".extern {name} {number}\n" for name, number in maps.items())
    (made,) = assemble(f"{externs}{text}\nexit", "added.s")
    return made.insns


def _redirected(program: ProgramSpec, added: dict[int, bytes], refs: dict[int, str]) -> ProgramSpec:
    """The program whose calls at these indices go to these functions, put behind it."""
    code, ends = bytearray(program.insns), dict[bytes, int]()
    for index, function in added.items():
        if function not in ends:
            ends[function] = len(code) // 8
            code += function
        _INSN.pack_into(code, index * 8, _CALL, _LOCAL << 4, 0, ends[function] - index - 1)
    return replace(program, insns=bytes(code), map_refs={**program.map_refs, **refs})


def share_answers(spec: ObjectSpec) -> set[str]:
    """Replaces the calls of the machine's own answers; the programs that had any."""
    changed = set()
    for name, program in spec.programs.items():
        sites = {at: number for at, number in _calls(program.insns) if number in OWN_ANSWERS}
        if not sites:
            continue
        if CLOCK not in spec.maps:
            spec.maps[CLOCK] = MapSpec("array", 4, len(CLOCK_START), 1, name=CLOCK)
            spec.maps[CLOCK].data = CLOCK_START
        number = spec.map_fds[CLOCK]
        value = struct.pack("<BBhiBBhi", _LD_IMM64, 0x21, 0, number, 0, 0, 0, 0)
        added = {at: value + _function(OWN_ANSWERS[n], {}) for at, n in sites.items()}
        spec.programs[name] = _redirected(program, added, {number: CLOCK})
        changed.add(name)
    return changed


def record_keys(spec: ObjectSpec) -> dict[int, str]:
    """Makes map calls leave their keys (or values, of a bloom filter) in the map RECORDS.

    Returns map names by the number that a record begins with; "" stands for any inner map, whose key
    is as long as the inner definitions say. For unverified runs only.
    """
    names = {n: name for n, (name, m) in enumerate(spec.maps.items(), 1) if asked_size(m)}
    inner = [m.inner.key_size for m in spec.maps.values() if m.inner and asked_size(m.inner)]
    sizes = {n: asked_size(spec.maps[name]) for n, name in names.items()}
    spec.maps[RECORDS] = MapSpec("queue", 0, RECORD, 1 << 16, name=RECORDS)
    queue = spec.map_fds[RECORDS]
    recorders = {
        helper: _recorder(helper, sizes, inner[0] if inner else 0, queue)
        for helper in (_LOOKUP, _UPDATE, _PEEK)
    }
    for name, program in spec.programs.items():
        added = {at: recorders[n] for at, n in _calls(program.insns) if n in recorders}
        if added:
            refs = {**names, queue: RECORDS}
            spec.programs[name] = _redirected(program, added, refs)
    return {**names, 0: ""}


def asked_size(spec: MapSpec) -> int:
    """Bytes of what a program asks the map for, 0 if every question has an answer or it is too long."""
    size = spec.value_size if spec.type == "bloom_filter" else spec.key_size
    hashed = spec.type in ("bloom_filter", "lpm_trie") or "hash" in spec.type
    return size if hashed and size <= KEY_MAX else 0


def _recorder(helper: int, sizes: dict[int, int], inner: int, queue: int) -> bytes:
    """A function that finds out which map is asked, puts its key into the queue, and asks."""
    text = ["r6 = r1", "r7 = r2", "r8 = r3", "r9 = r4"]
    for number in sizes:
        text += [f"r5 = map[m{number}]", f"if r1 == r5 goto map{number}"]
    text += _copies("map0", inner, 0) if inner else ["goto done"]
    for number, size in sizes.items():
        text += _copies(f"map{number}", size, number)
    text += ["push:", "r1 = map[q]", "r2 = r10", f"r2 += -{RECORD}", "r3 = 0"]
    text += ["call bpf_map_push_elem", "done:", "r1 = r6", "r2 = r7", "r3 = r8", "r4 = r9"]
    text += [f"call unknown#{helper}"]
    return _function("\n".join(text), {**{f"m{n}": n for n in sizes}, "q": queue})


def _copies(label: str, size: int, number: int) -> list[str]:
    """The map's number, the key at r7, zeros behind it; then on to push."""
    text = [f"{label}:", f"*(u32 *)(r10 -{RECORD}) = {number}"]
    at = 0
    for width, kind in ((8, "u64"), (4, "u32"), (2, "u16"), (1, "u8")):
        while size - at >= width:
            to = at + 4 - RECORD
            text += [f"r0 = *({kind} *)(r7 +{at})", f"*({kind} *)(r10 {to}) = r0"]
            at += width
    text += [f"*(u8 *)(r10 {i + 4 - RECORD}) = 0" for i in range(at, KEY_MAX)]
    return [*text, "goto push"]


def leaders(insns: bytes) -> list[int]:
    """First instructions of the basic blocks: entries, targets, and what follows a jump, an exit or
    a tail call."""
    count = len(insns) // 8
    found, wide, second = {0}, False, set()
    for index, (opcode, regs, off, imm) in enumerate(_INSN.iter_unpack(insns)):
        if wide:
            wide = False
            second.add(index)
            continue
        wide = opcode == _LD_IMM64
        source = regs >> 4
        if (wide and source == _FUNC) or (opcode == _CALL and source == _LOCAL):
            found.add(index + 1 + imm)
        elif opcode & 7 in (5, 6) and opcode not in (_CALL, _EXIT):
            found |= {index + 1, index + 1 + (imm if opcode == 0x06 else off)}
        elif opcode == _EXIT or (opcode == _CALL and source == 0 and imm == _TAIL_CALL):
            found.add(index + 1)
    return sorted(at for at in found if 0 <= at < count and at not in second)


def trapped(program: ProgramSpec, index: int) -> ProgramSpec:
    """The program with a trap in place of the instruction at `index`.

    The trap writes the register that the instruction writes, since the loader refuses code that reads
    what nothing wrote; a jump or an exit becomes a circle, which ends with the budget.
    """
    code = bytearray(program.insns)
    opcode, regs, _, _ = _INSN.unpack_from(code, index * 8)
    kind = opcode & 7
    if opcode == _CALL:
        trap = _load_nothing(0)
    elif kind in (_JMP, _JMP32):
        trap = _INSN.pack(_JA, 0, -1, 0)
    elif kind in (_ST, _STX):
        trap = _INSN.pack(_ST_DW, 10, _FAR, 0)
    else:
        trap = _load_nothing(regs & 15)
    size = 16 if opcode == _LD_IMM64 else 8
    code[index * 8 : index * 8 + size] = trap * (size // 8)
    return replace(program, insns=bytes(code))


def _load_nothing(register: int) -> bytes:
    """Reads far above the stacks of all frames, into the register."""
    return _INSN.pack(_LDX_DW, 10 << 4 | register, _FAR, 0)
