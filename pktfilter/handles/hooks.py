"""Datapaths, hooks and links: where programs run, and how one replaces another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from .._core.hook import NO_TIMEOUT, DatapathRef, LinkRef
from ..errors import (
    InputError,
    LinkError,
)
from .program import XDP, Program, program_handle, resolve_engine

if TYPE_CHECKING:
    from .._core.run import Worker

_ACTIONS = tuple(action.name.lower() for action in XDP)


def _timeout_ns(timeout: float | None) -> int:
    return NO_TIMEOUT if timeout is None else max(0, int(timeout * 1e9))


class HookStats(NamedTuple):
    """What ran at a hook: counts of packets by verdict, bytes as captured."""

    packets: int
    bytes: int
    actions: dict[str, int]
    uncovered: int
    faults: int
    batches: int


class Datapath:
    """The hooks that are published together: one slot, one world at a time."""

    def __init__(self) -> None:
        self._ref = DatapathRef()
        self.hooks: dict[str, Hook] = {}

    def hook(self, name: str) -> Hook:
        """The hook of this name; made when there is none."""
        if name not in self.hooks:
            self.hooks[name] = Hook(name, self)
        return self.hooks[name]

    @contextmanager
    def engine(self, engine: str) -> Iterator[None]:
        """Runs programs on this engine meanwhile; "auto" is the best that each has."""
        number = resolve_engine(engine)
        if engine not in ("auto", "checked"):
            self._need_verified(engine)
        self._ref.set_engine(number)
        try:
            yield
        finally:
            self._ref.set_engine(resolve_engine("auto"))

    def _need_verified(self, engine: str) -> None:
        for hook in self.hooks.values():
            for link in hook.links:
                if link.program is not None and link.program.engine == "checked":
                    raise InputError(
                        f"engine '{engine}' runs verified programs only",
                        found=f"program '{link.program.name}' unverified",
                        hint="use engine 'auto' or 'checked'",
                    )

    @property
    def generation(self) -> int:
        """Number of the last user-visible change."""
        return int(self._ref.info()["generation"])

    @property
    def revision(self) -> int:
        """Number of the current world."""
        return int(self._ref.info()["revision"])

    @property
    def worlds_live(self) -> int:
        """Worlds published and not yet freed: 1 when all grace periods have ended."""
        return int(self._ref.info()["worlds_live"])


class Hook:
    """A place where programs run. Made alone, it is the only hook of its own datapath."""

    def __init__(self, name: str = "ingress", datapath: Datapath | None = None) -> None:
        self.name = name
        self.datapath = Datapath() if datapath is None else datapath
        self.datapath.hooks.setdefault(name, self)
        self.index = int(self.datapath._ref.add_hook())
        self._links: dict[int, Link] = {}
        self._workers: set[Worker] = set()  # running now
        self._past: list[int] = [0] * 10

    def __repr__(self) -> str:
        return f"<Hook {self.name} of {len(self._links)} links>"

    @property
    def links(self) -> tuple[Link, ...]:
        """Attached links in the order in which their programs run."""
        return tuple(sorted(self._links.values(), key=lambda link: (link.priority, link.id)))

    def attach(
        self, program: Program, *, priority: int = 50, continue_on: Iterable[XDP] = (XDP.PASS,)
    ) -> Link:
        """Attaches a program: lower priority runs first; the chain goes on after `continue_on` actions.

        Raises `IncompatibleProgram` (EINVAL) when it is not an XDP program.
        """
        if not -(1 << 31) <= priority < 1 << 31:
            raise InputError(
                "priority is out of range", found=priority, expected="a signed 32-bit number"
            )
        mask = 0
        for action in continue_on:
            mask |= 1 << XDP(action)
        ref, _ = self.datapath._ref.attach(self.index, program._ref, priority, mask)
        link = Link(self, ref, program)
        self._links[link.id] = link
        return link

    @property
    def stats(self) -> HookStats:
        """What ran here so far, over all workers."""
        total = list(self._past)
        for worker in list(self._workers):
            total = [a + b for a, b in zip(total, _flat(worker), strict=True)]
        return HookStats(
            packets=total[0],
            bytes=total[1],
            actions=dict(zip(_ACTIONS, total[2:7], strict=True)),
            uncovered=total[7],
            faults=total[8],
            batches=total[9],
        )

    def _enter(self, worker: Worker) -> None:
        self._workers.add(worker)

    def _leave(self, worker: Worker) -> None:
        if worker in self._workers:
            self._workers.discard(worker)
            self._past = [a + b for a, b in zip(self._past, _flat(worker), strict=True)]


def _flat(worker: Worker) -> list[int]:
    s = worker.stats()
    return [s["packets"], s["bytes"], *s["actions"], s["uncovered"], s["faults"], s["batches"]]


class Update(tuple[Program, Program, int]):
    """`(old, new, generation)` of a link's update; `publish_ns` and `wait()` besides."""

    _datapath: Datapath
    _token: int
    publish_ns: int

    @property
    def old(self) -> Program:
        """The program before."""
        return self[0]

    @property
    def new(self) -> Program:
        """The program from now on."""
        return self[1]

    @property
    def generation(self) -> int:
        """The link's generation from now on."""
        return self[2]

    def wait(self, timeout: float | None = None) -> None:
        """Returns after the grace period: from then on no packet runs the old program.

        Raises `GraceTimeout` after `timeout` seconds, naming the worker that holds it up.
        """
        if self._token:
            self._datapath._ref.wait(self._token, _timeout_ns(timeout))


