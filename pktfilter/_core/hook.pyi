"""Datapaths and links (csrc/hook)."""

from typing import TypedDict

from .prog import ProgRef

NO_TIMEOUT: int
ATTACH: int
UPDATE: int
ROLLBACK: int
DETACH: int
HISTORY_DEFAULT: int
HISTORY_MAX: int
CAUSES: tuple[str, ...]
STATES: tuple[str, ...]

_Edit = tuple[int, LinkRef, ProgRef | None, ProgRef | None, int, int, int, bytes | None]
_Row = tuple[int, int, ProgRef | None, int, int, int, int, str]

class DatapathInfo(TypedDict):
    revision: int
    generation: int
    worlds_live: int
    hooks: int
    links: int

def programs_of(prog: ProgRef) -> list[ProgRef]:
    """The program and all that it can tail-call now."""

class DatapathRef:
    """One reference to a datapath."""

    def __init__(self) -> None: ...
    def add_hook(self) -> int: ...
    def set_engine(self, engine: int) -> None:
        """The best engine that worlds may choose; publishes where that changes one."""
    def admits(self, prog: ProgRef) -> None: ...
    def refresh(self) -> bool:
        """After programs got better code: publishes a world that runs it, with the same generation.

        False where that changes nothing.
        """

    def programs(self) -> list[ProgRef]:
        """The programs of all links and trials, and what they can tail-call now."""

    def info(self) -> DatapathInfo: ...
    def wait(self, token: int, timeout_ns: int) -> None:
        """Waits for a grace period; raises GraceTimeout naming the stalled worker."""
    def create_link(self, hook: int, priority: int, continue_on: int, history: int) -> LinkRef:
        """A link in no chain yet."""
    def commit(
        self, edits: list[_Edit]
    ) -> tuple[list[Change], int, None] | tuple[None, int, Exception]:
        """Makes edits visible together: (changes, -1, None), or (None, refused edit or -1, error)."""

class Change:
    """What an edit did; `old` is the program before, None where it is the one the caller knew."""

    old: ProgRef | None
    restored: ProgRef | None
    generation: int
    published: bool
    publish_ns: int
    grace_ns: int
    def wait(self, timeout_ns: int) -> None:
        """Waits for the grace period; raises GraceTimeout naming the stalled worker."""

class LinkRef:
    """One handle on a link; dropping it does not detach."""

    def edit(
        self,
        kind: int,
        prog: ProgRef | None,
        expect: ProgRef | None,
        expect_generation: int,
        generation: int,
        cause: int,
        detail: bytes | None,
        known: ProgRef | None,
    ) -> Change:
        """One edit by itself; raises the typed link error of what did not hold."""
    def can_update(
        self, prog: ProgRef | None, expect: ProgRef | None, expect_generation: int
    ) -> None:
        """Raises what an update would raise now; without a program, what does not depend on it."""
    def info(
        self,
    ) -> tuple[int, int, int, int, int, bool, ProgRef | None, str, bool, int]:
        """(id, generation, hook, priority, continue_on, detached, program, state, trial, history)."""
    def history(self) -> list[_Row]:
        """Oldest first: generation, restores, program, when_ns, publish_ns, grace_ns, cause, detail."""
    def set_history(self, capacity: int) -> None: ...
