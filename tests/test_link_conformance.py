"""The rules of a link as a table, run against pktfilter and against the kernel's XDP links.

A row is a state, one call, and what comes of it: the errno (0: success) and which program is current
afterwards. `kernel` and `ours` give them for Linux 6.18 (``BPF_LINK_CREATE``, ``BPF_LINK_UPDATE``,
``BPF_LINK_DETACH`` on a veth pair in a network namespace of its own) and for pktfilter. Where the two
differ, or one cannot express the row, `why` says so: the table is the list of differences.

Programs: A, B are XDP; "A2" is A's code loaded again; "T" is of another type; "D" is XDP with another
expected attach type.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import kernel
import pytest

import pktfilter as pf

PASS, DROP = (struct.pack("<BBhiQ", 0xB7, 0, 0, action, 0x95) for action in (2, 1))


@dataclass(frozen=True)
class Outcome:
    """errno and the current program afterwards (None: the link is detached); `published`: whether the
    generation grew (pktfilter only)."""

    errno: int
    program: str | None
    published: bool = False


@dataclass(frozen=True)
class Row:
    name: str
    steps: tuple[tuple[Any, ...], ...]
    """Calls before the last, which must succeed, and the last, which is judged."""
    kernel: Outcome | None
    ours: Outcome | None
    why: str = ""


def row(
    name: str,
    *steps: tuple[Any, ...],
    gives: int = 0,
    current: str | None = "A",
    published: bool = False,
    kernel: bool | Outcome = True,
    ours: bool = True,
    why: str = "",
) -> Row:
    """A row on which both agree, unless `kernel` or `ours` says else."""
    both = Outcome(gives, current, published)
    of_kernel = both if kernel is True else kernel or None
    return Row(name, steps, of_kernel, both if ours else None, why)


GENERATION = "the kernel knows no generations: its compare-and-swap sees the program only"
HISTORY = "the kernel keeps no history"
FLAGS = "no flags in pktfilter: giving `expect` is what BPF_F_REPLACE says"
TO_B, TO_A = ("update", "B"), ("update", "A")
EPERM, EINVAL, ENOLINK, ESTALE = errno.EPERM, errno.EINVAL, errno.ENOLINK, errno.ESTALE

ROWS = [
    # No expectation.
    row("another program", TO_B, current="B", published=True),
    row("the current program is a no-op", TO_A),
    row("the same code loaded again is another program", ("update", "A2"), current="A2", published=True),
    row("another type", ("update", "T"), gives=EINVAL),
    row(
        "another expected attach type",
        ("update", "D"),
        gives=EINVAL,
        ours=False,
        why="pktfilter has one attach type",
    ),
    # Compare-and-swap on the program.
    row("the current program expected", ("update", "B", "A"), current="B", published=True),
    row("the current program expected and given", ("update", "A", "A")),
    row("another program expected", ("update", "B", "B"), gives=EPERM),
    row("identity, not content", ("update", "B", "A2"), gives=EPERM),
    row("stale although new is current already", ("update", "A", "B"), gives=EPERM),
    row("stale comes before the type", ("update", "T", "B"), gives=EPERM),
    row("expected, but of another type", ("update", "T", "A"), gives=EINVAL),
    row("a program of another type expected", ("update", "B", "T"), gives=EPERM),
    row("replaced, then the one before expected", TO_B, ("update", "A", "A"), gives=EPERM, current="B"),
    row("A, B, A again: identity is fooled", TO_B, TO_A, ("update", "B", "A"), current="B", published=True),
    # Compare-and-swap on the generation.
    row(
        "A, B, A again: the generation is not fooled",
        TO_B,
        TO_A,
        ("update", "B", "A", 1),
        gives=ESTALE,
        kernel=False,
        why=GENERATION,
    ),
    row("current generation", ("update", "B", None, 1), current="B", published=True, kernel=False, why=GENERATION),
    row("stale generation", TO_B, ("update", "A", None, 1), gives=ESTALE, current="B", kernel=False, why=GENERATION),
    row("a generation to come", ("update", "B", None, 2), gives=ESTALE, kernel=False, why=GENERATION),
    row("stale generation, new is current", ("update", "A", None, 9), gives=ESTALE, kernel=False, why=GENERATION),
    row("program before generation", ("update", "B", "B", 9), gives=EPERM, kernel=False, why=GENERATION),
    row("generation before type", ("update", "T", "A", 9), gives=ESTALE, kernel=False, why=GENERATION),
    row("all three wrong", ("update", "T", "B", 9), gives=EPERM, kernel=False, why=GENERATION),
    # Detached.
    row("detach", ("detach",), current=None, published=True),
    row("detach again", ("detach",), ("detach",), current=None),
    row("update after detach", ("detach",), TO_B, gives=ENOLINK, current=None),
    row("update to what was current", ("detach",), TO_A, gives=ENOLINK, current=None),
    row("detached comes before stale", ("detach",), ("update", "B", "B"), gives=ENOLINK, current=None),
    row("detached comes before the type", ("detach",), ("update", "T"), gives=ENOLINK, current=None),
    row("detached comes before all", ("detach",), ("update", "T", "B"), gives=ENOLINK, current=None),
    row(
        "detached comes before the generation",
        ("detach",),
        ("update", "T", "B", 9),
        gives=ENOLINK,
        current=None,
        kernel=False,
        why=GENERATION,
    ),
    # History.
    row("roll back", TO_B, ("rollback",), published=True, kernel=False, why=HISTORY),
    row("roll back twice", TO_B, ("update", "A2"), ("rollback",), ("rollback",), published=True, kernel=False,
        why=HISTORY),
    row("roll back to a generation", TO_B, ("update", "A2"), ("rollback", 1), published=True, kernel=False,
        why=HISTORY),
    row("roll back to the current program", TO_B, TO_A, ("rollback", 1), kernel=False, why=HISTORY),
    row("nothing to roll back to", ("rollback",), gives=errno.ENOENT, kernel=False, why=HISTORY),
    row("no such generation", TO_B, ("rollback", 7), gives=errno.ENOENT, current="B", kernel=False, why=HISTORY),
    row("roll back: stale program first", TO_B, ("rollback", 7, "A", 1), gives=EPERM, current="B", kernel=False,
        why=HISTORY),
    row("roll back: then the generation", TO_B, ("rollback", 7, "B", 1), gives=ESTALE, current="B", kernel=False,
        why=HISTORY),
    row("roll back after detach", TO_B, ("detach",), ("rollback", 7, "A", 1), gives=ENOLINK, current=None,
        kernel=False, why=HISTORY),
    # A failed update changes nothing.
    row("after a stale one", ("fails", "update", "B", "B"), ("update", "B", "A"), current="B", published=True),
    row("after one of another type", ("fails", "update", "T"), TO_B, current="B", published=True),
    # Attaching.
    row("attach another type", ("attach", "T"), gives=EINVAL),
    row(
        "a second link at the same place",
        ("attach", "B"),
        current="A",
        kernel=Outcome(errno.EBUSY, "A"),
        why="an XDP device takes one link; a hook of pktfilter runs a chain of them",
    ),
    row(
        "the last handle dropped",
        ("drop",),
        current="A",
        kernel=Outcome(0, None),
        why="closing a link's last descriptor detaches it; in pktfilter the hook owns its links",
    ),
    row("the device goes away", ("lose",), TO_B, gives=ENOLINK, current=None, ours=False,
        why="a hook of pktfilter lives as long as its links' handles"),
    # What only the system call can say.
    row("an unknown flag", ("raw", "B", 0, 1), gives=EINVAL, ours=False, why=FLAGS),
    row("an old program without BPF_F_REPLACE", ("raw", "B", "A", 0), gives=EINVAL, ours=False, why=FLAGS),
    row("BPF_F_REPLACE with no descriptor", ("raw", "B", -1, 4), gives=errno.EBADF, ours=False, why=FLAGS),
    row("a new program that is none", ("raw", -1, 0, 0), gives=errno.EBADF, ours=False,
        why="a Program is an object: there are no descriptors to get wrong"),
    row("flags before everything", ("detach",), ("raw", "T", "B", 1), gives=EINVAL, current=None, ours=False,
        why=FLAGS),
]  # fmt: skip


class Ours:
    """pktfilter behind the table's calls."""

    def __init__(self) -> None:
        self.programs = {
            "A": pf.Program.from_bytes(PASS),
            "A2": pf.Program.from_bytes(PASS),
            "B": pf.Program.from_bytes(DROP),
            "T": pf.Program.from_bytes(PASS, type="memory"),
        }
        self.hook = pf.Hook("ingress")
        self.link: pf.Link = self.hook.attach(self.programs["A"])

    def update(self, new: str, expect: str | None = None, generation: int | None = None) -> None:
        program = None if expect is None else self.programs[expect]
        self.link.update(self.programs[new], expect=program, expect_generation=generation)

    def rollback(
        self, to: int | None = None, expect: str | None = None, generation: int | None = None
    ) -> None:
        program = None if expect is None else self.programs[expect]
        self.link.rollback(to, expect=program, expect_generation=generation)

    def detach(self) -> None:
        self.link.detach()

    def attach(self, name: str) -> None:
        self.hook.attach(self.programs[name], priority=60)

    def drop(self) -> None:
        del self.link
        (self.link,) = self.hook.links

    def current(self) -> str | None:
        names = {id(program): name for name, program in self.programs.items()}
        program = self.link.program
        assert self.link.detached == (program is None)
        return None if program is None else names[id(program)]

    @property
    def generation(self) -> int:
        return self.link.generation

    def close(self) -> None:
        pass


