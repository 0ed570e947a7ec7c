"""The corpus that is scored against Linux: which objects, at which instruction set level.

Sources are in ``tests/corpus``, ``tests/programs`` and ``examples``; every one is compiled for v1, v3
and v4 (``-mcpu``). Objects are committed and frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pktfilter as pf
from pktfilter.objects import ObjectSpec

HERE = Path(__file__).parent
CORPUS, PROGRAMS, EXAMPLES = HERE / "corpus", HERE / "programs", HERE.parent / "examples"
LEVELS = ("v1", "v3", "v4")
NOT_V1 = frozenset({"atomics", "foreach_age", "subprog"})
"""Sources that use what an atomic operation returns, which v1 does not have."""
SET_BEFORE_LOAD: dict[str, dict[str, int]] = {
    "legacy_chain": {"senders": 64},
    "late_tenants": {"tags": 64},
}
"""Sizes of maps that the objects leave open."""
INNER_BEFORE_LOAD = {"late_tenants": {"tenants": pf.MapSpec("hash", 4, 8, 64)}}
"""Inner maps that the objects leave open."""


@dataclass(frozen=True, order=True)
class Object:
    """One source at one level."""

    stem: str
    level: str

    @property
    def path(self) -> Path:
        """The object file."""
        own = CORPUS / self.level / f"{self.stem}.o"
        if self.level != "v3" or (CORPUS / f"{self.stem}.c").exists():
            return own
        folder = PROGRAMS if (PROGRAMS / f"{self.stem}.c").exists() else EXAMPLES
        return folder / f"{self.stem}.o"

    def spec(self) -> ObjectSpec:
        """The object parsed anew, with the sizes and inner maps that it leaves open."""
        spec = ObjectSpec.from_file(self.path)
        for name, entries in SET_BEFORE_LOAD.get(self.stem, {}).items():
            spec.maps[name].max_entries = entries
        for name, inner in INNER_BEFORE_LOAD.get(self.stem, {}).items():
            spec.maps[name].inner = inner
        return spec


@lru_cache(maxsize=1)
def stems() -> tuple[str, ...]:
    """The sources that are scored, by name."""
    files = (path.stem for folder in (CORPUS, PROGRAMS, EXAMPLES) for path in folder.glob("*.c"))
    return tuple(sorted(set(files)))


def objects() -> list[Object]:
    """Every source at every level that it exists at."""
    return [
        Object(stem, level)
        for stem in stems()
        for level in LEVELS
        if level != "v1" or stem not in NOT_V1
    ]
