"""Opening inputs before their turn, so that the next ones are read ahead and decompressed while one is run."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Sequence

from ..errors import CaptureError
from .files import Source

DEPTH = 2
"""Inputs that are open before their turn, at most: each may hold a decompressor and its window."""
READ_AHEAD = 8 << 20
"""Bytes of each that the system is asked to read."""


class Ahead:
    """The inputs in order, the next few of them opened early. A context manager; closes what was not taken.

    Nothing is opened early where there is one CPU, nor what is no regular file: opening a pipe can
    wait for its writer. An input that cannot be opened early is opened, and fails, in its turn.
    """

    def __init__(self, names: Sequence[str], opener: Callable[[str], Source]) -> None:
        self._opener = opener
        self._left = deque(names)
        self._depth = DEPTH if len(os.sched_getaffinity(0)) > 1 else 0
        self._open: deque[tuple[str, Source]] = deque()

    def take(self, name: str) -> Source:
        """The next input, which is called so; the caller closes it. Raises as `Source` does."""
        if self._open and self._open[0][0] == name:
            source = self._open.popleft()[1]
        else:
            if self._left and self._left[0] == name:
                self._left.popleft()
            source = self._opener(name)
        self._prepare()
        return source

    def _prepare(self) -> None:
        while self._left and len(self._open) < self._depth:
            name = self._left[0]
            try:
                if not stat.S_ISREG(os.stat(name).st_mode):
                    return
                source = self._opener(name)
            except (OSError, CaptureError):
                return
            self._left.popleft()
            self._open.append((name, source))
            source.read_ahead(READ_AHEAD)

    def close(self) -> None:
        """Closes what nobody took; from now on nothing is opened early."""
        self._left.clear()
        while self._open:
            self._open.popleft()[1].close()
