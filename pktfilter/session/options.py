"""What replays and batches have in common: limits, and whose fault an error is."""

from __future__ import annotations

from typing import Any

from .._core import pipeline as _pipeline
from ..errors import CaptureError, InputError, OutputError, wrong_kind
from ..handles.hooks import Hook
from ..sinks import Sink
from ..sources import Source

DEFAULT_BATCH = 256
BATCH_MAX = 65536
WORKERS_MAX: int = _pipeline.WORKERS_MAX
#: Pauses of a capture longer than this many seconds are shortened to it, unless said otherwise.
MAX_GAP = 60.0


def blame(error: Any, source: Source, sink: Sink | None, injector: Any = None) -> Any:
    """Puts the name of file or interface into an error of the core; damage of compression comes first."""
    if getattr(error, "port", None) is not None:
        error.file = error.file or injector.interface
        return error
    if isinstance(error, OutputError):
        error.file = None if sink is None else sink.label
        return error
    try:
        source.check()
    except CaptureError as deeper:
        return deeper
    error.file = error.file or source.label
    return error


def check_options(hook: Hook, batch: int, workers: int, seed: int) -> None:
    if not isinstance(hook, Hook):
        raise wrong_kind("where packets run", hook, "a Hook (programs are attached to one)")
    if not 1 <= batch <= BATCH_MAX:
        raise InputError("batch is out of range", found=batch, expected=f"1 to {BATCH_MAX} packets")
    if not 1 <= workers <= WORKERS_MAX:
        raise InputError(
            "the number of workers is out of range", found=workers, expected=f"1 to {WORKERS_MAX}"
        )
    if not 0 <= seed < 1 << 64:
        raise InputError("seed is out of range", found=seed, expected="0 to 2^64 - 1")
