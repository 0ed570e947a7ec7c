"""bpf_spin_lock from Python: where BTF puts it, what users see of it, and that workers share it."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kernel
import pytest
from commandline import DEMO

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.objects import ObjectSpec
from pktfilter.objects.btf import Btf, StringTable
from pktfilter.objects.btf_types import (
    Array,
    BtfType,
    DataSec,
    Int,
    Member,
    Modifier,
    Ptr,
    SecVar,
    Struct,
    Var,
    Void,
)
from pktfilter.objects.spin_lock import spin_lock_of

PROGRAMS = Path(__file__).parent / "programs"
INT, LOCK, LONG = 1, 2, 3


def btf(*more: BtfType) -> Btf:
    """Types from 4 on, after int, struct bpf_spin_lock and long."""

    def fail(message: str) -> pf.ObjectError:
        return pf.ObjectError(message)

    first: list[BtfType] = [
        Void(),
        Int("int", 4, 32, 0, True, False, False),
        Struct("bpf_spin_lock", 4, (Member("val", 1, 0, 0),), False),
        Int("long", 8, 64, 0, True, False, False),
    ]
    return Btf([*first, *more], StringTable(b"\0", fail), "t.o")


def struct(size: int, *members: tuple[int, int], union: bool = False, name: str = "s") -> Struct:
    parts = tuple(Member(f"m{at}", kind, at * 8, 0) for kind, at in members)
    return Struct(name, size, parts, union)


def place(*more: BtfType, value: int = 4, kind: str = "hash", key: int = INT) -> int | None:
    return spin_lock_of(btf(*more), kind, key, value, restricted=False)


def test_shapes_that_linux_takes() -> None:
    """As measured with the same structs compiled by clang and given to Linux 6.18."""
    flat = struct(16, (LONG, 0), (LOCK, 8), (INT, 12))
    assert place(flat) == 8
    assert place(flat, kind="array") == 8
    assert place(struct(8, (INT, 0), (LOCK, 4)), struct(16, (LONG, 0), (4, 8)), value=5) == 12
    assert place(Array(LOCK, INT, 1), struct(16, (LONG, 0), (4, 8))) is None
    assert place(Array(LOCK, INT, 1), struct(16, (LONG, 0), (4, 8)), value=5) == 8
    assert place(flat, Array(4, INT, 1), struct(24, (LONG, 0), (5, 8)), value=6) == 16
    assert place(flat, Modifier("typedef", 4, "t"), value=5) == 8
    variables = Var("a", LONG, "static"), Var("b", LOCK, "static")
    section = DataSec(".bss", 12, (SecVar(4, 0, 8), SecVar(5, 8, 4)))
    assert place(*variables, section, value=6, kind="array", key=0) == 8


@pytest.mark.parametrize(
    "types",
    [
        [struct(16, (LONG, 0), (LONG, 8))],
        [struct(8, (LOCK, 0), (LOCK, 4))],
        [struct(16, (5, 0), (LOCK, 8)), struct(8, (LOCK, 0))],
        [struct(12, (LONG, 0), (5, 8)), Modifier("typedef", LOCK, "t")],
        [struct(12, (LONG, 0), (5, 8)), Modifier("volatile", LOCK)],
        [struct(16, (LONG, 0), (5, 8)), Ptr(LOCK)],
        [struct(16, (LONG, 0), (5, 8)), Array(LOCK, INT, 2)],
        [struct(8, (LONG, 0), (5, 8)), Array(LOCK, INT, 0)],
        [struct(12, (LONG, 0), (5, 8)), struct(4, (LOCK, 0), (INT, 0), union=True)],
        [struct(9, (INT, 0), (LOCK, 5))],
        [struct(16, (LONG, 0), (5, 8)), struct(8, (INT, 0), name="bpf_spin_lock")],
        [Modifier("typedef", LOCK, "t")],
        [Array(LOCK, INT, 1)],
        [struct(8, (4, 0))],
        [struct(8, (5, 0)), Array(5, INT, 1)],
    ],
)
def test_shapes_that_linux_does_not_take(types: list[BtfType]) -> None:
    assert place(*types) is None


def test_maps_that_have_no_lock() -> None:
    flat = struct(8, (LOCK, 0), (INT, 4))
    assert place(flat, kind="lru_hash") is None
    assert place(flat, kind="percpu_array") is None
    assert place(flat, key=0) is None
    assert place(flat, kind="array", key=LONG) is None
    assert place(flat, kind="hash", key=LONG) == 0
    assert spin_lock_of(btf(flat), "hash", INT, 4, restricted=True) is None


def test_wide_types_take_no_time() -> None:
    """Each struct holds the next one a hundred times over: 100 ** 30 members if walked naively."""
    depth = 30
    types = [struct(800, *((5 + n, at * 8) for at in range(100))) for n in range(depth)]
    assert place(*types, struct(8, (LONG, 0))) is None


def test_objects_say_it() -> None:
    found = {
        (path.stem, name): spec.lock
        for path in sorted(PROGRAMS.glob("spin_*.o"))
        for name, spec in ObjectSpec.from_file(path).maps.items()
        if spec.lock is not None
    }
    assert found == {
        ("spin_bucket", "shared_bucket"): 0,
        ("spin_flows", "tracks"): 8,
        ("spin_global", "cells"): 16,
        ("spin_limiter", "buckets"): 12,
        ("spin_machine", "machines"): 12,
        ("spin_sweep", ".bss"): 8,
        ("spin_sweep", "classes_a"): 0,
        ("spin_sweep", "classes_b"): 0,
        ("spin_sweep", "entries"): 0,
    }
    inner = ObjectSpec.from_file(PROGRAMS / "spin_sweep.o").maps["classes"].inner
    assert inner is not None and inner.lock == 0


def test_definitions_that_cannot_be() -> None:
    for spec, words in (
        (pf.MapSpec("lru_hash", 4, 8, 4, lock=0), "lru_hash"),
        (pf.MapSpec("hash", 4, 8, 4, lock=2), "offset"),
        (pf.MapSpec("hash", 4, 8, 4, lock=8), "offset"),
        (pf.MapSpec("array", 4, 8, 4, flags=1 << 7, lock=0), "writable"),
    ):
        with pytest.raises(pf.InputError, match=words):
            pf.Map(spec)


def test_users_do_not_see_it() -> None:
    m = pf.Map(pf.MapSpec("hash", 4, 12, 4, lock=4))
    m[1] = b"aaaaBBBBcccc"
    assert m[1] == b"aaaa\0\0\0\0cccc"
    m.update(1, b"ddddEEEEffff", flags=pf.BPF_F_LOCK | pf.BPF_EXIST)
    assert m.lookup(1, flags=pf.BPF_F_LOCK) == b"dddd\0\0\0\0ffff"
    plain = pf.Map(pf.MapSpec("hash", 4, 12, 4))
    plain[1] = bytes(12)
    for wrong in (
        lambda: plain.lookup(1, flags=pf.BPF_F_LOCK),
        lambda: plain.update(1, bytes(12), flags=pf.BPF_F_LOCK),
        lambda: m.lookup(1, flags=1),
        lambda: m.update(1, bytes(12), flags=8),
    ):
        with pytest.raises(pf.MapError) as caught:
            wrong()
        assert caught.value.errno == errno.EINVAL


def answer(call: Callable[..., object], *args: object, **options: object) -> object:
    """What a call gives, or its errno."""
    try:
        return call(*args, **options)
    except OSError as error:
        return error.errno
    except pf.MapError as error:
        return error.errno


@kernel.requires_kernel()
@pytest.mark.parametrize(
    ("kind", "lock"),
    [(kind, lock) for kind in ("hash", "array") for lock in (None, 0, 4, 8)]
    + [("percpu_array", None)],
)
def test_flags_agree_with_the_kernel(kind: str, lock: int | None) -> None:
    """Random updates and lookups with every flag: the same errno, the same bytes, the lock zero."""
    types = None if lock is None else (kernel.lock_btf(12, lock), 1, 6)
    rng = random.Random(f"{kind} {lock}")
    mine = pf.Map(pf.MapSpec(kind, 4, 12, 3, lock=lock), cpus=kernel.possible_cpus())
    with kernel.KernelMap(kind, 4, 12, 3, types=types) as theirs:
        for _ in range(600):
            key = rng.randrange(5).to_bytes(4, "little")
            flags = rng.choice((0, 1, 2, 3, 4, 5, 6, 8))
            value = rng.randbytes(12)
            if rng.random() < 0.5:
                want = answer(theirs.update, key, value, flags)
                got = answer(mine.update, key, value, flags=flags)
            elif theirs.percpu:
                want, got = answer(theirs.lookup_percpu, key), answer(mine.lookup, key)
            else:
                want = answer(theirs.lookup, key, flags)
                got = answer(mine.lookup, key, flags=flags)
            # What is absent is None there, an error here.
            assert (None if got == errno.ENOENT else got) == (
                None if want == errno.ENOENT else want
            ), (key, flags)


SIGNED = "r0 = *(s32 *)(r1 +12)\nr0 >>= 32\nexit\n"


@pytest.mark.parametrize("engine", ["checked", "interp"])
def test_sign_of_a_ctx_number(engine: str) -> None:
    """What Linux makes of it: the field's 32 bits, extended."""
    (program,) = assemble(SIGNED, "signed.s")
    prog = pf.Program.from_bytes(program.insns)
    for ifindex, want in ((1, 0), (0x7FFFFFFF, 0), (0x80000000, 0xFFFFFFFF)):
        run = prog.test_run(bytes(60), ingress_ifindex=ifindex, engine=engine)
        assert run.retval == want


