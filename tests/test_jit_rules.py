"""The rules by which compiled code has no undefined behaviour and uses facts alone (jit/emit.py, L1 to L5).

Each test names the rule without which it fails; every one was seen to fail without it.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import compiled
import pytest

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.handles.program import Program

pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")

FACTS = pytest.mark.parametrize("facts", [True, False], ids=["facts", "no-facts"])
ARRAY = pf.MapSpec(type="array", key_size=4, value_size=16, max_entries=4)
PACKET = bytes(range(64))


def program(text: str, *, type: str = "xdp", **specs: pf.MapSpec) -> Program:
    """A verified program in assembly; maps by name."""
    head = [f".extern {name} {number}" for number, name in enumerate(specs, 1)]
    (made,) = assemble("\n".join([*head, text]), "test.s")
    by_name = {name: pf.Map(spec) for name, spec in specs.items()}
    for name, spec in specs.items():
        if spec.frozen:
            by_name[name][bytes(spec.key_size)] = spec.data or b""
            by_name[name].freeze()
    maps = {number: by_name[name] for number, name in made.map_refs.items()}
    return Program(made.insns, type=type, name="test", maps=maps)


def accesses(made: Program, size: int, *, facts: bool) -> list[str]:
    """Loads and stores of program memory of this many bytes, as the translator wrote them."""
    found = []
    for line in compiled.text_of(made, facts=facts).splitlines():
        if re.search(rf"\b(load|store)\b.* i{size * 8}\b.*!tbaa !4", line):
            found.append(re.sub(r"%\S+ = |, !tbaa.*", "", line.strip()))
    return found


def both(made: Program, packet: bytes = PACKET, **options: Any) -> tuple[Any, ...]:
    """What the compiled run gives, which must be what the interpreter gives."""
    expected = compiled.run(made, packet, "interp", **options)
    found = compiled.run(made, packet, "jit", **options)
    assert found == expected
    return found


STACK_LEFT = """
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r2 = r6
    r2 += 8
    r0 = 0
    if r2 > r7 goto out
    r3 = *(u8 *)(r6 +0)
    if r3 == 0 goto empty
    *(u64 *)(r10 -8) = 77
empty:
    r0 = *(u64 *)(r10 -8)
out:
    exit
"""


@FACTS
def test_stack_starts_at_zero(facts: bool) -> None:
    """L4: without the zeroing the value of the other path is as good as any to LLVM."""
    made = program(STACK_LEFT)
    compiled.stage(made, facts=facts)
    assert both(made, b"\1" + bytes(63))[0] == 77
    assert both(made, bytes(64))[0] == 0


DEEP_STACK = """
    r1 = r10
    r1 += -16
    *(u64 *)(r10 -8) = r1
    r2 = *(u64 *)(r10 -8)
    r2 += -400
    r0 = *(u64 *)(r2 +0)
    r3 = *(u64 *)(r2 +128)
    r0 |= r3
    exit
"""


@FACTS
def test_whole_frame_is_zero_once_its_address_is_somewhere(facts: bool) -> None:
    """L4: without `Frame._escaped` only the bytes that are named are zeroed, or there at all."""
    made = program(DEEP_STACK)
    assert "alloca [512 x i8]" in compiled.text_of(made, facts=facts)
    compiled.stage(made, facts=facts)
    for _ in range(3):
        assert both(made)[0] == 0


PACKET_READ = """
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r2 = r6
    r2 += 16
    r0 = 2
    if r2 > r7 goto out
    r0 = *(u32 *)(r6 +3)
    *(u32 *)(r6 +7) = r0
    r0 = *(u8 *)(r6 +0)
out:
    exit
"""


def test_packet_is_plain_where_it_is_proved() -> None:
    """L1, L5: with facts plain and unaligned; without them shared."""
    made = program(PACKET_READ)
    plain = accesses(made, 4, facts=True)
    assert [bool(re.fullmatch(r"(load|store) i32.* align 1", line)) for line in plain] == [True] * 2
    shared = accesses(made, 4, facts=False)
    assert all("volatile" in line and line.endswith("align 1") for line in shared)
    assert [line for line in accesses(made, 1, facts=False) if "unordered" in line]


GROWING = """
    r7 = *(u32 *)(r1 +4)
    r6 = *(u32 *)(r1 +0)
    r0 = 1
    r2 = r6
    r2 += 14
    if r2 > r7 goto out
    r3 = *(u8 *)(r6 +12)
    if r3 != 8 goto out
    r0 = 2
    r2 = r6
    r2 += 34
    if r2 > r7 goto out
    r3 = *(u8 *)(r6 +33)
    if r3 == 9 goto short
    r0 = 3
    r2 = r6
    r2 += 20
    r3 = *(u8 *)(r2 +13)
    goto out
short:
    r0 = 4
out:
    exit
