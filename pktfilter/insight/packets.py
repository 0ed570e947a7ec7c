"""Packets of a capture, one by one."""

from __future__ import annotations

from dataclasses import dataclass

from .._core.observe import packets
from ..errors import CaptureError, InputError
from ..sources import Source


@dataclass(frozen=True, slots=True)
class Captured:
    """A packet of a capture: its file, its index there (from 0), its bytes, time (ns since the epoch) and link type."""

    file: str
    index: int
    data: bytes
    time_ns: int
    linktype: int


def packets_of(path: str, first: int = 0, count: int = 1) -> list[Captured]:
    """Packets first <= i < first + count, or fewer where the capture ends.

    Raises `CaptureError` for a file that cannot be read up to there.
    """
    with Source(path, any_linktype=True) as source:
        try:
            rows, _ = packets(source.reader, first, count)
        except CaptureError as error:
            error.file = error.file or source.label
            raise
        if len(rows) < count:
            source.check()
        return [
            Captured(path, first + at, data, time_ns, int(source.reader.iface(interface)[0]))
            for at, (data, time_ns, interface) in enumerate(rows)
        ]


def packet_of(path: str, index: int) -> Captured:
    """One packet; raises as `packets_of`, and `InputError` where the capture has fewer."""
    found = packets_of(path, index)
    if not found:
        raise InputError(
            "the capture has no such packet", file=path, found=index, expected=_there(path)
        )
    return found[0]


def _there(path: str) -> str | None:
    """How many packets there are, of a file that can be read twice."""
    if path == "-":
        return None
    with Source(path, any_linktype=True) as source:
        _, there = packets(source.reader, (1 << 64) - 2, 1)
    return f"below {there:,}"
