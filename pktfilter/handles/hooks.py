"""Datapaths, hooks and links: where programs run, and how one replaces another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from .._core.hook import ATTACH, HISTORY_DEFAULT, DatapathRef
from ..errors import IncompatibleProgram, InputError, wrong_kind
from .links import Link, action_mask
from .program import XDP, Program, resolve_engine
from .transactions import Edit, current_transaction
from .updates import timeout_ns

if TYPE_CHECKING:
    from .._core.run import Worker
    from ..expressions import LinkKind
    from .tiers import TierUp

_ACTIONS = tuple(action.name.lower() for action in XDP)


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
        self._tiers: TierUp | None = None  # of the run that goes on
        self.hooks: dict[str, Hook] = {}

    def hook(self, name: str) -> Hook:
        """The hook of this name; made when there is none."""
        if name not in self.hooks:
            self.hooks[name] = Hook(name, self)
        return self.hooks[name]

    @contextmanager
    def engine(
        self,
        engine: str,
        *,
        size: int | None = None,
        remaining: Callable[[], float | None] = lambda: None,
    ) -> Iterator[TierUp]:
        """Runs programs on this engine meanwhile; "auto" is the best that each has, and brings them
        to compiled code; `size` and `remaining` say how much there is to run (`TierUp`).

        With "jit", programs that cannot be compiled are refused, here and by `Link.update` and
        `Hook.attach` meanwhile (`ProgramError`).
        """
        number = resolve_engine(engine)
        if engine not in ("auto", "checked"):
            self._need_verified(engine)
        from .tiers import TierUp

        self._ref.set_engine(number)
        try:
            with TierUp(self._ref, engine, size=size, remaining=remaining) as self._tiers:
                yield self._tiers
        finally:
            self._tiers = None
            self._ref.set_engine(resolve_engine("auto"))

    def _admit(self, program: Program) -> None:
        """Before a program is published: while engine "jit" runs it is compiled, or refused."""
        tiers = self._tiers
        if tiers is not None and tiers.strict:
            tiers.expect([program])

    def _grown(self, programs: Iterable[Program]) -> None:
        """After families got members: they come to compiled code as programs do that are published."""
        if self._tiers is not None:
            self._tiers.grown(programs)

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
        #: Of the packets that came by here so far; every program on this hook is there for each.
        self._kinds: set[LinkKind] = set()

    def __repr__(self) -> str:
        return f"<Hook {self.name} of {len(self._links)} links>"

    @property
    def links(self) -> tuple[Link, ...]:
        """Attached links in the order in which their programs run."""
        return tuple(sorted(self._links.values(), key=lambda link: (link.priority, link.id)))

    def attach(
        self,
        program: Program,
        *,
        priority: int = 50,
        continue_on: Iterable[XDP] = (XDP.PASS,),
        history: int = HISTORY_DEFAULT,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Link:
        """Attaches a program: lower priority runs first; the chain goes on after `continue_on` actions.

        The link keeps `history` generations (`Link.keep`). With `wait`, returns once every packet sees
        the program (`GraceTimeout` after `timeout` seconds: it stays attached). Within a transaction
        the link is "initial" until the end. Raises `IncompatibleProgram` (EINVAL) when the program is
        of type memory or made for entries of a devmap or cpumap, `ExpressionError` for an expression
        that means nothing on a link type seen here.
        """
        if not isinstance(program, Program):
            raise wrong_kind("what a hook attaches", program, "a Program")
        if not -(1 << 31) <= priority < 1 << 31:
            raise InputError(
                "priority is out of range", found=priority, expected="a signed 32-bit number"
            )
        self._prepare(program)
        ref = self.datapath._ref.create_link(
            self.index, priority, action_mask(continue_on), max(0, min(history, 0xFFFFFFFF))
        )
        link = Link(self, ref, program)
        transaction = current_transaction()
        if transaction is not None:
            transaction.queue(Edit(ATTACH, link, program))
            return link
        change = ref.edit(ATTACH, program._ref, None, 0, 0, 0, None, None)
        link._attached()
        if wait:
            change.wait(timeout_ns(timeout))
        return link

    def _meet(self, kind: LinkKind, others: Iterable[Program] = ()) -> None:
        """Before the first packet of this kind: makes every program ready for it that runs here, that a link may
        go back to, and the others. Raises `ExpressionError`, with nothing run."""
        programs = [program for link in self.links for program in link._programs()]
        programs += others
        for program in programs:
            program.prepare(kind)
        self._kinds.add(kind)
        self.datapath._grown(programs)

    def _prepare(self, program: Program) -> None:
        """Before a program comes onto the hook. Raises `IncompatibleProgram` as the kernel refuses an interface."""
        if program.spec is not None and program.spec.attach:
            use = program.spec.attach
            raise IncompatibleProgram(
                f"the program is made for entries of a {use}",
                field="attach",
                found=f"section xdp/{use}",
                expected="a program of section xdp",
                hint="it runs for packets that a program redirects to an entry which names it",
            )
        for kind in self._kinds:
            program.prepare(kind)
        self.datapath._admit(program)

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
            worker.leave()
            self._workers.discard(worker)
            self._past = [a + b for a, b in zip(self._past, _flat(worker), strict=True)]


def _flat(worker: Worker) -> list[int]:
    s = worker.stats()
    return [s["packets"], s["bytes"], *s["actions"], s["uncovered"], s["faults"], s["batches"]]
