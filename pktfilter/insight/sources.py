"""Source files as an object's line information names them, from disk or from the object itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..objects.spec import LineInfo

_LIMIT = 16 << 20


@dataclass()
class SourceFile:
    """One file: its name in the object, where it is (None: not found), and its lines by number, from 1."""

    name: str
    path: str | None
    lines: dict[int, str] = field(default_factory=dict)
    #: Why the file on disk is not used.
    note: str | None = None


@cache
def shown_name(file: str) -> str:
    """A file's name as it is shown: `./a.c` and `a.c` are one."""
    return os.path.normpath(file)


def read_source(name: str, infos: Iterable[LineInfo], folder: str | None) -> SourceFile:
    """The file `name`, if it says what the object was compiled from; else the lines that the object has.

    Relative names are looked up from the object's folder, then from the current one.
    """
    own = {info.line: info.source.rstrip() for info in infos if info.source}
    for path in _candidates(name, folder):
        try:
            with open(path, "rb") as stream:
                text = stream.read(_LIMIT).decode("utf-8", errors="replace")
        except OSError:
            continue
        lines = dict(enumerate((line.rstrip() for line in text.split("\n")), 1))
        wrong = next(
            (n for n, line in own.items() if lines.get(n, "").strip() != line.strip()), None
        )
        if wrong is None:
            if lines and not lines[len(lines)]:
                del lines[len(lines)]
            return SourceFile(name, path, lines)
        note = f"{path} is not what the object was compiled from (line {wrong} differs)"
        return SourceFile(name, None, own, note)
    return SourceFile(name, None, own, "the file was not found")


def _candidates(name: str, folder: str | None) -> list[str]:
    if os.path.isabs(name):
        return [name]
    return [
        os.path.normpath(os.path.join(each, name)) for each in (folder, ".") if each is not None
    ]
