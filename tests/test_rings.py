"""Ring buffers: verdicts, answers, records and positions compared with the kernel's in every engine."""

from __future__ import annotations

import errno
import mmap
import random
import struct
import threading
from pathlib import Path

import kernel
import pytest
from kernel_rings import KernelRing

import pktfilter as pf
from pktfilter import Map, MapSpec
from pktfilter.assembler import assemble

IN_KERNEL = kernel.requires_kernel()
ENGINES = ("checked", "interp", "jit")
PAGE = mmap.PAGESIZE
MAPS = f".map ring ringbuf 0 0 {PAGE}\n.map array array 4 64 2\n"
BEGIN = "r6 = r1\n" + "".join(f"*(u64 *)(r10 {at}) = 0\n" for at in range(-40, 0, 8))
END = "out: r0 = 2\nexit\n"
SUBMIT = "r2 = 0\ncall bpf_ringbuf_submit\n"
DISCARD = "r2 = 0\ncall bpf_ringbuf_discard\n"


def code(source: str) -> bytes:
    return assemble(MAPS + source, "rings.s")[0].insns


def reserve(size: int | str = 16, to: str = "r7", flags: int = 0) -> str:
    return f"r1 = map[ring]\nr2 = {size}\nr3 = {flags}\ncall bpf_ringbuf_reserve\n" + (
        "" if to == "r0" else f"{to} = r0\n"
    )


def output(data: str = "r10\nr2 += -16", size: int | str = 16, flags: int = 0) -> str:
    return f"r1 = map[ring]\nr2 = {data}\nr3 = {size}\nr4 = {flags}\ncall bpf_ringbuf_output\n"


CHECK = "if r7 == 0 goto out\n"
GIVE = "r1 = r7\n" + SUBMIT
KEY = "*(u32 *)(r10 -4) = 0\nr1 = map[array]\nr2 = r10\nr2 += -4\n"
LOOKUP = KEY + "call bpf_map_lookup_elem\nif r0 == 0 goto out\nr9 = r0\n"