class Link:
    """The owner of one place in a hook's chain. Semantics: design of BPF_LINK_UPDATE, holes closed."""

    def __init__(self, hook: Hook, ref: LinkRef, program: Program) -> None:
        self.hook = hook
        self._ref = ref
        info = ref.info()
        self._id, self._priority = int(info[0]), int(info[3])
        self._continue_on = tuple(action for action in XDP if info[4] >> action & 1)
        self._last = program  # keeps the handle with its metadata alive while it is current

    @property
    def id(self) -> int:
        """Unique in the datapath, never reused."""
        return self._id

    @property
    def priority(self) -> int:
        """Lower runs first."""
        return self._priority

    @property
    def continue_on(self) -> tuple[XDP, ...]:
        """Actions after which the chain goes on."""
        return self._continue_on

    @property
    def program(self) -> Program | None:
        """The current program; None once detached."""
        ref = self._ref.info()[6]
        return None if ref is None else program_handle(ref)

    @property
    def generation(self) -> int:
        """Number of this link's last change, from 1."""
        return int(self._ref.info()[1])

    @property
    def detached(self) -> bool:
        """A detached link stays detached."""
        return bool(self._ref.info()[5])

    def __repr__(self) -> str:
        return (
            f"<Link {self.id} at {self.hook.name}: {self.program!r}, generation {self.generation}>"
        )

    def update(
        self,
        new: Program,
        *,
        expect: Program | None = None,
        expect_generation: int | None = None,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Update:
        """Replaces the program between two batches of every worker.

        Checked in this order: detached -> `LinkDetached`; `expect` is not the current program (by
        identity) -> `StaleProgram`; `expect_generation` is not current -> `StaleGeneration`; the type
        does not fit -> `IncompatibleProgram`; `new` is current -> success, nothing published. With
        `wait`, returns after the grace period (`GraceTimeout` after `timeout` seconds: the update
        stays made). A failed update changes nothing.
        """
        try:
            change = self._ref.update(
                new._ref, None if expect is None else expect._ref, expect_generation or 0
            )
        except LinkError as error:
            error.place = f"link {self.id}"
            raise
        generation, _, token, publish_ns, old_ref = change
        old = new if old_ref is None else program_handle(old_ref)
        self._last = new
        result = Update((old, new, int(generation)))
        result._datapath, result._token, result.publish_ns = self.hook.datapath, token, publish_ns
        if wait:
            result.wait(timeout)
        return result

    def detach(self, *, wait: bool = True, timeout: float | None = None) -> None:
        """Takes the program out of the chain, for good. Detaching again is nothing."""
        _, _, token, _, _ = self._ref.detach()
        self.hook._links.pop(self.id, None)
        if token and wait:
            self.hook.datapath._ref.wait(token, _timeout_ns(timeout))
