"""What programs tell while they run: lines of bpf_trace_printk, and events. Handed over between batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import InputError
from ..handles.events import EVENT_BYTES_MAX, Event

#: Bytes for events between two deliveries, unless asked otherwise.
EVENT_BUFFER = 8 << 20


@dataclass()
class EventCounts:
    """Events handed over, and those that found no room."""

    delivered: int = 0
    lost: int = 0


class Teller(Protocol):
    """A worker, or what has several."""

    def drain_trace(self) -> tuple[list[str], int]: ...
    def drain_events(self) -> tuple[list[Any], int]: ...


class Told:
    """Who hears what programs tell. `events` is None where nobody listens: programs get ENOENT then."""

    def __init__(
        self,
        on_trace: Callable[[list[str], int], None] | None,
        on_event: Callable[[Event], None] | None,
        buffer: int,
        workers: int = 1,
    ) -> None:
        if not 4096 <= buffer <= EVENT_BYTES_MAX:
            raise InputError(
                "the buffer for events is out of range",
                found=buffer,
                expected=f"4096 to {EVENT_BYTES_MAX} bytes",
            )
        if on_event is not None and workers != 1:
            raise InputError("events come from one worker", found=f"{workers} workers")
        self._on_trace, self._on_event = on_trace, on_event
        #: Of each worker; 0: nobody listens.
        self.buffer = 0 if on_event is None else buffer
        self.events = None if on_event is None else EventCounts()

    @property
    def traced(self) -> bool:
        """Whether somebody wants the lines."""
        return self._on_trace is not None

    def drain(self, teller: Teller) -> None:
        """Hands over what was told since the last time. What the callables raise, this raises."""
        if self._on_trace is not None:
            lines, missed = teller.drain_trace()
            if lines or missed:
                self._on_trace(lines, missed)
        if self._on_event is not None and self.events is not None:
            rows, lost = teller.drain_events()
            self.events.lost += lost
            for row in rows:
                self._on_event(Event(*row))
                self.events.delivered += 1
