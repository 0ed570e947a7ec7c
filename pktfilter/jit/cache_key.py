"""The key of a compiled object: a SHA-256 over all that its bytes depend on.

The key covers the unit of translation (bytecode, maps, facts), the processor, and the versions of
everything between the two: the translator's sources, LLVM, the core library and the struct layouts
compiled into the code. A key that covers too much costs one compilation; one that covers too
little would run wrong code, so where in doubt a thing is in the key.

Nothing heavy is imported for it: LLVM is identified by the files of its package.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from typing import Any

from .. import _core
from .._core.native import LAYOUT

FORMAT = b"pktfilter unit 1"
"""Of this serialisation; part of every key."""

#: The marshal format without references: what is written depends on values alone.
_MARSHAL = 2
_CPU_FIELDS = (b"vendor_id", b"cpu family", b"model", b"model name", b"stepping", b"flags")


def serialise(value: object) -> bytes:
    """Bytes that two values share only if they are equal in type and content, in any process.

    None, booleans, integers, strings, bytes, tuples, mappings and sets (in any order), enums, and
    dataclasses of these, by name and field; a field with `compare=False` is no part of it. A list
    is for bulk data, such as facts: it holds numbers, names, and tuples and lists of them.
    Anything else is a TypeError: what has no fixed form must not be in a key.
    """
    out: list[bytes] = []
    _write(out, value)
    return b"".join(out)


def _write(out: list[bytes], value: Any) -> None:
    kind = type(value)
    if kind is int:
        out.append(b"i%d;" % value)
    elif value is None:
        out.append(b"n")
    elif kind is bool:
        out.append(b"t" if value else b"f")
    elif kind is str:
        _text(out, b"s", value)
    elif kind in (bytes, bytearray, memoryview):
        out.append(b"b%d:" % memoryview(value).nbytes)
        out.append(bytes(value))
    elif kind is tuple:
        _many(out, b"(", value)
    elif kind is list:
        try:
            raw = marshal.dumps(value, _MARSHAL)
        except ValueError:
            raise TypeError("a list of this cannot be part of a key") from None
        out.append(b"l%d:" % len(raw))
        out.append(raw)
    elif isinstance(value, Enum):
        _text(out, b"e", kind.__qualname__)
        _write(out, value.value)
    elif isinstance(value, dict):
        _pieces(out, b"{", sorted(serialise(item) for item in value.items()))
    elif isinstance(value, (set, frozenset)):
        _pieces(out, b"<", sorted(serialise(item) for item in value))
    elif isinstance(value, tuple):  # a named one
        _text(out, b"c", kind.__qualname__)
        _many(out, b"(", tuple(value))
    elif (fields := _fields(kind)) is not None:
        _text(out, b"d", kind.__qualname__)
        out.append(b"%d:" % len(fields))
        for name in fields:
            _text(out, b"", name)
            _write(out, getattr(value, name))
    else:
        raise TypeError(f"a {kind.__name__} cannot be part of a key")


def _fields(kind: Any) -> Sequence[str] | None:
    """The names of a dataclass's or record's fields that count; None for any other class."""
    own: Sequence[str] | None = getattr(kind, "__record_fields__", None)
    if own is None and hasattr(kind, "__dataclass_fields__"):
        return [f.name for f in kind.__dataclass_fields__.values() if f.compare]
    return own


def _text(out: list[bytes], tag: bytes, text: str) -> None:
    raw = text.encode(errors="surrogatepass")
    out.append(b"%s%d:" % (tag, len(raw)))
    out.append(raw)


def _many(out: list[bytes], tag: bytes, values: Any) -> None:
    out.append(b"%s%d:" % (tag, len(values)))
    for value in values:
        _write(out, value)


def _pieces(out: list[bytes], tag: bytes, pieces: list[bytes]) -> None:
    out.append(b"%s%d:" % (tag, len(pieces)))
    out += pieces


def processor(text: bytes) -> tuple[bytes, ...]:
    """What /proc/cpuinfo says of the first processor's model and features, features in order."""
    first = text.split(b"\n\n", 1)[0]
    found: dict[bytes, bytes] = {}
    for line in first.splitlines():
        name, _, rest = line.partition(b":")
        found[name.strip()] = rest.strip()
    if not found.get(b"flags"):
        raise OSError("/proc/cpuinfo names no processor features")
    found[b"flags"] = b" ".join(sorted(found[b"flags"].split()))
    return tuple(found.get(name, b"") for name in _CPU_FIELDS)


def _read(path: str, size: int = -1) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(size)


def _identity(path: str) -> tuple[int, int, bytes]:
    """A shared library as good as its contents: size, time, and a first page with its build id."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, _read(path, 4096)


def _translator() -> list[tuple[str, bytes]]:
    """Name and text of every source beside this one."""
    folder = os.path.dirname(__file__)
    names = sorted(name for name in os.listdir(folder) if name.endswith(".py"))
    if os.path.basename(__file__) not in names:
        raise OSError(f"{folder} has no sources")
    return [(name, _read(os.path.join(folder, name))) for name in names]


def _llvm() -> object:
    """llvmlite's version and its library; None where it is not installed."""
    spec = find_spec("llvmlite")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = spec.submodule_search_locations[0]
    return (
        _read(os.path.join(folder, "_version.py")),
        _identity(os.path.join(folder, "binding", "libllvmlite.so")),
    )


def _layout() -> dict[str, int]:
    """Offsets and constants of the core that are compiled into the code."""
    return dict(LAYOUT)


@lru_cache(maxsize=1)
def fingerprint() -> bytes:
    """Hash of what all units share: processor, LLVM, translator, core library, struct layouts.

    OSError where one of them cannot be told. The same for the life of the process.
    """
    parts = (
        _core.__name__,
        sys.byteorder,
        processor(_read("/proc/cpuinfo", 1 << 16)),
        _llvm(),
        _translator(),
        _identity(os.path.join(_core.__path__[0], "libpktfilter.so")),
        _layout(),
    )
    return sha256(serialise(parts)).digest()


def key(unit: object, level: int) -> str:
    """64 hexadecimal digits; `level` is LLVM's of optimization. OSError as `fingerprint`."""
    return sha256(FORMAT + fingerprint() + serialise((level, unit))).hexdigest()
