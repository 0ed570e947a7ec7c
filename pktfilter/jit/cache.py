"""Compiled objects on disk, so that a program compiled once runs at once in the next process.

What is in the cache is run as machine code, so who can write to it can be us. It therefore stands
on four things, checked at every use on open descriptors, never on names:
    C1 The directory is no symbolic link, belongs to the effective user, and has mode 0700; what is
       created is created in a directory of the effective user's or root's.
    C2 A file in it is regular, belongs to the effective user, has mode 0600 and one name, and is
       read whole into memory: what was checked is what is loaded.
    C3 A file says which key it is for and the SHA-256 of its contents. This finds damage and
       confusion, not forgery, which C1 and C2 keep out. A file that fails is removed.
    C4 The verifier has accepted a program before its code is looked for.
Where C1 cannot be had the cache is off, and `status()` says why. Nothing here raises for what the
disk does: a failed load is a miss, and a failed store says why in its result.

Processes need no lock: a file appears complete under its name or not at all (a rename), and one that
disappears is a miss. There is no fsync, since C3 finds what a crash leaves torn. The cache is bounded
(`PKTFILTER_CACHE_SIZE` in MiB, default 256): each store removes what was used least recently.

The directory is `$PKTFILTER_CACHE` ("off": no cache), or `pktfilter` in `$XDG_CACHE_HOME` or
`~/.cache`.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256

from . import cache_key

DEFAULT_MIB = 256
MAX_ENTRIES = 4096
MAX_OBJECT = 64 << 20
"""Bytes of one object; LLVM's largest for a program of the verifier's limits are far smaller."""

_MAGIC = b"PFCODE\x00\x01"
_HEADER = len(_MAGIC) + 32 + 32 + 8
_SUFFIX = ".o"
_NEW = ".new-"
_STALE_S = 3600.0
"""A file being written that is older was left by a process that was killed."""
_TOUCH_S = 3600.0
"""A use is noted when the last noted one is this old: most loads write nothing."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: opening a pipe that stands in a file's place must not wait for its other end.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Off(Exception):  # noqa: N818
    """The cache cannot be used; the text says why."""


@dataclass(frozen=True)
class Status:
    """What `pktfilter cache` shows. `path` is None where none can be named, `reason` says why it is off."""

    path: str | None
    reason: str | None
    entries: int = 0
    bytes: int = 0
    limit: int = 0

    @property
    def on(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class _Entry:
    used: float
    size: int  # what it takes of the limit
    name: str


def key(unit: object, level: int = 2) -> str | None:
    """The key of a unit compiled at an optimization level; None where the cache is off."""
    if _switched_off() is not None:
        return None
    try:
        return cache_key.key(unit, level)
    except OSError:
        return None


def load(key: str | None) -> bytes | None:
    """The object stored under a key, or None. A file that is not what it should be is removed."""
    if key is None:
        return None
    name = key + _SUFFIX
    with suppress(_Off, OSError), _directory() as folder:
        try:
            return _read(folder, name, bytes.fromhex(key))
        except ValueError:
            os.unlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:  # a symbolic link, never one of ours
                os.unlink(name, dir_fd=folder)
    return None


def store(key: str | None, code: bytes) -> str | None:
    """Keeps an object for the next `load`; None when done, else why not. Removes the least used."""
    if key is None:
        return status().reason or "the key could not be made"
    try:
        limit = _limit()
        if len(code) > min(MAX_OBJECT, limit - _HEADER):
            return f"an object of {len(code)} bytes is larger than the cache takes"
        with _directory(create=True) as folder:
            _write(folder, key, code)
            _trim(folder, limit)
    except _Off as off:
        return str(off)
    except OSError as error:
        return error.strerror or str(error)
    return None


def clear() -> int:
    """Removes every object; the number removed. OSError where the cache is off or cannot be written."""
    removed = 0
    try:
        with _directory() as folder:
            for name in os.listdir(folder):
                if _is_entry(name) or name.startswith(_NEW):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=folder)
                        removed += _is_entry(name)
    except FileNotFoundError:
        return 0
    except _Off as off:
        raise OSError(errno.EPERM, str(off), _path()) from None
    return removed


def status() -> Status:
    """Whether the cache is on, why not, where it is and what it holds. Creates nothing."""
    path = _path()
    try:
        limit = _limit()
        cache_key.fingerprint()
        try:
            with _directory() as folder:
                if not os.access(".", os.W_OK, dir_fd=folder, effective_ids=True):
                    raise _Off(f"{path} cannot be written")
                found = list(_entries(folder))
        except FileNotFoundError:
            found = []
    except _Off as off:
        return Status(path, str(off))
    except OSError as error:
        return Status(path, f"{error.filename or path}: {error.strerror or error}")
    return Status(path, None, len(found), sum(entry.size for entry in found), limit)


def _switched_off() -> str | None:
    if os.environ.get("PKTFILTER_CACHE") == "off":
        return "PKTFILTER_CACHE is 'off'"
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid():
        return "the process runs with another user's or group's rights (setuid)"
    return None


def _limit() -> int:
    text = os.environ.get("PKTFILTER_CACHE_SIZE", str(DEFAULT_MIB))
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise _Off(f"PKTFILTER_CACHE_SIZE is {text!r}, expected a number of MiB")
    if int(text) == 0:
        raise _Off("PKTFILTER_CACHE_SIZE is 0")
    return int(text) << 20