CASES = {
    "submitted": reserve() + CHECK + GIVE,
    "discarded": reserve() + CHECK + "r1 = r7\n" + DISCARD,
    "leaked": reserve(),
    "leaked_on_one_branch": reserve() + CHECK + "r1 = *(u32 *)(r6 +16)\nif r1 == 3 goto out\n" + GIVE,
    "submitted_unchecked": reserve() + GIVE,
    "submitted_twice": reserve() + CHECK + GIVE + GIVE,
    "submitted_and_discarded": reserve() + CHECK + GIVE + "r1 = r7\n" + DISCARD,
    "written": reserve() + CHECK + "*(u64 *)(r7 +0) = 1\n*(u64 *)(r7 +8) = 2\n" + GIVE,
    "written_bytewise": reserve() + CHECK + "*(u8 *)(r7 +15) = 1\n*(u16 *)(r7 +13) = 2\n" + GIVE,
    "written_behind": reserve() + CHECK + "*(u8 *)(r7 +16) = 1\n" + GIVE,
    "written_across_the_end": reserve() + CHECK + "*(u32 *)(r7 +13) = 1\n" + GIVE,
    "written_before": reserve() + CHECK + "*(u8 *)(r7 -1) = 1\n" + GIVE,
    "written_unchecked": reserve() + "*(u8 *)(r7 +0) = 1\n" + CHECK + GIVE,
    "read_uninitialised": reserve() + CHECK + "r8 = *(u64 *)(r7 +0)\n" + GIVE,
    "written_after_submit": reserve() + "r8 = r7\n" + CHECK + GIVE + "*(u8 *)(r8 +0) = 1\n",
    "spilled_used_after_submit": reserve() + CHECK + "*(u64 *)(r10 -48) = r7\n" + GIVE
    + "r1 = *(u64 *)(r10 -48)\n*(u8 *)(r1 +0) = 1\n",
    "kept_as_number": reserve() + "r8 = r7\n" + CHECK + GIVE + "r8 += 1\n",
    "moved_written": reserve() + CHECK + "r8 = r7\nr8 += 8\n*(u64 *)(r8 +0) = 1\n" + GIVE,
    "moved_submitted": reserve() + CHECK + "r7 += 8\n" + GIVE,
    "moved_and_back": reserve() + CHECK + "r7 += 8\nr7 += -8\n" + GIVE,
    "variable_place": reserve() + CHECK
    + "r8 = *(u32 *)(r6 +16)\nr8 &= 7\nr9 = r7\nr9 += r8\n*(u8 *)(r9 +8) = 1\n" + GIVE,
    "variable_place_too_far": reserve() + CHECK
    + "r8 = *(u32 *)(r6 +16)\nr8 &= 15\nr9 = r7\nr9 += r8\n*(u8 *)(r9 +8) = 1\n" + GIVE,
    "variable_place_unbounded": reserve() + CHECK
    + "r8 = *(u32 *)(r6 +16)\nr9 = r7\nr9 += r8\n*(u8 *)(r9 +0) = 1\n" + GIVE,
    "atomic": reserve() + CHECK + "r8 = 1\nlock *(u64 *)(r7 +8) += r8\n" + GIVE,
    "atomic_unaligned": reserve() + CHECK + "r8 = 1\nlock *(u64 *)(r7 +4) += r8\n" + GIVE,
    "pointer_stored": reserve() + CHECK + "*(u64 *)(r7 +0) = r10\n" + GIVE,
    "ctx_stored": reserve() + CHECK + "*(u64 *)(r7 +0) = r6\n" + GIVE,
    "pointer_stored_and_loaded": reserve() + CHECK
    + "*(u64 *)(r7 +0) = r10\nr8 = *(u64 *)(r7 +0)\nr8 += 1\n" + GIVE,
    "record_in_record": reserve(to="r8") + "if r8 == 0 goto out\n" + reserve() + "if r7 == 0 goto one\n"
    + "*(u64 *)(r7 +0) = r8\n" + GIVE + "one: r1 = r8\n" + SUBMIT,
    "two_records": reserve(to="r8") + "if r8 == 0 goto out\n" + reserve(24) + "if r7 == 0 goto one\n"
    + GIVE + "one: r1 = r8\n" + DISCARD,
    "two_records_one_leaked": reserve(to="r8") + "if r8 == 0 goto out\n" + reserve(24)
    + "if r7 == 0 goto one\none: r1 = r8\n" + DISCARD,
    "size_0": reserve(0) + CHECK + GIVE,
    "size_0_written": reserve(0) + CHECK + "*(u8 *)(r7 +0) = 1\n" + GIVE,
    "size_of_two_branches": "r1 = *(u32 *)(r6 +16)\nr8 = 8\nif r1 == 1 goto less\nr8 = 16\nless:\n"
    + reserve("r8") + CHECK + "*(u64 *)(r7 +0) = 1\n" + GIVE,
    "size_of_two_branches_written": "r1 = *(u32 *)(r6 +16)\nr8 = 8\nif r1 == 1 goto less\nr8 = 16\nless:\n"
    + reserve("r8") + CHECK + "*(u64 *)(r7 +8) = 1\n" + GIVE,
    "size_unknown": "r8 = *(u32 *)(r6 +16)\n" + reserve("r8") + CHECK + GIVE,
    "size_bounded": "r8 = *(u32 *)(r6 +16)\nr8 &= 7\n" + reserve("r8") + CHECK + GIVE,
    "size_from_the_stack": "r8 = *(u64 *)(r10 -8)\n" + reserve("r8") + CHECK + GIVE,
    "size_negative": reserve(-1) + CHECK + GIVE,
    "size_huge": "r8 = 0x100000010 ll\n" + reserve("r8") + CHECK + GIVE,
    "size_huge_written": "r8 = 0x100000010 ll\n" + reserve("r8") + CHECK + "*(u8 *)(r7 +0) = 1\n" + GIVE,
    "size_pointer": reserve("r10") + CHECK + GIVE,
    "flags_unknown": "r8 = *(u32 *)(r6 +16)\n" + reserve().replace("r3 = 0", "r3 = r8") + CHECK + GIVE,
    "submit_of_stack": "r1 = r10\nr1 += -16\n" + SUBMIT,
    "submit_of_zero": "r1 = 0\n" + SUBMIT,
    "submit_of_ctx": "r1 = r6\n" + SUBMIT,
    "submit_of_a_map_value": LOOKUP + "r1 = r9\n" + SUBMIT,
    "submit_of_a_ring": "r1 = map[ring]\n" + SUBMIT,
    "socket_release_of_a_record": reserve() + CHECK + "r1 = r7\ncall bpf_sk_release\n",
    "reserve_from_an_array": reserve().replace("map[ring]", "map[array]") + CHECK + GIVE,
    "output": output(),
    "output_of_nothing": output(size=0),
    "output_of_null": output("0", 0),
    "output_of_too_much": output(size=24),
    "output_of_a_value": LOOKUP + output("r9", 64),
    "output_of_a_value_too_much": LOOKUP + output("r9", 65),
    "output_of_variable_size": LOOKUP + "r8 = *(u32 *)(r6 +16)\nr8 &= 63\n" + output("r9", "r8"),
    "output_of_unbounded_size": LOOKUP + "r8 = *(u32 *)(r6 +16)\n" + output("r9", "r8"),
    "output_of_a_record": reserve() + CHECK + output("r7", 16) + GIVE,
    "output_of_a_record_too_much": reserve() + CHECK + output("r7", 17) + GIVE,
    "output_of_the_packet": "r2 = *(u32 *)(r6 +0)\nr3 = *(u32 *)(r6 +4)\nr4 = r2\nr4 += 16\n"
    "if r4 > r3 goto out\nr8 = r2\n" + output("r8", 16),
    "output_of_the_ctx": output("r6", 16),
    "output_to_an_array": output().replace("map[ring]", "map[array]"),
    "query": "r1 = map[ring]\nr2 = 1\ncall bpf_ringbuf_query\n",
    "query_of_anything": "r1 = map[ring]\nr2 = r6\ncall bpf_ringbuf_query\n",
    "query_of_an_array": "r1 = map[array]\nr2 = 1\ncall bpf_ringbuf_query\n",
    "lookup_in_a_ring": "r1 = map[ring]\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem\n",
    "update_of_a_ring": "r1 = map[ring]\nr2 = r10\nr2 += -8\nr3 = r2\nr4 = 0\ncall bpf_map_update_elem\n",
    "record_as_a_key": reserve() + CHECK + "*(u32 *)(r7 +0) = 0\nr1 = map[array]\nr2 = r7\n"
    "call bpf_map_lookup_elem\n" + GIVE,
    "record_as_a_value": reserve(64) + CHECK + KEY + "r3 = r7\nr4 = 0\n"
    "call bpf_map_update_elem\n" + GIVE,
    "record_as_a_value_too_short": reserve(63) + CHECK
    + KEY + "r3 = r7\nr4 = 0\ncall bpf_map_update_elem\n" + GIVE,
    "record_filled_by_a_helper": reserve() + CHECK
    + "r1 = r6\nr2 = 0\nr3 = r7\nr4 = 16\ncall bpf_xdp_load_bytes\n" + GIVE,
    "record_held_at_adjust": reserve() + CHECK + "r1 = r6\nr2 = 0\ncall bpf_xdp_adjust_head\n" + GIVE,
    "record_to_a_subprogram": reserve() + CHECK + "r1 = r7\ncall put\ngoto out\nput: " + SUBMIT + "r0 = 0\nexit\n",
    "subprogram_fills": reserve() + CHECK + "r1 = r7\ncall fill\n" + GIVE
    + "goto out\nfill: *(u64 *)(r1 +8) = 3\nr0 = 0\nexit\n",
    "subprogram_reserves": "call get\nif r0 == 0 goto out\nr1 = r0\n" + SUBMIT + "goto out\nget:\n"
    + reserve(to="r0") + "exit\n",
    "subprogram_leaks": "call get\ngoto out\nget:\n" + reserve(to="r0") + "r0 = 0\nexit\n",
    "compared_low_half": reserve() + "if w7 == 0 goto out\n" + GIVE,
    "compared_above_zero": reserve() + "if r7 > 0 goto there\ngoto out\nthere:\n" + GIVE,
    "returned": reserve(to="r0") + "exit\n",
    "result_of_submit_read": reserve() + CHECK + GIVE + "r8 = r0\n",
    "in_a_loop": "r9 = 4\nagain:\n" + reserve() + "if r7 == 0 goto next\n" + GIVE
    + "next: r9 += -1\nif r9 != 0 goto again\n",
    "leaked_in_a_loop": "r9 = 4\nagain:\n" + reserve() + "r9 += -1\nif r9 != 0 goto again\n",
    "same_place_by_pruning": "r8 = *(u32 *)(r6 +16)\n" + reserve() + CHECK
    + "if r8 == 1 goto skip\n" + GIVE + "skip: r7 = 0\n",
    "record_or_value": "r8 = *(u32 *)(r6 +16)\n" + LOOKUP + "r7 = r9\nif r8 == 1 goto have\n" + reserve()
    + CHECK + "have: *(u64 *)(r7 +0) = 1\nif r8 == 1 goto out\n" + GIVE,
    "callback_commits": reserve() + CHECK + "*(u64 *)(r10 -8) = r7\n"
    "r1 = 1\nr2 = subprog[put]\nr3 = r10\nr3 += -8\nr4 = 0\n"
    "call bpf_loop\ngoto out\nput: r1 = *(u64 *)(r2 +0)\n" + SUBMIT + "r0 = 0\nexit\n",
    "callback_leaks": "r1 = 1\nr2 = subprog[get]\nr3 = 0\nr4 = 0\ncall bpf_loop\ngoto out\nget:\n" + reserve()
    + "r0 = 0\nexit\n",
    "callback_keeps_to_itself": "r1 = 3\nr2 = subprog[get]\nr3 = 0\nr4 = 0\ncall bpf_loop\ngoto out\nget:\n"
    + reserve() + "if r7 == 0 goto no\n" + GIVE + "no: r0 = 0\nexit\n",
    "held_around_a_loop": reserve() + CHECK + "r1 = 2\nr2 = subprog[nop]\nr3 = 0\nr4 = 0\ncall bpf_loop\n" + GIVE
    + "goto out\nnop: r0 = 0\nexit\n",
}  # fmt: skip


