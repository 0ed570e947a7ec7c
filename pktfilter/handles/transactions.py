"""Transactions: changes of several links of one datapath that become visible together, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from .._core.hook import ATTACH, DETACH, ROLLBACK, Change
from ..errors import PktfilterError, TransactionError
from .updates import PendingUpdate, timeout_ns

if TYPE_CHECKING:
    from .hooks import Datapath
    from .links import Link
    from .program import Program

_current: ContextVar[Transaction | None] = ContextVar("pktfilter_transaction", default=None)


@dataclass(slots=True)
class Edit:
    """One queued change, as `DatapathRef.commit` takes it."""

    kind: int
    link: Link
    program: Program | None = None
    expect: Program | None = None
    expect_generation: int = 0
    generation: int = 0
    cause: int = 0
    detail: bytes | None = None


class Transaction:
    """A list of changes between `with` and its end. Made by `transaction`; used once."""

    def __init__(self, *, wait: bool, timeout: float | None) -> None:
        self._wait, self._timeout = wait, timeout
        self._edits: list[Edit] = []
        self._pending: list[PendingUpdate] = []
        self._changes: list[Change] = []
        self._datapath: Datapath | None = None
        self._state = "new"

    def __enter__(self) -> Transaction:
        if _current.get() is not None:
            raise TransactionError(
                "a transaction cannot stand inside another",
                hint="make all changes in the outer one",
            )
        if self._state != "new":
            raise TransactionError("a transaction is used once", found=f"one that is {self._state}")
        self._state = "open"
        _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.set(None)
        self._state = "ended"
        if kind is None:
            self._commit()

    @property
    def updates(self) -> tuple[PendingUpdate, ...]:
        """The queued updates and rollbacks, in order; they can be read once it is committed."""
        return tuple(
            pending
            for edit, pending in zip(self._edits, self._pending, strict=True)
            if edit.kind not in (ATTACH, DETACH)
        )

    def queue(self, edit: Edit, after: Callable[[], None] | None = None) -> PendingUpdate:
        """Adds a change; it is checked when the transaction ends."""
        if self._state != "open":
            raise TransactionError("the transaction has ended", place=f"link {edit.link.id}")
        datapath = edit.link.hook.datapath
        if self._datapath is None:
            self._datapath = datapath
        elif self._datapath is not datapath:
            raise TransactionError(
                "a transaction changes links of one datapath, and this link is of another",
                place=f"link {edit.link.id} at {edit.link.hook.name}",
                hint="make both hooks with one pf.Datapath",
            )
        pending = PendingUpdate(after)
        self._edits.append(edit)
        self._pending.append(pending)
        return pending

    def view(self, link: Link) -> Program | None:
        """The program that the link will have after what is queued so far; its own when nothing is."""
        for edit in reversed(self._edits):
            if edit.link is link and edit.kind != ROLLBACK:
                return edit.program
            if edit.link is link:
                raise TransactionError(
                    "maps cannot be carried from a rollback of the same transaction",
                    place=f"link {link.id}",
                )
        return link.program

    def _commit(self) -> None:
        if self._datapath is None:
            return
        changes, refused, error = self._datapath._ref.commit(
            [
                (
                    edit.kind,
                    edit.link._ref,
                    None if edit.program is None else edit.program._ref,
                    None if edit.expect is None else edit.expect._ref,
                    edit.expect_generation,
                    edit.generation,
                    edit.cause,
                    edit.detail,
                )
                for edit in self._edits
            ]
        )
        if error is not None:
            if isinstance(error, PktfilterError) and refused >= 0:
                link = self._edits[refused].link
                name = f"link {link.id}" if link.id else "new link"
                error.place = (
                    f"{name}, change {refused + 1} of {len(self._edits)} in the transaction"
                )
            raise error
        assert changes is not None
        self._fill(changes)
        if self._wait:
            self.wait(self._timeout)

    def _fill(self, changes: list[Change]) -> None:
        self._changes = changes
        for edit, pending, change in zip(self._edits, self._pending, changes, strict=True):
            if edit.kind == ATTACH:
                edit.link._attached()
            elif edit.kind == DETACH:
                edit.link._detached()
            else:
                pending._result = edit.link._changed(change, edit.program)
                pending._result._after = pending._after

    def wait(self, timeout: float | None = None) -> None:
        """Returns after the grace period of the transaction; `GraceTimeout` after `timeout` seconds.

        Once it is committed: from then on no packet runs any of the old programs.
        """
        end = None if timeout is None else time.monotonic() + timeout
        for change, pending in zip(self._changes, self._pending, strict=True):
            left = None if end is None else max(0.0, end - time.monotonic())
            if pending.committed:
                pending.result.wait(left)
            else:
                change.wait(timeout_ns(left))


def current_transaction() -> Transaction | None:
    """The open transaction of this thread (of this context)."""
    return _current.get()


def transaction(*, wait: bool = True, timeout: float | None = None) -> Transaction:
    """`with pf.transaction(): ...` makes all changes of links inside visible together, or none.

    Inside, `Link.update`, `Link.rollback`, `Link.detach` and `Hook.attach` are queued, and return at
    once (`wait` and `timeout` of theirs do not count). At the end all are checked in their order,
    each against what those before it leave, and published by one exchange. An exception inside, or
    a refused change, leaves everything as it was. With `wait`, returns after the grace period
    (`GraceTimeout` after `timeout` seconds: the changes stay made).

    Every worker switches between two of its own batches, from none of the changes to all of them.
    Links are of one datapath (`TransactionError`); transactions do not nest; other threads' changes
    are not part of it. Reading a link inside shows it as it was.
    """
    return Transaction(wait=wait, timeout=timeout)