"""


def test_the_bytes_that_are_proved_to_exist_are_told_and_no_more() -> None:
    """L6: only behind the test that proves them, and only with facts."""
    made = program(GROWING)
    told = re.findall(r"dereferenceable\((\d+)\)", compiled.text_of(made, facts=True))
    assert sorted({int(n) for n in told}) == [14, 34]
    assert "dereferenceable" not in compiled.text_of(made, facts=False)
    for size in range(14, 50):
        for kind in (0, 8):
            for last in (0, 9):
                packet = bytearray(bytes(range(100, 100 + size)))
                packet[12] = kind
                if size > 33:
                    packet[33] = last
                both(made, bytes(packet))


VALUE = """
    *(u32 *)(r10 -4) = 1
    r1 = map[cells]
    r2 = r10
    r2 += -4
    call map_lookup_elem
    if r0 == 0 goto out
    r1 = *(u64 *)(r0 +8)
    r1 += 1
    *(u64 *)(r0 +8) = r1
    *(u32 *)(r0 +2) = 5
    r0 = *(u32 *)(r0 +8)
    exit
out:
    r0 = 0
    exit
"""


def test_map_values_are_shared() -> None:
    """L2: atomic where the facts prove the alignment, volatile where not; never plain."""
    made = program(VALUE, cells=ARRAY)
    whole = accesses(made, 8, facts=True)
    assert len(whole) == 2 and all(line.endswith("unordered, align 8") for line in whole)
    parts = accesses(made, 4, facts=True)
    assert any("store volatile" in line and line.endswith("align 1") for line in parts)
    assert any(line.endswith("unordered, align 4") for line in parts)
    assert all("volatile" in line for line in accesses(made, 8, facts=False))


@FACTS
def test_map_values_agree(facts: bool) -> None:
    one, other = program(VALUE, cells=ARRAY), program(VALUE, cells=ARRAY)
    compiled.stage(other, facts=facts)
    for _ in range(3):
        assert compiled.run(other, PACKET, "jit") == compiled.run(one, PACKET, "interp")
    left, right = (m.maps[1] for m in (one, other))
    assert sorted(left.items()) == sorted(right.items())


KEY_FROM_PACKET = """
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r2 = r6
    r2 += 8
    r0 = 7
    if r2 > r7 goto out
    r1 = map[cells]
    r2 = r6
    call map_lookup_elem
    if r0 == 0 goto absent
    r0 = *(u32 *)(r0 +0)
    r0 += 100
out:
    exit
absent:
    r0 = 3
    exit
"""


@FACTS
@pytest.mark.parametrize("type", ["array", "percpu_array", "hash", "percpu_hash", "lru_hash"])
@pytest.mark.parametrize("key", [0, 3, 4, 5, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_lookups_stay_in_the_map(type: str, key: int, facts: bool) -> None:
    """L3: the bounds check of an inlined array lookup, which its `nuw` relies on."""
    spec = pf.MapSpec(type=type, key_size=4, value_size=16, max_entries=4)
    made = program(KEY_FROM_PACKET, cells=spec)
    compiled.stage(made, facts=facts)
    there = 100 if "array" in type and key < 4 else 3
    assert both(made, struct.pack("<I", key) + bytes(60))[0] == there


@FACTS
@pytest.mark.parametrize("type", ["percpu_array", "percpu_hash"])
def test_a_cpu_that_the_map_has_no_value_for(type: str, facts: bool) -> None:
    """L3: the check of the CPU id before the value's address is made of it."""
    spec = pf.MapSpec(type=type, key_size=4, value_size=16, max_entries=4)
    made = program(KEY_FROM_PACKET, cells=spec)
    compiled.stage(made, facts=facts)
    cpus = made.maps[1]._ref.cpus
    for cpu in range(cpus):
        both(made, bytes(64), cpu=cpu)
    text = compiled.text_of(made, facts=True)
    # What starts runs refuses such CPUs, too; a hash map's own lookup checks them.
    assert (f"icmp ult i32 %cpu, {cpus}" in text) == (type == "percpu_array")


SPILLED_MAP = """
    r6 = map[cells]
    *(u64 *)(r10 -16) = r6
    *(u32 *)(r10 -4) = 2
    r2 = r10
    r2 += -4
    r1 = *(u64 *)(r10 -16)
    call map_lookup_elem
    if r0 == 0 goto out
    r0 = *(u32 *)(r0 +0)
out:
    exit
"""


def test_a_spilled_map_is_known_by_facts() -> None:
    """L5: the map behind a register that came from memory."""
    made = program(SPILLED_MAP, cells=ARRAY)
    assert "pf_helper_1" not in compiled.text_of(made, facts=True)
    assert "pf_helper_1" in compiled.text_of(made, facts=False)
    compiled.stage(made)
    both(made)


SPILLED_FRAME = """
    r6 = r10
    r6 += -32
    *(u64 *)(r10 -8) = r6
    *(u32 *)(r10 -32) = 9
    r7 = *(u64 *)(r10 -8)
    r0 = *(u32 *)(r7 +0)
    exit
"""


def test_a_spilled_frame_address_is_known_by_facts() -> None:
    """L5: plain access to the stack through a pointer that came from memory."""
    made = program(SPILLED_FRAME)
    assert all(
        re.fullmatch(r"(load|store) i32.* align 4", x) for x in accesses(made, 4, facts=True)
    )
    assert [line for line in accesses(made, 4, facts=False) if "load volatile" in line]
    compiled.stage(made)
    assert both(made)[0] == 9


