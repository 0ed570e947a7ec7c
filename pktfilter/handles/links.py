"""Links: the owner of one place in a hook's chain. Semantics: docs/links.md."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .._core.hook import CAUSES, DETACH, HISTORY_DEFAULT, ROLLBACK, UPDATE, Change, LinkRef
from ..errors import InputError, LinkError
from ..objects import ObjectSpec
from .program import XDP, Program, program_handle
from .transactions import Edit, _current
from .trials import Tried
from .updates import Update, timeout_ns

if TYPE_CHECKING:
    from .history import Generation
    from .hooks import Hook

#: A user's conversion of one element: what to store in the new map, or None to leave it out.
Convert: TypeAlias = "Callable[[Any, Any], tuple[Any, Any] | None]"

_CAUSES = {cause: number for number, cause in enumerate(CAUSES) if cause}


class LinkInfo(NamedTuple):
    """A link at one moment; `datapath_generation` and `datapath_revision` may be of a later one.

    `state` is in the words of eBPF for Windows: "initial" (in a transaction that is not committed),
    "attaching" (published; a worker may still run a world without it), "attached", "detaching",
    "detached" (final).
    """

    id: int
    hook: str
    program: Program | None
    generation: int
    priority: int
    continue_on: tuple[XDP, ...]
    state: str
    datapath_generation: int
    datapath_revision: int
    trial: bool
    history: int


class CanUpdate(NamedTuple):
    """True when an update would be made; else `error` is what it would raise."""

    error: LinkError | None

    def __bool__(self) -> bool:
        return self.error is None


class Link(Tried):
    """The owner of one place in a hook's chain; made by `Hook.attach`."""

    def __init__(self, hook: Hook, ref: LinkRef, program: Program) -> None:
        self.hook = hook
        self._ref = ref
        info = ref.info()
        self._id, self._priority = int(info[0]), int(info[3])
        self._continue_on = tuple(action for action in XDP if info[4] >> action & 1)
        # The handles of the programs in the history, with their maps by name and their specs: the
        # core keeps the programs themselves.
        self._kept: deque[Program] = deque([program], maxlen=int(info[9]))

    @property
    def id(self) -> int:
        """Unique in the datapath, never reused; 0 until its transaction is committed."""
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

    @property
    def state(self) -> str:
        """ "initial", "attaching", "attached", "detaching" or "detached": see `LinkInfo`."""
        return str(self._ref.info()[7])

    @property
    def info(self) -> LinkInfo:
        """All that is known of the link."""
        row = self._ref.info()
        datapath = self.hook.datapath._ref.info()
        return LinkInfo(
            id=int(row[0]),
            hook=self.hook.name,
            program=None if row[6] is None else program_handle(row[6]),
            generation=int(row[1]),
            priority=self._priority,
            continue_on=self._continue_on,
            state=str(row[7]),
            datapath_generation=int(datapath["generation"]),
            datapath_revision=int(datapath["revision"]),
            trial=bool(row[8]),
            history=int(row[9]),
        )

    @property
    def history(self) -> tuple[Generation, ...]:
        """The generations that the link keeps, oldest first; the last one is the current."""
        from .history import generations

        return generations(self._ref)

    def keep(self, generations: int = HISTORY_DEFAULT) -> None:
        """How many generations the link keeps, the current one included: 1 to 1024.

        Each costs a row of about 200 bytes, and its program stays staged, with its maps.
        """
        self._ref.set_history(max(0, min(generations, 0xFFFFFFFF)))
        self._kept = deque(self._kept, maxlen=generations)

    def __repr__(self) -> str:
        return (
            f"<Link {self.id} at {self.hook.name}: {self.program!r}, generation {self.generation}>"
        )

    def can_update(self, program: Program) -> CanUpdate:
        """Whether an update to the program would be made now; falsy with the `error` it would raise."""
        try:
            self._ref.can_update(program._ref, None, 0)
        except LinkError as error:
            error.place = self._place()
            return CanUpdate(error)
        return CanUpdate(None)

    def update(
        self,
        new: Program | ObjectSpec,
        *,
        expect: Program | None = None,
        expect_generation: int | None = None,
        wait: bool = True,
        timeout: float | None = None,
        maps: str | None = None,
        migrate: Mapping[str, Convert] | None = None,
        program: str | None = None,
        cause: str = "update",
        detail: str = "",
    ) -> Update:
        """Replaces the program between two batches of every worker.

        Checked in this order: detached -> `LinkDetached`; `expect` is not the current program (by
        identity) -> `StaleProgram`; `expect_generation` is not current -> `StaleGeneration`; the type
        does not fit -> `IncompatibleProgram`; a trial runs -> `LinkBusy`; `new` is current -> success,
        nothing published. With `wait`, returns after the grace period (`GraceTimeout` after `timeout`
        seconds: the update stays made). A failed update changes nothing.

        `maps` is what becomes of the current program's maps: "carry" (the new program gets them
        where names and definitions agree, `MapMismatch` where a definition differs), "migrate" (as
        carry, but `migrate[name](key, value)` converts the contents of that map), "fresh" or None (the
        new program's own). `new` may be an `ObjectSpec`, of which `program` is the one to run.

        `cause` and `detail` go into the history. Within a transaction the change is queued, and what
        comes back is a `PendingUpdate`.
        """
        after = None
        if maps is not None or migrate is not None or not isinstance(new, Program):
            from .continuity import prepare

            self._check(expect, expect_generation)
            transaction = _current.get()
            current = expect  # the program whose maps are carried must be the one that is replaced
            if current is None:
                current = self.program if transaction is None else transaction.view(self)
            new, after, carried = prepare(current, new, maps, migrate, program)
            if carried:
                expect = current
        return self._edit(
            UPDATE, new, expect, expect_generation, 0, wait, timeout, cause, detail, after
        )

    def rollback(
        self,
        to: int | None = None,
        *,
        expect: Program | None = None,
        expect_generation: int | None = None,
        wait: bool = True,
        timeout: float | None = None,
        detail: str = "",
    ) -> Update:
        """Back to the program of generation `to`; None: to the one that ran before the current one.

        After A, B, C it gives B, as a new generation, and a second rollback A. Nothing is verified or
        staged again; map contents and other links stay as they are. Checked as an update is, but
        `NoSuchGeneration` where the history does not hold it.
        """
        if to is not None and to < 1:
            raise InputError("generations start at 1", found=to)
        return self._edit(
            ROLLBACK,
            None,
            expect,
            expect_generation,
            to or 0,
            wait,
            timeout,
            "rollback",
            detail,
            None,
        )

    def detach(self, *, wait: bool = True, timeout: float | None = None) -> None:
        """Takes the program out of the chain, for good. Detaching again is nothing."""
        transaction = _current.get()
        if transaction is not None:
            transaction.queue(Edit(DETACH, self))
            return
        change = self._ref.edit(DETACH, None, None, 0, 0, 0, None, None)
        self._detached()
        if wait:
            change.wait(timeout_ns(timeout))

    def _edit(
        self,
        kind: int,
        new: Program | None,
        expect: Program | None,
        expect_generation: int | None,
        generation: int,
        wait: bool,
        timeout: float | None,
        cause: str,
        detail: str,
        after: Callable[[], None] | None,
    ) -> Update:
        """The one way in which a link's program changes."""
        if cause not in _CAUSES:
            raise InputError("no such cause", found=cause, expected=", ".join(_CAUSES))
        if expect_generation is not None and expect_generation < 1:
            raise InputError("generations start at 1", found=expect_generation)
        if new is not None:
            self.hook._prepare(new)
        text = detail.encode() if detail else None
        transaction = _current.get()
        if transaction is not None:
            edit = Edit(
                kind,
                self,
                new,
                expect,
                expect_generation or 0,
                generation,
                _CAUSES[cause],
                text,
            )
            pending: Any = transaction.queue(edit, after)
            return pending  # type: ignore[no-any-return] # reads as an Update once committed
        kept = self._kept
        try:
            change = self._ref.edit(
                kind,
                None if new is None else new._ref,
                None if expect is None else expect._ref,
                expect_generation or 0,
                generation,
                _CAUSES[cause],
                text,
                kept[-1]._ref,
            )
        except LinkError as error:
            error.place = self._place()
            raise
        result = self._changed(change, new, kept[-1])
        result._after = after
        if wait:
            result.wait(timeout)
        return result

    def _changed(self, change: Change, new: Program | None, known: Program | None = None) -> Update:
        """The update that a change made; `known` is the handle that the core compared `old` with."""
        if change.old is not None:
            old = program_handle(change.old)
        else:
            assert known is not None
            old = known
        if new is None:
            new = program_handle(change.restored)
        if change.published:
            self._kept.append(new)
        result = Update((old, new, change.generation))
        result._change = change
        return result

    def _attached(self) -> None:
        self._id = int(self._ref.info()[0])
        self.hook._links[self._id] = self

    def _detached(self) -> None:
        self.hook._links.pop(self._id, None)

    def _check(self, expect: Program | None, expect_generation: int | None) -> None:
        """Raises what an update would raise before it looks at the new program."""
        if _current.get() is not None:
            return  # checked against what the transaction leaves, when it ends
        try:
            self._ref.can_update(
                None, None if expect is None else expect._ref, expect_generation or 0
            )
        except LinkError as error:
            error.place = self._place()
            raise

    def _programs(self) -> list[Program]:
        """Those that run or that it may go back to, and a trial's candidate."""
        trial = self._trial
        return [*self._kept, *([] if trial is None else [trial.program])]

    def _place(self) -> str:
        return f"link {self._id}"


def action_mask(actions: Iterable[XDP]) -> int:
    """One bit for each action, as the core takes them."""
    mask = 0
    for action in actions:
        mask |= 1 << XDP(action)
    return mask
