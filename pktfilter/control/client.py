"""The asking end of a control socket."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ControlError, InputError
from .protocol import LINE_MAX, decode, directory, encode

CONNECT_SECONDS = 2.0


def sockets() -> list[Path]:
    """Control sockets of this user that somebody listens at; those of dead processes are removed."""
    alive = []
    for path in sorted(directory().glob("*.sock")):
        try:
            _connect(path).close()
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            continue
        else:
            alive.append(path)
    return alive


def _connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(CONNECT_SECONDS)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    sock.settimeout(None)
    return sock


def only_socket() -> Path:
    """The one engine that runs; raises `InputError` where there is none, or a choice."""
    found = sockets()
    if not found:
        raise InputError(
            "no engine of this user is running",
            hint="start one with 'pktfilter live' or a replay that takes longer than a second",
        )
    if len(found) > 1:
        raise InputError(
            "several engines are running",
            found=", ".join(map(str, found)),
            hint="choose one with --socket PATH",
        )
    return found[0]


class Client:
    """A connection to a running engine."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else only_socket()
        try:
            self._socket = _connect(self.path)
        except OSError as error:
            raise ControlError(
                f"cannot reach the engine: {error.strerror or error}", file=str(self.path)
            ) from error
        self._lines = self._socket.makefile("rb")

    def ask(self, op: str, **arguments: Any) -> Any:
        """The result of an operation; raises `ControlError` with what the engine says."""
        try:
            self._socket.sendall(encode({"op": op, **arguments}))
            line = self._lines.readline(LINE_MAX + 1)
        except OSError as error:
            raise ControlError(
                f"the engine went away: {error.strerror or error}", file=str(self.path)
            ) from error
        if not line.endswith(b"\n"):
            raise ControlError("the engine ended before it answered", file=str(self.path))
        answer = decode(line)
        if answer.get("ok") is True:
            return answer.get("result")
        raise ControlError(
            str(answer.get("error", "the engine's answer is no answer")),
            errno=answer.get("errno"),
            kind=answer.get("kind"),
        )

    def close(self) -> None:
        """Ends the connection."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