@IN_KERNEL
@pytest.mark.parametrize("name", CASES)
def test_verdict_is_linux_s(name: str) -> None:
    source = BEGIN + CASES[name] + END
    if "exit\n" in CASES[name] and "goto out\n" in CASES[name]:  # subprograms come last
        body, _, rest = CASES[name].rpartition("goto out\n")
        source = BEGIN + body + END + rest
    insns = code(source)
    with KernelRing(PAGE) as ring, kernel.KernelMap("array", 4, 64, 2) as array:
        try:
            with kernel.KernelProgram.load(insns, maps={1: ring, 2: array}) as loaded:
                takes, log = True, loaded.log
        except kernel.KernelError as error:
            assert error.errno in (errno.EINVAL, errno.EACCES, errno.E2BIG), error
            takes, log = False, error.log
    specs = {1: MapSpec("ringbuf", 0, 0, PAGE), 2: MapSpec("array", 4, 64, 2)}
    ours = pf.verify(insns, maps=specs)
    assert ours.ok == takes, log + str(ours.diagnostics)


# ---- what the helpers do ----

SIZES = (0, 1, 7, 8, 9, 100, 1000, 2040, PAGE - 24, PAGE - 17, PAGE - 16, PAGE - 15, PAGE - 8, PAGE)
QUERY = "r1 = map[ring]\nr2 = *(u8 *)(r8 +0)\ncall bpf_ringbuf_query\nexit\n"
PACKET = "r6 = r1\nr8 = *(u32 *)(r1 +0)\nr9 = *(u32 *)(r1 +4)\nr2 = r8\nr2 += 20\nr0 = 99\nif r2 > r9 goto none\n"


