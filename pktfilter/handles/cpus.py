"""CPU ids: which worker uses which value of a per-CPU map. They are leased process-wide (design.md section 7)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError

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
