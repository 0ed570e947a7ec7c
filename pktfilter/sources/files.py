"""Inputs: capture files by name or glob, standard input, and what compressed them."""

from __future__ import annotations

import glob
import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import RawIOBase
from types import TracebackType
from typing import Protocol

from .._core.io import Reader
from ..errors import CaptureError, InputError

#: Decompressed bytes handed on at a time.
BLOCK = 1 << 18
#: Compressed bytes given to a decompressor at a time.
PIECE = 512
#: The largest window a compressed input may ask for: bounds the memory of decompression.
WINDOW_MAX = 1 << 27

_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
_MAGIC_LEN = max(map(len, _MAGICS))
STDIN = "-"
STDIN_FD = 0
_CANCEL_MS = 100

PathLike = str | os.PathLike[str]


def expand(inputs: PathLike | Iterable[PathLike]) -> list[str]:
    """Input names in order, globs replaced by what they match, sorted. "-" is standard input.

    A name that exists is itself, whatever characters it has. Raises `InputError` for a glob that
    matches nothing and for no inputs at all.
    """
    names = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    result: list[str] = []
    for name in [os.fspath(name) for name in names]:
        if name == STDIN or os.path.lexists(name) or not glob.has_magic(name):
            result.append(name)
            continue
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise InputError("no file matches the pattern", file=name)
        result.extend(matches)
    if not result:
        raise InputError("no input was given", expected="at least one capture file")
    if result.count(STDIN) > 1:
        raise InputError("standard input was given more than once", file=STDIN)
    return result


class Source:
    """One open input: its `reader` sees plain pcap or pcapng whatever the file is compressed with.

    A context manager. `compression` is None, "gzip", "zstd", "xz" or "lz4"; `size` is the size of the
    file as stored, None where it has none. After the end of the input, `check` raises what went wrong
    in decompression. `cancelled` is asked while the first bytes of a pipe or terminal are awaited:
    once it says yes, the wait ends as if the input had. With `announce`, the reader delivers no packet
    of an interface that was not accepted (csrc/io/reader.h, R8).
    """

    def __init__(
        self,
        path: str,
        *,
        as_ethernet: bool = False,
        any_linktype: bool = False,
        announce: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self.path = path
        #: What errors call it.
        self.label = "standard input" if path == STDIN else path
        self.compression: str | None = None
        self.size: int | None = None
        self._feeder: _Feeder | None = None
        self._cancelled = cancelled or (lambda: False)
        self._file = self._open(path)
        try:
            self._start(as_ethernet=as_ethernet, any_linktype=any_linktype, announce=announce)
        except BaseException:
            self.close()
            raise

    def _open(self, path: str) -> RawIOBase:
        try:
            if path == STDIN:
                return open(os.dup(STDIN_FD), "rb", buffering=0)
            # A FIFO without a writer would block in open, where nothing can end it.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            os.set_blocking(fd, True)
        except OSError as error:
            raise CaptureError(f"cannot be opened: {error.strerror}", file=self.label) from error
        try:
            return open(fd, "rb", buffering=0)
        except OSError as error:  # a directory
            os.close(fd)
            raise CaptureError(f"cannot be opened: {error.strerror}", file=self.label) from error

    def _start(self, *, as_ethernet: bool, any_linktype: bool, announce: bool) -> None:
        try:
            head = self._peek()
        except OSError as error:
            raise CaptureError(f"cannot be read: {error.strerror}", file=self.label) from error
        self.compression = next(
            (name for magic, name in _MAGICS.items() if head.startswith(magic)), None
        )
        fd = self._file.fileno()
        if self.compression is not None or not os.get_blocking(fd):
            self._feeder = _Feeder(
                self._file, head if self.size is None else b"", self.compression, self.label
            )
            fd = self._feeder.read_fd
            head = b""
        elif self.size is not None:
            head = b""
        self.reader = Reader(
            fd, as_ethernet=as_ethernet, any_linktype=any_linktype, announce=announce, head=head
        )

    def _peek(self) -> bytes:
        """The first bytes: without moving in a regular file; taken from anything else."""
        fd = self._file.fileno()
        if self._file.seekable() and self._file.tell() == 0:
            self.size = os.fstat(fd).st_size
            return os.pread(fd, _MAGIC_LEN, 0)
        head = b""
        ready = select.poll()
        ready.register(fd, select.POLLIN)
        while len(head) < _MAGIC_LEN and not self._cancelled():
            # A wait without end could not be cancelled: Python resumes it after a signal's handler.
            if not ready.poll(_CANCEL_MS):
                continue
            more = self._file.read(_MAGIC_LEN - len(head))
            if more is None:  # not blocking, and somebody else was faster
                continue
            if not more:
                break
            head += more
        return head

    def check(self) -> None:
        """Raises `CaptureError` if the input ended because its compressed data is damaged."""
        if self._feeder is not None:
            self._feeder.check()

    @property
    def position(self) -> int | None:
        """Bytes of the stored file read so far, for progress; None where the file has no size."""
        if self.size is None:
            return None
        return self._file.tell() if self._feeder else int(self.reader.info()["bytes_read"])

    def read_ahead(self, size: int) -> None:
        """Asks the system to have the file's first bytes at hand; advice, which it may ignore."""
        with suppress(OSError):
            os.posix_fadvise(self._file.fileno(), 0, size, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Ends reading; an unfinished decompression is stopped."""
        if self._feeder is not None:
            self._feeder.close()
        self._file.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Feeder:
    """Decompresses into a pipe on a thread of its own, so that the reader stays one piece of C.

    Without compression it only copies: for a descriptor that does not block, which the reader takes not.
    """

    def __init__(self, file: RawIOBase, head: bytes, compression: str | None, path: str) -> None:
        self._compression, self._path = compression or "input", path
        self._error: Exception | None = None
        self._stop_fd, self._stop_write_fd = os.pipe()
        self._blocks = decompressed(_Joined(file, head, self._stop_fd), compression)
        self.read_fd, self._write_fd = os.pipe()
        self._thread = threading.Thread(
            target=self._run, name=f"pktfilter-{self._compression}", daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        try:
            for block in self._blocks:
                view = memoryview(block)
                while view:
                    view = view[os.write(self._write_fd, view) :]
        except BrokenPipeError:
            pass  # the reader has seen enough
        except Exception as error:  # the libraries raise errors of their own, EOFError, OSError
            self._error = error
        finally:
            os.close(self._write_fd)

    def check(self) -> None:
        # The error is set before the pipe is closed: who has read to the end sees it.
        if self._error is not None:
            reason = str(self._error) or type(self._error).__name__
            if "memory" in reason.lower():  # zstandard and lzma have no type of their own for it
                raise CaptureError(
                    f"the {self._compression} data asks for too much memory to decompress",
                    file=self._path,
                    expected=f"a window of at most {WINDOW_MAX >> 20} MiB",
                    hint="decompress it with its own tool and pipe it in",
                    damaged=True,
                ) from self._error
            raise CaptureError(
                f"the {self._compression} data is damaged or cut short: {reason}",
                file=self._path,
                damaged=True,
            ) from self._error

    def close(self) -> None:
        os.close(self._stop_write_fd)  # ends a wait for input
        os.close(self.read_fd)  # a writer that is still going gets EPIPE
        self._thread.join()
        os.close(self._stop_fd)


class _Joined:
    """A raw file with bytes that were taken from its front; ends early once `stop_fd` hangs up."""

    def __init__(self, file: RawIOBase, head: bytes, stop_fd: int) -> None:
        self._file, self._head = file, head
        self._stop_fd = stop_fd
        self._ready = select.poll()
        self._ready.register(file.fileno(), select.POLLIN)
        self._ready.register(stop_fd, select.POLLIN)

    def read(self, size: int) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        while True:
            if any(fd == self._stop_fd for fd, _ in self._ready.poll()):
                return b""
            data = self._file.read(size)
            if data is not None:  # None: not blocking, and somebody else was faster
                return data


class _Decompressor(Protocol):
    """One member of a compressed file: the shape of the standard library's decompressors."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib in that shape."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(data or self._inner.unconsumed_tail, max_length)


class _Zstd:
    """zstandard in that shape. It takes all of `data` at once: the caller keeps that small."""

    def __init__(self) -> None:
        import zstandard

        self._inner = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX).decompressobj(
            write_size=1 << 14
        )
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:  # noqa: ARG002
        return self._inner.decompress(data)


def _xz() -> _Decompressor:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW_MAX + (WINDOW_MAX >> 1))