COUNT = """
    .extern cells 1
    r6 = map[cells][0]+0
    r1 = r6
    r1 += 8
    call bpf_spin_lock
    r2 = *(u64 *)(r6 +0)
    r2 += 1
    *(u64 *)(r6 +0) = r2
    r3 = *(u64 *)(r6 +16)
    r3 += 1
    *(u64 *)(r6 +16) = r3
    r1 = r6
    r1 += 8
    call bpf_spin_unlock
    r0 = 2
    exit
"""


@pytest.mark.parametrize("engine", ["checked", "interp"])
def test_replays_share_it(engine: str) -> None:
    """Two counters that only the lock keeps together, counted by two replays at once."""
    cells = pf.Map(pf.MapSpec("array", 4, 24, 1, lock=8))
    (program,) = assemble(COUNT, "count.s")
    prog = pf.Program.from_bytes(program.insns, maps={1: cells})

    def count(name: str) -> int:
        hook = pf.Hook(name)
        hook.attach(prog)
        return pf.replay([DEMO] * 20, hook, batch=64, engine=engine).packets

    with ThreadPoolExecutor(2) as pool:
        packets = sum(pool.map(count, ("first", "second")))
    value = cells[0]
    assert isinstance(value, bytes)
    counters = [int.from_bytes(value[at : at + 8], "little") for at in (0, 8, 16)]
    assert counters == [packets, 0, packets]