def _place() -> tuple[str, str, bool]:
    """(the directory ours is in, ours, whether the first may be created)."""
    off = _switched_off()
    if off is not None:
        raise _Off(off)
    chosen = os.environ.get("PKTFILTER_CACHE")
    if chosen:
        parent, name = os.path.split(chosen.rstrip("/"))
        if not parent.startswith("/") or name in ("", ".", ".."):
            raise _Off(
                f"PKTFILTER_CACHE is {chosen!r}, expected 'off' or the full path of a directory"
            )
        return parent, name, False
    parent = os.environ.get("XDG_CACHE_HOME", "")
    if not parent.startswith("/"):  # the XDG specification: anything else is ignored
        home = os.environ.get("HOME", "")
        if not home.startswith("/"):
            raise _Off("neither PKTFILTER_CACHE, XDG_CACHE_HOME nor HOME says where")
        parent = os.path.join(home, ".cache")
    return parent, "pktfilter", True


def _path() -> str | None:
    try:
        parent, name, _ = _place()
    except _Off:
        return None
    return os.path.join(parent, name)


@contextmanager
def _directory(create: bool = False) -> Iterator[int]:
    """A descriptor of our directory, which holds C1. FileNotFoundError, or _Off where it cannot."""
    parent, name, ours = _place()
    try:
        above = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        if not (create and ours):
            raise
        _make_parent(parent)
        above = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    folder = -1
    try:
        path = os.path.join(parent, name)
        _check_parent(above, parent)
        folder = _open(above, name, path, create)
        found = os.fstat(folder)
        if found.st_uid != os.geteuid():
            raise _Off(f"{path} belongs to user {found.st_uid}, expected {os.geteuid()}")
        if stat.S_IMODE(found.st_mode) & 0o777 != 0o700:
            raise _Off(f"{path} has mode {found.st_mode & 0o777:04o}, expected 0700")
        yield folder
    finally:
        os.close(above)
        if folder >= 0:
            os.close(folder)


def _make_parent(path: str) -> None:
    """`~/.cache` where there is none, in a directory that is the user's."""
    upper, name = os.path.split(path.rstrip("/"))
    above = os.open(upper or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_parent(above, upper)
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=above)
    finally:
        os.close(above)


def _check_parent(above: int, path: str) -> None:
    """Refuses another user's directory: root must neither leave files there nor trust its owner."""
    owner = os.fstat(above).st_uid
    if owner not in (0, os.geteuid()):
        raise _Off(f"{path} belongs to user {owner}, expected {os.geteuid()}")


def _open(above: int, name: str, path: str, create: bool) -> int:
    try:
        try:
            return os.open(name, _DIRECTORY, dir_fd=above)
        except FileNotFoundError:
            if not create:
                raise
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=above)
        return os.open(name, _DIRECTORY, dir_fd=above)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
    raise _Off(f"{path} is a symbolic link or a file, expected a directory")


def _read(folder: int, name: str, key: bytes) -> bytes:
    """The contents of a file that holds C2 and C3, else ValueError."""
    file = os.open(name, _FILE, dir_fd=folder)
    try:
        found = os.fstat(file)
        if (
            not stat.S_ISREG(found.st_mode)
            or found.st_uid != os.geteuid()
            or stat.S_IMODE(found.st_mode) & 0o777 != 0o600
            or found.st_nlink > 1  # 0: another process has just replaced it
            or not _HEADER <= found.st_size <= _HEADER + MAX_OBJECT
        ):
            raise ValueError(name)
        pieces = []
        left = found.st_size
        while left:
            piece = os.read(file, left)
            if not piece:
                raise ValueError(name)
            pieces.append(piece)
            left -= len(piece)
        data = b"".join(pieces)
        code = data[_HEADER:]
        if data[:_HEADER] != _header(key, code):
            raise ValueError(name)
        if time.time() - found.st_mtime > _TOUCH_S:
            with suppress(OSError):
                os.utime(file)
        return code
    finally:
        os.close(file)


def _header(key: bytes, code: bytes) -> bytes:
    return _MAGIC + key + sha256(code).digest() + len(code).to_bytes(8, "little")


def _write(folder: int, key: str, code: bytes) -> None:
    new = f"{_NEW}{os.getpid()}-{os.urandom(8).hex()}"
    file = os.open(new, _CREATE, 0o600, dir_fd=folder)
    try:
        try:
            left = memoryview(_header(bytes.fromhex(key), code) + code)
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)  # before the rename: some file systems report a full disk here
        os.rename(new, key + _SUFFIX, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise


def _is_entry(name: str) -> bool:
    digits = name[: -len(_SUFFIX)]
    return (
        name.endswith(_SUFFIX)
        and len(digits) == 64
        and all(c in "0123456789abcdef" for c in digits)
    )


def _entries(folder: int) -> Iterator[_Entry]:
    """Objects in the directory; files that a killed process left half written are removed."""
    now = time.time()
    for name in os.listdir(folder):
        if not (_is_entry(name) or name.startswith(_NEW)):
            continue
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if _is_entry(name):
                # Blocks and the directory's own entry count too: many small objects fill a disk.
                yield _Entry(found.st_mtime, max(found.st_size, found.st_blocks * 512), name)
            elif now - found.st_mtime > _STALE_S:
                os.unlink(name, dir_fd=folder)
        except OSError:
            continue  # another process was faster, or the disk is read-only


def _trim(folder: int, limit: int) -> None:
    entries = sorted(_entries(folder), key=lambda entry: entry.used, reverse=True)
    taken = 0
    for place, entry in enumerate(entries):
        taken += entry.size
        if taken > limit or place >= MAX_ENTRIES:
            with suppress(OSError):
                os.unlink(entry.name, dir_fd=folder)