def _lz4() -> _Decompressor:
    import lz4.frame

    decompressor: _Decompressor = lz4.frame.LZ4FrameDecompressor()
    return decompressor


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _Gzip,
    "xz": _xz,
    "lz4": _lz4,
    "zstd": _Zstd,
}


def decompressed(source: _Joined, compression: str | None) -> Iterator[bytes]:
    """The plain bytes of all members, in blocks. What came before damage is given before the error.

    Memory is bounded for any input: one call decompresses `PIECE` bytes, which even in zstd, whose
    library does not limit its output, cannot become more than PIECE / 4 blocks of 128 KiB.
    """
    if compression is None:
        while data := source.read(BLOCK):
            yield data
        return
    make = _DECOMPRESSORS[compression]
    state: _Decompressor | None = None  # between two members
    out = bytearray()
    while data := source.read(BLOCK):
        at = 0
        while at < len(data):
            piece = data[at : at + PIECE]
            at += len(piece)
            if state is None:
                piece = piece.lstrip(b"\0")  # padding after a member
                if not piece:
                    continue
                state = make()
            try:
                out += state.decompress(piece, BLOCK)
                while not (state.eof or state.needs_input):
                    yield bytes(out)
                    out.clear()
                    out += state.decompress(b"", BLOCK)
            except Exception:
                yield bytes(out)
                raise
            if state.eof:
                at -= len(state.unused_data or b"")
                state = None
            if len(out) >= BLOCK:
                yield bytes(out)
                out.clear()
        if out:
            yield bytes(out)
            out.clear()
    if state is not None:
        raise EOFError("it ends in the middle")