def committing(size: int, how: str, flags: int = 0) -> bytes:
    """Reserves, writes the packet's first bytes, as many as there is room for, and returns 1, or 0 without a record."""
    stores = "".join(
        f"r1 = *(u8 *)(r8 +{n})\n*(u8 *)(r7 +{n}) = r1\n" for n in range(min(size, 14))
    )
    return code(
        PACKET + reserve(size, flags=flags) + "if r7 == 0 goto full\n" + stores
        + f"r1 = r7\nr2 = 0\ncall bpf_ringbuf_{how}\nr0 = 1\nexit\nfull: r0 = 0\nnone: exit\n"
    )  # fmt: skip


def sending(size: int, flags: int = 0) -> bytes:
    """bpf_ringbuf_output of the last bytes of the stack, of which the packet's first are the beginning."""
    clear = "".join(f"*(u64 *)(r10 {at}) = 0\n" for at in range(-104, 0, 8))
    copy = "".join(f"r1 = *(u8 *)(r8 +{n})\n*(u8 *)(r10 {n - 104}) = r1\n" for n in range(14))
    return code(PACKET + clear + copy + output("r10\nr2 += -104", size, flags) + "none: exit\n")


STEPS = (
    [committing(size, how) for size in SIZES for how in ("submit", "discard")]
    + [sending(size) for size in (0, 1, 8, 60, 104)]
    + [sending(8, flags) for flags in (1, 2, 3, 4, 1 << 30)]
    + [committing(8, "submit", flags=1)]
)


