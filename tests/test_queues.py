"""Queues, stacks, bloom filters and xskmaps: user side, verifier and every engine against Linux."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kernel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_queues import KernelQueue

import pktfilter as pf
from pktfilter import BPF_ANY, BPF_EXIST, BPF_NOEXIST, Map, MapSpec

IN_KERNEL = kernel.requires_kernel()
TYPES = ("queue", "stack", "bloom_filter")
ZERO_SEED = 1 << 6
RDONLY, WRONLY, RDONLY_PROG, WRONLY_PROG = 8, 16, 128, 256
EINVAL, ENOENT, E2BIG, EACCES = errno.EINVAL, errno.ENOENT, errno.E2BIG, errno.EACCES
ENOTSUPP = 524  # Linux's own number, which user space has no name for; EOPNOTSUPP here


def outcome(function: Callable[..., Any], *arguments: object, **named: object) -> object:
    """What it returned, or the errno."""
    try:
        return function(*arguments, **named)
    except OSError as error:
        return errno.EOPNOTSUPP if error.errno == ENOTSUPP else error.errno


@contextmanager
def both(kind: str, size: int, entries: int, flags: int = 0) -> Iterator[tuple[Map, KernelQueue]]:
    with KernelQueue(kind, size, entries, flags) as theirs:
        yield Map(MapSpec(kind, 0, size, entries, flags)), theirs


# ---- user side ----

DEFINITIONS = [
    (kind, *rest)
    for kind in (*TYPES, "xskmap")
    for rest in (
        (0, 4, 4, 0, 0),
        (4, 4, 4, 0, 0),
        (0, 0, 4, 0, 0),
        (0, 4, 0, 0, 0),
        (4, 4, 0, 0, 0),
        (4, 8, 4, 0, 0),
        (0, 4 << 20, 4, 0, 0),
        (0, (4 << 20) + 1, 4, 0, 0),
        *((0, 4, 4, flags, 0) for flags in (1, 4, 8, 16, 24, 64, 128, 256, 384, 1 << 10, 1 << 12)),
        *((4, 4, 4, flags, 0) for flags in (1, 8, 16, 24, 64, 128, 256)),
        *((0, 4, 4, 0, extra) for extra in (1, 15, 16, 1 << 40)),
    )
]


@IN_KERNEL
@pytest.mark.parametrize("definition", DEFINITIONS, ids=str)
def test_definitions_are_refused_as_by_the_kernel(
    definition: tuple[str, int, int, int, int, int],
) -> None:
    kind, key, value, entries, flags, extra = definition
    want = 0
    try:
        KernelQueue(kind, value, entries, flags, key_size=key, extra=extra).close()
    except kernel.KernelError as error:
        want = error.errno or 0
    if want:
        with pytest.raises((pf.InputError, pf.MapError)) as caught:
            Map(MapSpec(kind, key, value, entries, flags, map_extra=extra))
        if isinstance(caught.value, pf.MapError):
            assert caught.value.errno == want
    else:
        assert Map(MapSpec(kind, key, value, entries, flags, map_extra=extra)).type == kind


@IN_KERNEL
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(("queue", "stack")),
    size=st.integers(1, 20),
    entries=st.integers(1, 5),
    steps=st.lists(
        st.tuples(
            st.sampled_from(("push", "push", "pop", "peek")),
            st.binary(min_size=20, max_size=20),
            st.sampled_from((BPF_ANY, BPF_ANY, BPF_EXIST, BPF_NOEXIST, 3, 4, 8, 1 << 40)),
        ),
        max_size=60,
    ),
)
def test_any_sequence_gives_what_the_kernel_gives(
    kind: str, size: int, entries: int, steps: list[tuple[str, bytes, int]]
) -> None:
    with both(kind, size, entries) as (mine, theirs):
        for verb, value, flags in steps:
            arguments = (value[:size],) if verb == "push" else ()
            named = {"flags": flags} if verb == "push" else {}
            want = outcome(getattr(theirs, verb), *arguments, **named)
            assert outcome(getattr(mine, verb), *arguments, **named) == want, verb


@IN_KERNEL
@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 40),
    entries=st.sampled_from((1, 2, 7, 64, 1000, 5000)),
    hashes=st.integers(0, 15),
    seed=st.integers(0, 1 << 30),
)
def test_a_bloom_filter_answers_as_the_kernels(
    size: int, entries: int, hashes: int, seed: int
) -> None:
    """With BPF_F_ZERO_SEED every answer is the same, false positives too."""
    rng = random.Random(seed)
    mine = Map(MapSpec("bloom_filter", 0, size, entries, ZERO_SEED, map_extra=hashes))
    with KernelQueue("bloom_filter", size, entries, ZERO_SEED, extra=hashes) as theirs:
        added = [rng.randbytes(size) for _ in range(min(entries * 2, 200))]
        for value in added:
            mine.add(value)
            theirs.push(value)
        assert all(value in mine for value in added)
        for _ in range(400):
            value = rng.randbytes(size)
            assert (value in mine) == theirs.contains(value)
        for flags in (1, 2, 3, 4):
            assert outcome(mine.push, added[0], flags=flags) == EINVAL
            assert outcome(theirs.push, added[0], flags=flags) == EINVAL


@IN_KERNEL
def test_very_large_bloom_filters_have_the_kernels_places() -> None:
    """2^32 bits: where the number of bits overflows in Linux."""
    mine = Map(MapSpec("bloom_filter", 0, 4, 1 << 30, ZERO_SEED))
    with KernelQueue("bloom_filter", 4, 1 << 30, ZERO_SEED) as theirs:
        for number in range(300):
            theirs.push(struct.pack("<I", number))
            mine.add(number)
        assert mine.memory == 1 << 29
        for number in range(600):
            assert (number in mine) == theirs.contains(struct.pack("<I", number))


@IN_KERNEL
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("flags", [0, RDONLY, WRONLY, RDONLY_PROG, WRONLY_PROG])
@pytest.mark.parametrize("frozen", [False, True])
def test_flags_and_freezing(kind: str, flags: int, frozen: bool) -> None:
    with both(kind, 4, 2, flags) as (mine, theirs):
        if not frozen:
            want = outcome(theirs.push, b"abcd")
            assert outcome(mine.push, b"abcd") == want
        else:
            outcome(theirs.freeze)  # EPERM where nobody may write anyway
            mine.freeze()
        assert outcome(mine.push, b"efgh") == outcome(theirs.push, b"efgh")
        if kind == "bloom_filter":
            assert outcome(mine.may_contain, b"efgh") == outcome(theirs.contains, b"efgh")
        else:
            assert outcome(mine.peek) == outcome(theirs.peek)
        assert outcome(mine.pop) == outcome(theirs.pop)


@pytest.mark.parametrize("kind", TYPES)
def test_keys_are_refused_in_one_sentence(kind: str) -> None:
    m = Map(MapSpec(kind, 0, 4, 2), name="waiting")
    operations: list[Callable[[], object]] = [
        lambda: m[b""],
        lambda: m.update(0, b"abcd"),
        lambda: m.delete(0),
    ]
    for operation in operations:
        with pytest.raises(pf.MapError, match="has no keys: use") as caught:
            operation()
        assert caught.value.errno == EINVAL
    with pytest.raises(pf.MapError):
        list(m)
    with pytest.raises(pf.InputError, match="wrong size"):
        m.push(b"toolong")
    assert "waiting" in repr(m) and len(m) == 0
    m.push(7)
    assert len(m) == 1


def test_keyed_maps_have_no_ends() -> None:
    m = Map(MapSpec("hash", 4, 4, 2))
    operations: list[Callable[[], object]] = [m.pop, m.peek, lambda: m.push(1), lambda: m.add(1)]
    for operation in operations:
        with pytest.raises(pf.MapError) as caught:
            operation()
        assert caught.value.errno == errno.EOPNOTSUPP


def test_an_xskmap_is_a_port_map() -> None:
    m = Map(MapSpec("xskmap", 4, 4, 4))
    for key, number, flags, want in (
        (0, 7, BPF_EXIST, ENOENT),
        (0, 7, BPF_NOEXIST, None),
        (0, 7, BPF_NOEXIST, None),
        (0, 8, BPF_NOEXIST, errno.EEXIST),
        (0, 8, BPF_EXIST, None),
        (0, 8, 3, EINVAL),
        (4, 8, 0, E2BIG),
        (1, 0, 0, EINVAL),
    ):
        assert outcome(m.update, key, number, flags=flags) == want, (key, number, flags)
    assert dict(m.items()) == {struct.pack("<I", 0): struct.pack("<I", 8)}
    assert outcome(m.delete, 4) == EINVAL and outcome(m.delete, 1) is None
    assert len(m) == 1


# ---- programs ----

PUSH, POP, PEEK = 87, 88, 89


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def load_map(number: int, dst: int = 1) -> bytes:
    return insn(0x18, dst, 1, 0, number) + insn(0)


def returns(helper: int, flags: int = 0, size: int = 8) -> bytes:
    """The packet's bytes from 14 on are the value; what the helper left goes back there.

    Returns the helper's result. A program of 8-byte values and packets of 22 bytes or more.
    """
    return b"".join(
        (
            insn(0xBF, 6, 1),  # r6 = ctx
            insn(0x61, 7, 6, 0),  # r7 = data
            insn(0x61, 8, 6, 4),  # r8 = data_end
            insn(0xBF, 2, 7),
            insn(0x07, 2, 0, 0, 14 + size),
            insn(0xB7, 0, 0, 0, -1),
            insn(0x2D, 2, 8, 9 + (1 if helper == PUSH else 0)),  # if r2 > r8 goto exit
            insn(0x79, 3, 7, 14),
            insn(0x7B, 10, 3, -8),
            load_map(1),
            insn(0xBF, 2, 10),
            insn(0x07, 2, 0, 0, -8),
            insn(0xB7, 3, 0, 0, flags) if helper == PUSH else b"",
            insn(0x85, 0, 0, 0, helper),
            insn(0x79, 3, 10, -8),
            insn(0x7B, 7, 3, 14),
            insn(0x95),
        )
    )


@IN_KERNEL
@pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
@pytest.mark.parametrize("kind", TYPES)
def test_programs_do_what_they_do_in_the_kernel(kind: str, engine: str) -> None:
    rng = random.Random(11)
    flags = ZERO_SEED if kind == "bloom_filter" else 0
    actions = [(PUSH, 0), (PUSH, 0), (PUSH, 1), (PUSH, 2), (PUSH, 3), (PEEK, 0)]
    if kind != "bloom_filter":
        actions += [(POP, 0), (POP, 0)]
    with both(kind, 8, 3, flags) as (mine, theirs):
        loaded = []
        for helper, given_flags in actions:
            code = returns(helper, given_flags)
            program = kernel.KernelProgram.load(code, maps={1: theirs})
            loaded.append((pf.Program.from_bytes(code, maps={1: mine}), program))
        for step in range(400):
            ours, kernels = rng.choice(loaded)
            packet = bytes(14) + struct.pack("<Q", rng.randrange(12)) + bytes(42)
            want = kernels.test_run(packet)
            got = ours.test_run(packet, engine=engine)
            assert got.retval == want.retval, step
            assert got.data == want.packet, step
            if kind != "bloom_filter":
                assert outcome(mine.peek) == outcome(theirs.peek)
        for _, program in loaded:
            program.close()


def at_value(helper: int, setup: bytes, *, number: int = 1) -> bytes:
    """Calls the helper with r2 as `setup` leaves it; r6 = ctx, r7 = data, 8 bytes of which are proved."""
    head = b"".join(
        (
            insn(0xBF, 6, 1),
            insn(0x61, 7, 6, 0),
            insn(0x61, 8, 6, 4),
            insn(0xBF, 2, 7),
            insn(0x07, 2, 0, 0, 8),
        )
    )
    body = setup + load_map(number) + insn(0xB7, 3) + insn(0x85, 0, 0, 0, helper)
    tail = insn(0xB7, 0) + insn(0x95)
    return head + insn(0x2D, 2, 8, len(body) // 8) + body + tail


STACK = insn(0xBF, 2, 10) + insn(0x07, 2, 0, 0, -8)
WRITTEN = insn(0x7A, 10, 0, -8, 5) + STACK
SETUPS = {
    "stack": WRITTEN,
    "unwritten stack": STACK,
    "short stack": insn(0x62, 10, 0, -4, 5) + insn(0xBF, 2, 10) + insn(0x07, 2, 0, 0, -4),
    "packet": insn(0xBF, 2, 7),
    "null": insn(0xB7, 2),
    "scalar": insn(0x61, 2, 6, 16),
    "ctx": insn(0xBF, 2, 6),
    "value": WRITTEN
    + insn(0x62, 10, 0, -16)
    + load_map(2)
    + insn(0xBF, 2, 10)
    + insn(0x07, 2, 0, 0, -16)
    + insn(0x85, 0, 0, 0, 1)
    + insn(0x55, 0, 0, 2)
    + insn(0xB7, 0)
    + insn(0x95)
    + insn(0xBF, 2, 0),
    "value or null": WRITTEN
    + insn(0x62, 10, 0, -16)
    + load_map(2)
    + insn(0xBF, 2, 10)
    + insn(0x07, 2, 0, 0, -16)
    + insn(0x85, 0, 0, 0, 1)
    + insn(0xBF, 2, 0),
}


@IN_KERNEL
@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        *((k, f) for k in (*TYPES, "hash", "array") for f in (0, RDONLY_PROG, WRONLY_PROG)),
        ("xskmap", 0),  # Linux makes none with those flags
    ],
)
def test_the_verifier_judges_as_the_kernels(kind: str, flags: int) -> None:
    """Each helper, with each kind of memory, and the map helpers on maps without keys."""
    key = 0 if kind in TYPES else 4
    value = 4 if kind == "xskmap" else 8
    spec = MapSpec(kind, key, value, 4, flags)
    array = MapSpec("array", 4, 8, 1)
    with (
        KernelQueue(kind, value, 4, flags, key_size=key) as theirs,
        kernel.KernelMap("array", 4, 8, 1) as second,
    ):
        for helper in (1, 2, 3, PUSH, POP, PEEK):
            for name, setup in SETUPS.items():
                code = at_value(helper, setup)
                want = 0
                try:
                    kernel.KernelProgram.load(code, maps={1: theirs, 2: second}).close()
                except kernel.KernelError as error:
                    want = error.errno or 0
                result = pf.verify(code, maps={1: spec, 2: array})
                assert result.ok == (want == 0), (helper, name, want, result.log)


LOOKUP = (
    insn(0x62, 10, 0, -4)
    + load_map(1)
    + insn(0xBF, 2, 10)
    + insn(0x07, 2, 0, 0, -4)
    + insn(0x85, 0, 0, 0, 1)
    + insn(0x15, 0, 0, 1)
)
SOCKET_USES = {
    "queue_id": insn(0x61, 0, 0, 0),
    "half": insn(0x69, 0, 0, 0),
    "byte": insn(0x71, 0, 0, 0),
    "second half": insn(0x69, 0, 0, 2),
    "double": insn(0x79, 0, 0, 0),
    "behind": insn(0x61, 0, 0, 4),
    "write": insn(0x62, 0, 0, 0, 1),
    "atomic": insn(0xC3, 0, 0, 0, 0),
    "moved": insn(0x07, 0, 0, 0, 4),
    "moved by nothing": insn(0x07, 0, 0, 0, 0),
    "copied": insn(0xBF, 3, 0),
    "spilled": insn(0x7B, 10, 0, -16),
}


@IN_KERNEL
@pytest.mark.parametrize("use", SOCKET_USES)
def test_what_a_program_may_read_of_a_socket(use: str) -> None:
    code = LOOKUP + SOCKET_USES[use] + insn(0xB7, 0) + insn(0x95)
    with kernel.KernelMap("xskmap", 4, 4, 4) as theirs:
        try:
            kernel.KernelProgram.load(code, maps={1: theirs}).close()
            want = True
        except kernel.KernelError:
            want = False
    assert pf.verify(code, maps={1: MapSpec("xskmap", 4, 4, 4)}).ok == want


def redirect(flags: int, key: int = 0) -> bytes:
    return (
        load_map(1)
        + insn(0xB7, 2, 0, 0, key)
        + insn(0xB7, 3, 0, 0, flags)
        + insn(0x85, 0, 0, 0, 51)
        + insn(0x95)
    )


@IN_KERNEL
@pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
def test_redirect_to_an_empty_xskmap_is_the_kernels(engine: str) -> None:
    mine = Map(MapSpec("xskmap", 4, 4, 4))
    empty = LOOKUP.replace(insn(0x15, 0, 0, 1), insn(0x15, 0, 0, 2))
    codes = [redirect(flags, key) for flags in (0, 1, 2, 3, 4, 8, 16, 24) for key in (0, 3, 4, 9)]
    codes.append(empty + insn(0xB7, 0, 0, 0, 1) + insn(0x95) + insn(0xB7, 0, 0, 0, 2) + insn(0x95))
    with kernel.KernelMap("xskmap", 4, 4, 4) as theirs:
        for code in codes:
            with kernel.KernelProgram.load(code, maps={1: theirs}) as program:
                want = program.test_run(bytes(60)).retval
            ours = pf.Program.from_bytes(code, maps={1: mine})
            assert ours.test_run(bytes(60), engine=engine).retval == want


@pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
def test_redirect_to_a_socket(engine: str) -> None:
    """No kernel counterpart without a bound AF_XDP socket: by its documentation, XDP_REDIRECT."""
    m = Map(MapSpec("xskmap", 4, 4, 4))
    m[2] = 9
    for key, want in ((2, pf.XDP.REDIRECT), (1, pf.XDP.PASS)):
        program = pf.Program.from_bytes(redirect(2, key), maps={1: m})
        assert program.test_run(bytes(60), engine=engine).action == want
    code = LOOKUP.replace(insn(0x62, 10, 0, -4), insn(0x62, 10, 0, -4, 2))
    code += insn(0x61, 0, 0, 0) + insn(0x95)
    program = pf.Program.from_bytes(code, maps={1: m})
    assert program.test_run(bytes(60), engine=engine).retval == 9


@pytest.mark.parametrize("kind", ["queue", "stack", "bloom_filter"])
def test_batches_need_keys(kind: str) -> None:
    made = pf.Map(pf.MapSpec(kind, 0, 8, 4))
    for call in (lambda: made.update_batch([(b"", bytes(8))]), lambda: made.delete_batch([b""])):
        with pytest.raises(pf.MapError, match="has no keys"):
            call()
