"""What replays and batches have in common: limits, and whose fault an error is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypedDict

from .._core import pipeline as _pipeline
from ..errors import CaptureError, ExpressionError, InputError, OutputError, wrong_kind
from ..expressions import ETHERNET, LinkKind
from ..handles.hooks import Hook
from ..handles.program import Program
from ..sinks import Sink
from ..sources import Source

DEFAULT_BATCH = 256
BATCH_MAX = 65536
WORKERS_MAX: int = _pipeline.WORKERS_MAX
#: Pauses of a capture longer than this many seconds are shortened to it, unless said otherwise.
MAX_GAP = 60.0


def check_observer(observer: object, engine: str, workers: int) -> None:
    """Raises `InputError` where nobody would tell the observer, or several at once."""
    if observer is not None and (engine != "checked" or workers != 1):
        raise InputError(
            "an observer is told by one worker, and by the checked interpreter",
            found=f"{workers} workers, engine {engine}",
        )


def blame(
    error: Any, source: Source, sink: Sink | None, injector: Any = None, ports: Any = None
) -> Any:
    """Puts the name of file or interface into an error of the core; damage of compression comes first."""
    if ports is not None and ports.claim(error):
        return error
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


class LinkOptions(TypedDict):
    """Arguments of `Source`."""

    announce: bool
    any_linktype: bool


def link_options(hook: Hook, programs: Iterable[Program]) -> LinkOptions:
    """How a `Source` treats link types for these programs: XDP programs see Ethernet, expressions all that
    libpcap knows, and are compiled for each before its first packet."""
    types = {program.type for program in programs}
    if "pcap" not in types:
        hook._meet(ETHERNET)  # an expression may come later
    return {"announce": "pcap" in types, "any_linktype": types == {"pcap"}}


def accept_interface(source: Source, hook: Hook, others: Iterable[Program] = ()) -> None:
    """Makes the programs ready for the interface that the reader waits with, and lets it go on.

    Raises `ExpressionError` that names the file and the interface.
    """
    index, linktype, swapped = source.reader.awaited()
    try:
        hook._meet(LinkKind(linktype, swapped), others)
    except ExpressionError as error:
        error.file = source.label
        error.place = f"interface {index}: {error.place}"
        raise
    source.reader.accept(index)


def total_size(names: Iterable[str]) -> int | None:
    """Bytes of all these files; None where one's size is not known."""
    try:
        return sum(os.path.getsize(name) for name in names)
    except OSError:
        return None


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