UNREACHED = """
    r1 = 1
    r0 = 2
    if r1 == 1 goto out
    r0 = 99999
out:
    exit
"""


def test_what_no_run_reaches_is_left_out() -> None:
    """L5: a branch that the facts decide."""
    made = program(UNREACHED)
    assert "99999" not in compiled.text_of(made, facts=True)
    assert "99999" in compiled.text_of(made, facts=False)
    compiled.stage(made)
    assert both(made)[0] == 2


def test_frozen_contents_are_constants() -> None:
    """The contents of a frozen read-only array, at an offset that is known."""
    spec = pf.MapSpec(
        type="array",
        key_size=4,
        value_size=16,
        max_entries=1,
        flags=1 << 7,
        data=struct.pack("<IIQ", 11, 22, 33),
        frozen=True,
    )
    made = program("r1 = map[rodata][0]+4\n r0 = *(u32 *)(r1 +0)\n exit", rodata=spec)
    assert not accesses(made, 4, facts=False)
    compiled.stage(made)
    assert both(made)[0] == 22
    # One that users may still write is read.
    open_ = pf.MapSpec(type="array", key_size=4, value_size=16, max_entries=1)
    other = program("r1 = map[data][0]+4\n r0 = *(u32 *)(r1 +0)\n exit", data=open_)
    assert accesses(other, 4, facts=True)


ADJUSTED = """
    r6 = r1
    r2 = -4
    call xdp_adjust_head
    r0 = 1
    r2 = *(u32 *)(r6 +0)
    r3 = *(u32 *)(r6 +4)
    r4 = r2
    r4 += 20
    if r4 > r3 goto out
    *(u32 *)(r2 +0) = 1234
    r0 = *(u32 *)(r2 +16)
out:
    exit
"""


@FACTS
def test_ctx_is_read_again_after_a_helper_that_moves_the_packet(facts: bool) -> None:
    """A program that calls such a helper is not lean (Shape.lean)."""
    made = program(ADJUSTED)
    compiled.stage(made, facts=facts)
    assert both(made)[1][:4] == struct.pack("<I", 1234)


LOOP = """
    r1 = map[cells][0]+0
    r1 = *(u32 *)(r1 +0)
    r2 = func[body]
    r3 = r10
    r3 += -8
    r4 = {flags}
    call loop
    r1 = *(u64 *)(r10 -8)
    r1 <<= 8
    r0 ^= r1
    exit
body:
    r3 = *(u64 *)(r2 +0)
    r3 += 1
    *(u64 *)(r2 +0) = r3
    r0 = 0
    if r1 < 5 goto done
    r0 = 1
done:
    exit
"""


@FACTS
@pytest.mark.parametrize("flags", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 5, 6, 9, 1 << 23, (1 << 23) + 1, 0xFFFFFFFF])
def test_loops_of_known_callbacks(count: int, flags: int, facts: bool) -> None:
    """Without the checks that bpf_loop makes (ops_calls._loop) the results differ."""
    spec = pf.MapSpec(type="array", key_size=4, value_size=4, max_entries=1)
    made = program(LOOP.format(flags=flags).replace("func[body]", "subprog[body]"), cells=spec)
    made.maps[1][bytes(4)] = struct.pack("<I", count)
    compiled.stage(made, facts=facts)
    assert "pf_helper_181" not in compiled.text_of(made, facts=facts)
    both(made)


SPILL_BESIDE_A_KEY = """
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r2 = r6
    r2 += 8
    r0 = 7
    if r2 > r7 goto out
    r3 = *(u32 *)(r6 +4)
    *(u64 *)(r10 -24) = r3
    r3 = *(u32 *)(r6 +0)
    *(u32 *)(r10 -4) = r3
    r1 = map[cells]
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -24
    r4 = 0
    call map_update_elem
    r0 = *(u64 *)(r10 -24)
    *(u64 *)(r10 -40) = r0
    r0 = 1
    *(u64 *)(r10 -40) += r0
    r0 = *(u64 *)(r10 -40)
out:
    exit
"""


@FACTS
def test_what_a_helper_reaches_of_the_frame(facts: bool) -> None:
    """Without Frame.expose the helper would see other bytes than the function wrote; a slot that no helper
    reaches is the function's alone."""
    spec = pf.MapSpec(type="hash", key_size=4, value_size=16, max_entries=8)
    text = SPILL_BESIDE_A_KEY.replace("*(u64 *)(r10 -40) += r0", "lock *(u64 *)(r10 -40) += r0")
    one, other = program(text, cells=spec), program(text, cells=spec)
    written = compiled.text_of(other, facts=facts)
    slots = {n: f"%slot{n} = alloca" in written for n in (1, 3, 5)}
    assert slots == {1: False, 3: False, 5: True}
    compiled.stage(other, facts=facts)
    packet = struct.pack("<II", 0xABCD, 77) + bytes(56)
    assert compiled.run(other, packet, "jit") == compiled.run(one, packet, "interp")
    assert sorted(other.maps[1].items()) == sorted(one.maps[1].items())
    assert len(one.maps[1]) == 1
