"""What a change of a link gives back: at once, or once its transaction is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .._core.hook import NO_TIMEOUT, Change
from ..errors import TransactionError

if TYPE_CHECKING:
    from .program import Program


def timeout_ns(timeout: float | None) -> int:
    """Seconds as the core takes them; None: no limit."""
    return int(NO_TIMEOUT) if timeout is None else max(0, int(timeout * 1e9))


class Update(tuple["Program", "Program", int]):
    """`(old, new, generation)` of a link's change; `publish_ns`, `grace_ns` and `wait()` besides."""

    _change: Change
    _after: Callable[[], None] | None = None

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

    @property
    def published(self) -> bool:
        """Whether a world was published: not when the program was current already."""
        return bool(self._change.published)

    @property
    def publish_ns(self) -> int:
        """Nanoseconds of the exchange of the slot; 0 when nothing was published."""
        return int(self._change.publish_ns)

    @property
    def grace_ns(self) -> int:
        """Nanoseconds from the exchange to the end of the first wait for it; 0 before that."""
        return int(self._change.grace_ns)

    def wait(self, timeout: float | None = None) -> None:
        """Returns after the grace period: from then on no packet runs the old program.

        Raises `GraceTimeout` after `timeout` seconds, naming the worker that holds it up; the update
        stays made. With `maps="migrate"` the first wait copies what changed meanwhile, and raises
        the `MapError` of a map that could not take it.
        """
        self._change.wait(timeout_ns(timeout))
        after, self._after = self._after, None
        if after is not None:
            after()


class PendingUpdate:
    """An `Update` whose transaction is not committed yet; afterwards it reads as that `Update` does.

    Until then, and for good when the transaction was given up, `committed` is false and everything
    else raises `TransactionError`.
    """

    def __init__(self, after: Callable[[], None] | None = None) -> None:
        self._after = after
        self._result: Update | None = None

    @property
    def committed(self) -> bool:
        """Whether the transaction made the change."""
        return self._result is not None

    @property
    def result(self) -> Update:
        """The update; raises `TransactionError` when the transaction has not made it."""
        if self._result is None:
            raise TransactionError("the transaction has not made this update")
        return self._result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.result, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.result)

    def __getitem__(self, index: int) -> Any:
        return self.result[index]

    def __len__(self) -> int:
        return 3
