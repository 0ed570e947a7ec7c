"""Outputs: capture files by name; the extension chooses the format."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any

from ._core.io import Writer
from .errors import InputError, OutputError
from .handles.program import XDP
from .sources import STDIN, STDIN_FD

STDOUT = "-"
STDOUT_FD = 1
#: Extensions that promise what is not written.
COMPRESSED = (".gz", ".zst", ".xz", ".lz4", ".bz2")
#: What `-w` writes unless said otherwise: packets that the action lets through.
LET_THROUGH = (XDP.PASS, XDP.TX)

WRITE_CHOICES: dict[str, tuple[XDP, ...]] = {
    "passed": LET_THROUGH,
    **{action.name.lower(): (action,) for action in XDP},
    "all": tuple(XDP),
}


class Sink:
    """One output capture. A context manager; leaving it completes the file.

    `buffer`: bytes collected before a write; 0 is the default of the core, 1 writes after every batch.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        actions: Iterable[XDP] = LET_THROUGH,
        comment: bool = False,
        inputs: Iterable[str] = (),
        buffer: int = 0,
    ) -> None:
        self.path = os.fspath(path)
        self.pcapng = self.path.endswith((".pcapng", ".ntar"))
        #: What errors call it.
        self.label = "standard output" if self.path == STDOUT else self.path
        self._finished = False
        if comment and not self.pcapng:
            raise InputError("comments need a .pcapng output", file=self.path)
        if self.path.endswith(COMPRESSED):
            raise InputError(
                "compressed output is not supported",
                file=self.path,
                expected=".pcap or .pcapng",
                hint="write to - and pipe it through the compressor",
            )
        if self.path == STDOUT and os.isatty(STDOUT_FD):
            raise InputError(
                "a capture is not written to a terminal", hint="redirect standard output"
            )
        self._refuse_input(inputs)
        try:
            self._fd = (
                os.dup(STDOUT_FD)
                if self.path == STDOUT
                else os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            )
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", file=self.label) from error
        mask = 0
        for action in actions:
            mask |= 1 << action
        self.writer = Writer(
            self._fd, pcapng=self.pcapng, actions=mask, comment=comment, buffer_flush=buffer
        )

    def _refuse_input(self, inputs: Iterable[str]) -> None:
        """Opening the output would empty an input of the same name."""
        try:
            mine = os.stat(self.path)
        except OSError:
            return
        if not stat.S_ISREG(mine.st_mode):
            return
        for name in inputs:
            try:
                other = os.stat(STDIN_FD if name == STDIN else name)
            except OSError:
                continue
            if (mine.st_dev, mine.st_ino) == (other.st_dev, other.st_ino):
                raise InputError("the output is also an input", file=self.path)

    def finish(self, iface: Any = None) -> None:
        """Completes the file: what is buffered, and the header where no packet came."""
        if self._finished:
            return
        self._finished = True
        try:
            self.writer.finish(iface)
        except OutputError as error:
            error.file = self.label
            raise
        finally:
            os.close(self._fd)

    @property
    def packets(self) -> int:
        """Packets that reached the file."""
        return int(self.writer.packets)

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        elif not self._finished:
            self._finished = True
            os.close(self._fd)


class RotatingSink:
    """Output of a live run: written after every batch, in one file or in numbered ones.

    With `rotate_bytes` or `rotate_seconds` the files are NAME.00001.EXT and so on; a file ends with the
    batch that reached the limit, and of more than `files` the oldest is removed. Every file is complete
    by itself. A process that is killed leaves whole records, but for the one that it was just writing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        actions: Iterable[XDP] = LET_THROUGH,
        comment: bool = False,
        rotate_bytes: int | None = None,
        rotate_seconds: float | None = None,
        files: int | None = None,
    ) -> None:
        self._path, self._actions, self._comment = os.fspath(path), tuple(actions), comment
        self._rotate_bytes, self._rotate_seconds, self._files = rotate_bytes, rotate_seconds, files
        self._rotating = rotate_bytes is not None or rotate_seconds is not None
        _check_rotation(self._path, rotate_bytes, rotate_seconds, files)
        #: Packets by file, in order; files that were removed are not in it.
        self.written: dict[str, int] = {}
        self.removed = 0
        self._finished_bytes = 0
        self._number = 0
        self._iface: Any = None
        self._open()

    def _open(self) -> None:
        self._number += 1
        path = self._path
        if self._rotating:
            stem, extension = os.path.splitext(path)
            path = f"{stem}.{self._number:05d}{extension}"
        self._sink = Sink(path, actions=self._actions, comment=self._comment, buffer=1)
        self._since = time.monotonic()

    @property
    def label(self) -> str:
        """What errors call the current file."""
        return self._sink.label

    @property
    def writer(self) -> Writer:
        """Of the current file."""
        return self._sink.writer

    @property
    def bytes(self) -> int:
        """Of all files, removed ones included."""
        return self._finished_bytes + int(self._sink.writer.bytes)

    def rotate(self, iface: Any) -> bool:
        """Goes on to the next file where a limit was reached; says whether it did. Between batches."""
        if not self._rotating:
            return False
        full = (
            self._rotate_bytes is not None and int(self._sink.writer.bytes) >= self._rotate_bytes
        ) or (
            self._rotate_seconds is not None
            and time.monotonic() - self._since >= self._rotate_seconds
        )
        if not full:
            return False
        self.finish(iface)
        while self._files is not None and len(self.written) >= self._files:
            oldest = next(iter(self.written))
            del self.written[oldest]
            self.removed += 1
            with suppress(FileNotFoundError):
                os.unlink(oldest)
        self._open()
        return True

    def finish(self, iface: Any = None) -> None:
        """Completes the current file."""
        try:
            self._sink.finish(iface)
        finally:
            if self._sink.path not in self.written:
                self.written[self._sink.path] = self._sink.packets
                self._finished_bytes += int(self._sink.writer.bytes)


def _check_rotation(
    path: str, rotate_bytes: int | None, rotate_seconds: float | None, files: int | None
) -> None:
    rotating = rotate_bytes is not None or rotate_seconds is not None
    if rotating and path == STDOUT:
        raise InputError("standard output cannot be rotated", hint="write to a file")
    if files is not None and not rotating:
        raise InputError(
            "a number of files needs a limit at which the next begins",
            hint="rotate by size or by time",
        )
    for what, value in (("bytes", rotate_bytes), ("seconds", rotate_seconds), ("files", files)):
        if value is not None and value <= 0:
            raise InputError(
                f"the number of {what} is out of range", found=value, expected="above 0"
            )
