"""Events that programs hand over to their user (docs/events.md)."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes of a buffer for events, unless another size is asked for.
EVENT_BYTES = 1 << 20
#: The largest one.
EVENT_BYTES_MAX = 1 << 30


@dataclass(frozen=True)
class Event:
    """One call of bpf_perf_event_output, or one record of a ring buffer.

    `map` is the map's name, `cpu` the CPU id it was sent on, `index` the packet's
    (in a test run: the number of the run), `time_ns` what the program's clocks said; `data` the bytes
    that the program handed over, `packet` those of its packet that it asked for behind them.
    """

    map: str
    cpu: int
    index: int
    time_ns: int
    data: bytes
    packet: bytes
