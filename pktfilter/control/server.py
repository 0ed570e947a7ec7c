"""The answering end of a control socket: threads beside the one that runs packets.

Threads: one accepts, one serves each connection (at most `CONNECTIONS`). Operations on links are
serialized by the datapath; `Engine.lock` serializes what goes beyond one (loading and then
updating). A worker is never waited for with that lock held longer than an operation's timeout.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ControlError, InputError, PktfilterError, VerifierError
from ..handles.hooks import Datapath
from ..objects import ObjectSpec
from .engine import Engine
from .operations import OPERATIONS
from .protocol import LINE_MAX, PATH_MAX, decode, directory, encode

__all__ = ["ControlServer", "Engine"]

CONNECTIONS = 16


class ControlServer:
    """Listens until `close`. `path`: the socket's; by default one named after the process."""

    def __init__(
        self,
        datapath: Datapath,
        parse: Callable[[str], tuple[ObjectSpec, str]],
        *,
        path: str | Path | None = None,
        title: str = "",
    ) -> None:
        self.engine = Engine(datapath, parse, title)
        self.path = directory() / f"{os.getpid()}.sock" if path is None else Path(path)
        if len(os.fsencode(self.path)) > PATH_MAX:
            raise InputError(
                "the path of the control socket is too long",
                file=str(self.path),
                found=f"{len(os.fsencode(self.path))} bytes",
                expected=f"at most {PATH_MAX}",
            )
        self._lock = (
            threading.Lock()
        )  # of _listener and _closed: a timer may start what is being closed
        self._listener: socket.socket | None = None
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._closed = threading.Event()

    def start(self) -> None:
        """Listens from now on, unless it was closed. Raises `InputError` when the socket cannot be made."""
        with self._lock:
            if not self._closed.is_set():
                self._start()

    def _start(self) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Bound under another name and mode before it gets its own: there is no moment at which others may connect.
        early = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            early.unlink(missing_ok=True)
            listener.bind(str(early))
            early.chmod(0o600)
            listener.listen(CONNECTIONS)
            os.rename(early, self.path)
        except OSError as error:
            listener.close()
            raise InputError(
                f"cannot listen: {error.strerror or error}", file=str(self.path)
            ) from error
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="control", daemon=True).start()

    def close(self) -> None:
        """Stops listening and removes the socket. Idempotent."""
        with self._lock:
            self._closed.set()
            if self._listener is not None:
                self.path.unlink(missing_ok=True)
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
                self._listener.close()
                self._listener = None

    def __enter__(self) -> ControlServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._closed.is_set():
                    return
                time.sleep(0.1)  # such as out of descriptors: what is open goes on
                continue
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(
                target=self._serve, args=(connection,), name="control-connection", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                while line := lines.readline(LINE_MAX + 1):
                    if not line.endswith(b"\n"):
                        return
                    connection.sendall(self._answer(line))
        except OSError:
            return  # the asking end went away
        finally:
            self._free.release()

    def _answer(self, line: bytes) -> bytes:
        try:
            return encode({"ok": True, "result": self._perform(decode(line))})
        except PktfilterError as error:
            text = str(error)
            if isinstance(error, VerifierError):
                text = "\n\n".join([*(d.render() for d in error.diagnostics), text])
            return _refusal(text, error)
        except (
            Exception
        ) as error:  # a bug of ours: whoever asked hears of it, and the engine runs on
            return _refusal(f"internal error: {type(error).__name__}: {error}", error)

    def _perform(self, request: dict[str, Any]) -> Any:
        op = request.pop("op", None)
        operation = OPERATIONS.get(op) if isinstance(op, str) else None
        if operation is None:
            raise ControlError(
                "no such operation", found=repr(op), expected=", ".join(sorted(OPERATIONS))
            )
        return operation(self.engine, request)


def _refusal(text: str, error: Exception) -> bytes:
    return encode(
        {
            "ok": False,
            "error": text,
            "kind": type(error).__name__,
            "errno": getattr(error, "errno", None),
        }
    )
