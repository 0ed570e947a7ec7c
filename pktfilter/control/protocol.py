"""What both ends of a control socket agree on.

A request is one line: a JSON object with `op` (such as "link.update") and its arguments. The answer is
one line: `{"ok": true, "result": ...}`, or `{"ok": false, "error": sentence, "kind": exception's name,
"errno": number or null}`. A connection carries any number of requests, answered in order. A line is at
most `LINE_MAX` bytes either way.

The socket is mode 0600 in a directory of mode 0700 that belongs to the user: who may connect is who
may signal the process.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from ..errors import ControlError, InputError

LINE_MAX = 1 << 24
"""Bytes of one request or answer: a dump of a large map does not fit and says so."""

PATH_MAX = 107
"""Bytes of a Unix socket's path on Linux (unix(7))."""


def encode(message: dict[str, Any]) -> bytes:
    """One line; raises `ControlError` when it would be longer than `LINE_MAX`."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) > LINE_MAX:
        raise ControlError(
            "the answer is too long for a control line",
            found=f"{len(line)} bytes",
            expected=f"at most {LINE_MAX}",
            hint="ask for less, such as --limit 1000",
        )
    return line


def decode(line: bytes) -> dict[str, Any]:
    """The object in a line; raises `ControlError` when it holds none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError("a control line is no JSON", found=repr(line[:60])) from error
    if not isinstance(message, dict):
        raise ControlError("a control line is no JSON object", found=type(message).__name__)
    return message


def directory() -> Path:
    """The user's own directory for control sockets, made when it is not there.

    `$XDG_RUNTIME_DIR/pktfilter`, or `pktfilter-UID` in the temporary directory. Raises `InputError` when
    something else has that name, or when others may enter it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    uid = os.geteuid()
    path = (
        Path(runtime) / "pktfilter"
        if runtime and os.path.isdir(runtime)
        else Path(tempfile.gettempdir()) / f"pktfilter-{uid}"
    )
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise InputError(
            f"no directory for control sockets: {error.strerror}", file=str(path)
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise InputError(
            "control sockets need a directory of the user's own",
            file=str(path),
            found=f"owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}",
            expected=f"owner {uid}, mode 700",
        )
    return path
