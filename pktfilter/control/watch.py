"""Watching a file: what to do when its contents may have changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType

INTERVAL = 0.2
"""Seconds between two looks. A change is taken up once two looks agree: a file is not read half written."""

_Mark = tuple[int, int, int, int] | None


def _mark(path: str) -> _Mark:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Watcher:
    """Calls `changed` in a thread of its own whenever the file at `path` became another one.

    Works for editors and linkers that replace the file as for those that write into it; a file that
    is gone is waited for. An exception in `changed` goes to `failed`, and watching goes on.
    """

    def __init__(
        self,
        path: str,
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
        *,
        interval: float = INTERVAL,
    ) -> None:
        self.path = path
        self._changed, self._failed, self._interval = changed, failed, interval
        self._taken = _mark(path)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def close(self) -> None:
        """Ends, after a change that is being taken up. Idempotent."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        before = self._taken
        while not self._end.wait(self._interval):
            now = _mark(self.path)
            if now is not None and now == before and now != self._taken:
                self._taken = now
                try:
                    self._changed()
                except Exception as error:  # whatever is wrong with the file, the engine runs on
                    self._failed(error)
            before = now

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
