"""One packet of a capture."""

from __future__ import annotations

from .._core.observe import packet
from ..errors import InputError
from ..sources import Source


def packet_of(path: str, number: int) -> tuple[bytes, int, int]:
    """Bytes, time (nanoseconds since the epoch) and link type of packet `number`, counted from 0.

    Raises `CaptureError` for a file that cannot be read up to there, `InputError` where it has fewer packets.
    """
    with Source(path, any_linktype=True) as source:
        found = packet(source.reader, number)
        source.check()
        if isinstance(found, int):
            raise InputError(
                "the capture has no such packet",
                file=path,
                found=number,
                expected=f"below {found:,}",
            )
        data, time_ns, interface = found
        return data, time_ns, int(source.reader.iface(interface)[0])
