"""Random programs with dynptrs: the kernel's verdict, and its results and bytes in every engine."""

from __future__ import annotations

import random
from collections.abc import Callable

import kernel
import kernel_kfuncs
import pytest
from dynptr_cases import (
    END,
    VALUE_SIZE,
    address,
    adjust,
    ask,
    clone,
    code,
    data,
    from_xdp,
    move,
    part,
    read,
    value,
    write,
)

import pktfilter as pf
from pktfilter.handles.maps import Map
from pktfilter.objects import MapSpec

PLACES = (-16, -16, -16, -32, -32, -48, -48, -48, -24)
OFFSETS = (0, 3, 50, kernel.MAX_LINEAR - 4, kernel.MAX_LINEAR + 4)
PACKETS = (bytes(range(60)), bytes(n * 7 & 255 for n in range(kernel.MAX_LINEAR + 30)))
VALUE = bytes(range(VALUE_SIZE))
PER_SEED = 150


def of_value(at: int, size: int = VALUE_SIZE) -> str:
    return f"r1 = r9\nr2 = {size}\nr3 = 0\n{address('r4', at)}call bpf_dynptr_from_mem\n"


class Writer:
    """Writes programs; what it picks depends on the seed alone."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)
        self.labels = 0
        self.kinds: list[Callable[[bool], str]] = [
            lambda _: from_xdp(self.place(), self.pick.choice([0, 0, 0, 1])),
            lambda _: of_value(self.place(), self.pick.choice([0, 8, 32])),
            self.slice,
            self.slice,
            self.slice,
            lambda deeper: self.taken(data(self.pick.choice([0, 8]), 8, self.place()), deeper),
            self.store,
            lambda _: adjust(
                self.pick.choice([0, 1, 5]), self.pick.choice([5, 9, 30]), self.place()
            ),
            lambda _: clone(self.place(), self.place()),
            lambda _: ask(self.pick.choice(["size", "is_rdonly"]), self.place()) + "r0 &= 255\n",
            lambda _: read(
                self.pick.choice(OFFSETS), self.pick.choice([0, 4, 8]), -80, self.place()
            ),
            lambda _: write(
                self.pick.choice(OFFSETS), self.pick.choice([0, 4, 8]), -80, self.place()
            ),
            lambda _: move(self.pick.choice(["head", "tail"]), self.pick.choice([0, 4, -4])),
            self.branch,
        ]

    def place(self) -> int:
        return self.pick.choice(PLACES)

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def step(self, deeper: bool) -> str:
        return self.pick.choice(self.kinds)(deeper)

    def taken(self, call: str, deeper: bool) -> str:
        """Checks the slice, lets something happen, and uses it."""
        over, kept = self.label(), self.pick.choice(["r7", "r8"])
        between = self.step(False) if deeper else ""
        uses = [f"r1 = *(u8 *)({kept} +0)\n", f"*(u8 *)({kept} +0) = 7\n", ""]
        return (
            f"{call}if r0 == 0 goto {over}\n{kept} = r0\n{between}{self.pick.choice(uses)}{over}:\n"
        )

    def slice(self, deeper: bool) -> str:
        buffer, at = self.pick.choice([0, -80, -96]), self.place()
        size, rdwr = self.pick.choice([1, 8, 16]), self.pick.random() < 0.6
        return self.taken(part(self.pick.choice(OFFSETS), size, buffer, rdwr, at), deeper)

    def store(self, _: bool) -> str:
        where = self.place() + self.pick.choice([0, 8])
        return f"*(u{self.pick.choice([8, 32, 64])} *)(r10 {where}) = 0\n"

    def branch(self, deeper: bool) -> str:
        over = self.label()
        body = self.step(False) if deeper else self.store(False)
        return f"r1 = *(u32 *)(r6 +16)\nif r1 == {self.pick.choice([0, 1])} goto {over}\n{body}{over}:\n"

    def program(self) -> str:
        begin = "r7 = 0\nr8 = 0\n" + "".join(
            f"*(u64 *)(r10 {at}) = {at + 200}\n" for at in range(-104, -72, 8)
        )
        second = self.pick.choice([from_xdp, of_value])(-32)
        steps = "".join(self.step(True) for _ in range(self.pick.randrange(2, 7)))
        return (
            begin
            + value("r9")
            + from_xdp()
            + second
            + of_value(-48)
            + steps
            + "r0 = 2\nexit\n"
            + END
        )


@pytest.mark.parametrize("seed", [1, 2])
@kernel.requires_kernel()
def test_verdicts_and_results_are_the_kernel_s(seed: int) -> None:
    writer, accepted = Writer(seed), 0
    with kernel.KernelMap("array", 4, VALUE_SIZE, 1) as values:
        for _ in range(PER_SEED):
            text = writer.program()
            insns = code(text)
            try:
                theirs = kernel.KernelProgram.load(
                    kernel_kfuncs.resolved(insns),
                    maps={1: values},
                    prog_flags=kernel.BPF_F_XDP_HAS_FRAGS,
                )
            except kernel.KernelError:
                with pytest.raises(pf.VerifierError):
                    pf.Program.from_bytes(insns, maps={1: array()}, frags=True)
                continue
            accepted += 1
            with theirs:
                compare(insns, theirs, values, text)
    assert accepted > PER_SEED // 5


def array() -> Map:
    return Map(MapSpec("array", 4, VALUE_SIZE, 1, name="values"))


def compare(
    insns: bytes, theirs: kernel.KernelProgram, values: kernel.KernelMap, text: str
) -> None:
    mine = array()
    made = pf.Program.from_bytes(insns, maps={1: mine}, frags=True)
    for packet in PACKETS:
        values.update(bytes(4), VALUE)
        expected = theirs.test_run(packet)
        for engine in ("checked", "interp", "jit"):
            mine[bytes(4)] = VALUE
            run = made.test_run(packet, engine=engine)
            found = (run.retval, run.data, mine[bytes(4)])
            assert found == (expected.retval, expected.packet, values.lookup(bytes(4))), (
                engine,
                text,
            )