@IN_KERNEL
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("engine", ENGINES)
def test_records_and_answers_are_linux_s(engine: str, seed: int) -> None:
    """Random calls, and now and then a reader: returns, positions and records after each step."""
    rng = random.Random(seed)
    ours = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    steps = [pf.Program.from_bytes(insns, maps={1: ours}) for insns in STEPS]
    query = pf.Program.from_bytes(code(PACKET + QUERY + "none: exit\n"), maps={1: ours})
    lost = 0
    with KernelRing(PAGE) as theirs:
        kernel_steps = [kernel.KernelProgram.load(insns, maps={1: theirs}) for insns in STEPS]
        kernel_query = kernel.KernelProgram.load(
            code(PACKET + QUERY + "none: exit\n"), maps={1: theirs}
        )
        for step in range(300):
            which, packet = rng.randrange(len(STEPS)), rng.randbytes(60)
            got = steps[which].test_run(packet, engine=engine, events=0)
            assert got.retval == kernel_steps[which].test_run(packet).retval, (step, which)
            for asked in range(5):
                packet = bytes([asked]) + bytes(59)
                answer = query.test_run(packet, engine=engine, events=0).retval
                assert answer == kernel_query.test_run(packet).retval, (step, asked)
            lost = ours.lost
            if rng.random() < 0.15:
                # What was not written is whatever was there before: only what was can be compared.
                found, expected = list(ours.consume()), theirs.consume()
                assert [(len(r), r[:14]) for r in found] == [(len(r), r[:14]) for r in expected]
        for program in (*kernel_steps, kernel_query):
            program.close()
    assert lost > 10


@IN_KERNEL
@pytest.mark.parametrize("size", [0, 1, 1000, 2048, PAGE - 8, PAGE + 8, 3 * PAGE])
def test_sizes_that_bpf_refuses_are_refused(size: int) -> None:
    with pytest.raises(kernel.KernelError) as kernels:
        KernelRing(size)
    assert kernels.value.errno == errno.EINVAL
    with pytest.raises(pf.PktfilterError) as ours:
        Map(MapSpec("ringbuf", 0, 0, size, name="r"))
    assert "power of two" in str(ours.value) or "max_entries is missing" in str(ours.value)


@IN_KERNEL
@pytest.mark.parametrize("sizes", [(4, 0), (0, 4), (4, 8)])
def test_rings_have_no_keys_and_values(sizes: tuple[int, int]) -> None:
    with pytest.raises(kernel.KernelError):
        kernel.KernelMap("ringbuf", *sizes, PAGE)
    with pytest.raises(pf.InputError):
        Map(MapSpec("ringbuf", *sizes, PAGE))


def test_operations_that_a_ring_does_not_have() -> None:
    ring = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    for call in (lambda: ring.push(b""), ring.pop, ring.peek, lambda: list(ring)):
        with pytest.raises(pf.MapError) as error:
            call()
        assert error.value.errno == errno.EOPNOTSUPP
    with pytest.raises(pf.MapError, match="has no keys: use consume"):
        ring[b""]
    with pytest.raises(pf.MapError) as error:
        next(Map(MapSpec("queue", 0, 8, 2)).consume())
    assert error.value.errno == errno.EOPNOTSUPP
    assert Map(MapSpec("queue", 0, 8, 2)).lost == 0
    assert ring.memory == 2 * PAGE and ring.memory_bytes == 0


def test_unread_records_can_be_counted_and_read_in_part() -> None:
    ring = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    submit = pf.Program.from_bytes(committing(8, "submit"), maps={1: ring})
    discard = pf.Program.from_bytes(committing(8, "discard"), maps={1: ring})
    for n in range(4):
        submit.test_run(bytes([n]) * 60, events=0)
        discard.test_run(bytes([n]) * 60, events=0)
    assert len(ring) == 4
    assert next(ring.consume()) == bytes(8)
    assert len(ring) == 3
    assert list(ring.consume()) == [bytes([n]) * 8 for n in (1, 2, 3)]
    assert list(ring.consume()) == []


