"""CPU ids: which worker uses which value of a per-CPU map. They are leased process-wide (design.md section 7)."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .program import Program

CPU_IDS = 64
"""Ids are below this; as many workers a datapath can have."""

_lock = threading.Lock()
_leased: set[int] = set()


def default_cpus() -> int:
    """Values per key of a per-CPU map when not said otherwise.

    One per CPU of the machine, and never fewer than running workers have ids.
    """
    with _lock:
        return max(os.cpu_count() or 1, max(_leased, default=0) + 1)


def verified_cpus() -> int:
    """What the verifier believes CPU ids to be below: true for every worker, whenever it starts."""
    return max(os.cpu_count() or 1, CPU_IDS)


@contextmanager
def leased(count: int) -> Iterator[list[int]]:
    """The lowest `count` free ids meanwhile: a replay that is alone has 0, 1, ..., as its results need."""
    with _lock:
        free = [cpu for cpu in range(CPU_IDS) if cpu not in _leased][:count]
        if len(free) < count:
            raise InputError(
                "not so many workers can run at once",
                found=count,
                expected=f"at most {len(free)} at this moment, {CPU_IDS} in all",
            )
        _leased.update(free)
    try:
        yield free
    finally:
        with _lock:
            _leased.difference_update(free)


def check_cpus(programs: Iterable[Program | None], cpus: Collection[int]) -> None:
    """Raises `InputError` where a per-CPU map has no value for a worker's CPU id.

    The verifier takes a lookup of a per-CPU array with a constant key for one that cannot fail.
    """
    need = max(cpus, default=-1) + 1
    for program in programs:
        if program is None:
            continue
        for m in program.maps.values():
            if m.per_cpu and m.cpus < need:
                raise InputError(
                    f"map '{m.name}' of program '{program.name}' has too few values per key",
                    found=m.cpus,
                    expected=f"{need} or more, one for each worker",
                    hint=f"load the object with cpus={need}",
                )