class Kernel:
    """The kernel's XDP link behind the same calls; runs in a thread that is in the namespace."""

    def __init__(self) -> None:
        load = kernel.KernelProgram.load
        self.programs = {
            "A": load(PASS),
            "A2": load(PASS),
            "B": load(DROP),
            "T": load(PASS, type="socket_filter"),
            "D": load(PASS, expected_attach_type=kernel.BPF_XDP_DEVMAP),
        }
        ip("link", "add", "conf0", "type", "veth", "peer", "name", "conf1")
        self.ifindex = socket.if_nametoindex("conf1")
        self.link = kernel.KernelLink(self.programs["A"], self.ifindex)
        self.others: list[kernel.KernelLink] = []

    def _program(self, name: str | int) -> kernel.KernelProgram | int:
        return self.programs[name] if isinstance(name, str) else name & 0xFFFFFFFF

    def update(self, new: str, expect: str | None = None) -> None:
        self.link.update(self.programs[new], 0 if expect is None else self.programs[expect])

    def raw(self, new: str | int, old: str | int, flags: int) -> None:
        self.link.update(self._program(new), self._program(old), flags)

    def detach(self) -> None:
        self.link.detach()

    def attach(self, name: str) -> None:
        self.others.append(kernel.KernelLink(self.programs[name], self.ifindex))

    def drop(self) -> None:
        self.link.close()

    def lose(self) -> None:
        ip("link", "delete", "conf0")

    def current(self) -> str | None:
        """By what the device runs, and by what the link says of itself."""
        try:
            info = self.link.info
        except ValueError:
            info = None
        # A detached link still names its last program, but no device.
        attached = info is not None and info.ifindex != 0
        ids = {program.id: name for name, program in self.programs.items()}
        shown = subprocess.run(
            ["ip", "-d", "link", "show", "conf1"], capture_output=True, text=True
        ).stdout
        running = [name for number, name in ids.items() if f"prog/xdp id {number} " in shown]
        if info is None or not attached:
            assert not running
            return None
        assert running == [ids[info.prog_id]]
        return running[0]

    def close(self) -> None:
        for thing in (*self.others, self.link, *self.programs.values()):
            thing.close()
        subprocess.run(["ip", "link", "delete", "conf0"], capture_output=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def outcome(actor: Ours | Kernel, steps: tuple[tuple[Any, ...], ...]) -> Outcome:
    """Runs the steps; the last one's errno and what is current then."""
    *before, last = steps
    for step in before:
        if step[0] == "fails":
            with pytest.raises(OSError):
                getattr(actor, step[1])(*step[2:])
        else:
            getattr(actor, step[0])(*step[1:])
    generation = actor.generation if isinstance(actor, Ours) else 0
    try:
        getattr(actor, last[0])(*last[1:])
        number = 0
    except OSError as error:
        assert error.errno is not None
        number = error.errno
    published = isinstance(actor, Ours) and actor.generation != generation
    return Outcome(number, actor.current(), published)


def names(rows: list[Row]) -> list[str]:
    return [row.name.replace(" ", "-") for row in rows]


OURS = [row for row in ROWS if row.ours]
KERNELS = [row for row in ROWS if row.kernel]


@pytest.mark.parametrize("row", OURS, ids=names(OURS))
def test_pktfilter(row: Row) -> None:
    assert outcome(Ours(), row.steps) == row.ours


EXCEPTIONS = {
    EPERM: pf.StaleProgram,
    ESTALE: pf.StaleGeneration,
    EINVAL: pf.IncompatibleProgram,
    ENOLINK: pf.LinkDetached,
    errno.ENOENT: pf.NoSuchGeneration,
}


@pytest.mark.parametrize("row", [r for r in OURS if r.ours and r.ours.errno])
def test_every_errno_has_its_exception(row: Row) -> None:
    actor = Ours()
    *before, last = row.steps
    for step in before:
        getattr(actor, step[0])(*step[1:])
    assert row.ours is not None
    with pytest.raises(EXCEPTIONS[row.ours.errno]) as caught:
        getattr(actor, last[0])(*last[1:])
    assert caught.value.errno == row.ours.errno


PLAIN = [row for row in OURS if row.steps[-1][0] == "update" and len(row.steps[-1]) == 2]


@pytest.mark.parametrize("row", PLAIN, ids=names(PLAIN))
def test_can_update_tells_beforehand(row: Row) -> None:
    actor = Ours()
    *before, last = row.steps
    for step in before:
        if step[0] != "fails":
            getattr(actor, step[0])(*step[1:])
    answer = actor.link.can_update(actor.programs[last[1]])
    assert row.ours is not None
    assert bool(answer) == (row.ours.errno == 0)
    if answer.error is not None:
        assert answer.error.errno == row.ours.errno


@pytest.fixture(scope="module")
def inside() -> Iterator[Callable[..., Any]]:
    """Runs a function in a thread whose network namespace is its own, and goes away with it."""
    reason = kernel.available()
    if reason is not None:
        pytest.skip(reason)
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(kernel.enter_network_namespace).result()
            pool.submit(ip, "link", "show").result()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespace with veth pairs: {error}")
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


@pytest.mark.parametrize("row", KERNELS, ids=names(KERNELS))
def test_kernel(row: Row, inside: Callable[..., Any]) -> None:
    def judge() -> Outcome:
        actor = Kernel()
        try:
            return outcome(actor, row.steps)
        finally:
            actor.close()

    expected = row.kernel
    assert expected is not None
    found = inside(judge)
    assert (found.errno, found.program) == (expected.errno, expected.program)


def test_differences_have_reasons() -> None:
    for row in ROWS:
        same = (
            row.ours is not None
            and row.kernel is not None
            and (row.ours.errno, row.ours.program) == (row.kernel.errno, row.kernel.program)
        )
        assert bool(row.why) != same, row.name
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_namespace_of_the_tests_is_not_touched() -> None:
    assert "conf0" not in os.listdir("/sys/class/net")