def test_a_record_wraps_around_the_end_in_one_piece() -> None:
    ring = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    send = pf.Program.from_bytes(sending(104), maps={1: ring})
    for n in range(200):
        packet = struct.pack("<Q", n) + bytes(52)
        send.test_run(packet, events=0)
        assert [r[:8] for r in ring.consume()] == [packet[:8]]


# ---- runs of programs that nobody verified ----


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (reserve() + CHECK, "ends while 1 records"),
        (reserve() + CHECK + GIVE + GIVE, "argument 1"),
        (reserve() + CHECK + GIVE + "*(u8 *)(r7 +0) = 1\n", "store"),
        (reserve() + CHECK + "*(u8 *)(r7 +16) = 1\n", "store"),
        (reserve() + CHECK + "r8 = *(u64 *)(r7 -8)\n", "load"),
        (reserve() + CHECK + "r1 = r7\nr1 += 8\n" + SUBMIT, "argument 1"),
    ],
)
def test_the_checked_interpreter_stops_misuse(body: str, what: str) -> None:
    """And gives back what is held: the next record reaches the reader."""
    ring = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    wrong = pf.Program.from_bytes(code(BEGIN + body + END), maps={1: ring}, verify=False)
    with pytest.raises(pf.ExecutionFault, match=what):
        wrong.test_run(bytes(60), engine="checked", events=0)
    list(ring.consume())
    right = pf.Program.from_bytes(committing(8, "submit"), maps={1: ring})
    right.test_run(bytes(60), events=0)
    assert list(ring.consume()) == [bytes(8)]


# ---- delivery ----


def test_a_test_run_delivers_records_as_events() -> None:
    ring = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    for engine in ENGINES:
        send = pf.Program.from_bytes(sending(16), maps={1: ring})
        run = send.test_run(bytes(range(60)), engine=engine, repeat=100)
        assert len(run.events) == 100 and run.events_lost == 0 and run.retval == 0
        first, last = run.events[0], run.events[-1]
        assert (first.map, first.index, last.index) == ("ring", 0, 99)
        assert first.data == bytes(range(14)) + bytes(2) and first.packet == b""
    assert len(ring) == 0 and ring.lost == 0


def test_what_finds_no_room_among_the_events_is_counted() -> None:
    ring = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    send = pf.Program.from_bytes(sending(16), maps={1: ring})
    run = send.test_run(bytes(60), repeat=100, events=10 * 112)
    assert (len(run.events), run.events_lost) == (10, 90)
    assert len(ring) == 0


def test_records_behind_a_busy_one_wait_for_it() -> None:
    source = BEGIN + reserve(8) + CHECK + "*(u64 *)(r7 +0) = 1\n" + output() + GIVE + END
    ring = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    for engine in ENGINES:
        run = pf.Program.from_bytes(code(source), maps={1: ring}).test_run(bytes(60), engine=engine)
        assert [event.data for event in run.events] == [struct.pack("<Q", 1), bytes(16)]


def test_programs_and_a_reader_at_the_same_time() -> None:
    """Two writers and a reader: each writer's records arrive once, in its order; what is missing is counted."""
    ring = Map(MapSpec("ringbuf", 0, 0, PAGE, name="ring"))
    count, done = 20_000, threading.Event()
    refused = [0, 0]

    def write(which: int) -> None:
        send = pf.Program.from_bytes(sending(8), maps={1: ring})
        for n in range(count):
            packet = struct.pack("<II", which, n) + bytes(52)
            refused[which] += send.test_run(packet, events=0).retval != 0

    writers = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]
    seen: list[list[int]] = [[], []]

    def read() -> None:
        while True:
            last = done.is_set()
            for record in ring.consume():
                which, n = struct.unpack("<II", record)
                seen[which].append(n)
            if last:
                return

    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    for which in (0, 1):
        assert seen[which] == sorted(set(seen[which]))
        assert len(seen[which]) + refused[which] == count
    assert ring.lost == sum(refused)


def test_a_loaded_ring_s_size_is_rounded_up(tmp_path: Path) -> None:
    """As libbpf rounds it: to a power of two and whole pages."""
    spec = MapSpec("ringbuf")
    for asked, made in (
        (1, PAGE),
        (PAGE, PAGE),
        (PAGE + 1, 2 * PAGE),
        (5 * PAGE, 8 * PAGE),
        (1 << 31, 1 << 31),
    ):
        spec.size(asked)
        assert spec.max_entries == made
    array = MapSpec("array", 4, 4)
    array.size(5)
    assert array.max_entries == 5
