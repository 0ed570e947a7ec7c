"""Outputs: capture files by name; the extension chooses the format."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
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
    """One output capture. A context manager; leaving it completes the file."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        actions: Iterable[XDP] = LET_THROUGH,
        comment: bool = False,
        inputs: Iterable[str] = (),
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
        self.writer = Writer(self._fd, pcapng=self.pcapng, actions=mask, comment=comment)

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
