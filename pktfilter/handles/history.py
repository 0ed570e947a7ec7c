"""What a link remembers: one row a generation, each with its program staged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .._core.hook import CAUSES, LinkRef
from .program import program_handle

if TYPE_CHECKING:
    from .program import Program


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a link.

    `restores` is the generation whose program it is: itself, or after a rollback an older one.
    `program` is None in the last row of a detached link. `publish_ns`: the exchange of the slot;
    `grace_ns`: from it to the end of the first wait for exactly this change, 0 when nobody waited.
    `cause` is "attach", "update", "rollback", "guard", "watch", "canary", "promote", "abandon" or
    "detach"; `detail` says more where there is more to say.
    """

    generation: int
    program: Program | None
    when_ns: int
    publish_ns: int
    grace_ns: int
    cause: str
    detail: str
    restores: int

    @property
    def when(self) -> datetime:
        """When it was published, in UTC, to the microsecond; `when_ns` counts from the epoch."""
        seconds, ns = divmod(self.when_ns, 1_000_000_000)
        return datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=ns // 1000)


def generations(ref: LinkRef) -> tuple[Generation, ...]:
    """The rows that a link keeps, oldest first."""
    return tuple(
        Generation(
            generation=generation,
            program=None if prog is None else program_handle(prog),
            when_ns=when_ns,
            publish_ns=publish_ns,
            grace_ns=grace_ns,
            cause=CAUSES[cause],
            detail=detail,
            restores=restores,
        )
        for generation, restores, prog, when_ns, publish_ns, grace_ns, cause, detail in ref.history()
    )
