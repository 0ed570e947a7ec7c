"""Replay onto an interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.live import Tee, Transmit
from ..errors import PktfilterError
from ..sources.live import interface_index
from .live_results import SentCounts

if TYPE_CHECKING:
    from .._core.io import PacketSink
    from ..sinks import Sink


@dataclass
class Injection(SentCounts):
    """What became of the packets for the interface of `inject`; `pps` and `mbps` of what it took."""

    pps: float | None = None
    mbps: float | None = None


class Injector:
    """Sends what the program lets through out of one interface, where the replay ends for it.

    `redirects`: those too; False where they have ports of their own. Raises `InterfaceError` for an
    interface that cannot be used.
    """

    def __init__(self, interface: str, *, redirects: bool = True) -> None:
        self.interface = interface
        number = interface_index(interface)
        try:
            self._transmit = Transmit(number)
        except PktfilterError as error:
            error.file = interface
            raise
        if not redirects:
            self._transmit.leave_redirects()

    def beside(self, sink: Sink | None) -> PacketSink:
        """The sink for a worker: the interface, and the file where there is one."""
        if sink is None:
            return self._transmit
        return Tee(self._transmit, sink.writer)

    def report(self, elapsed_s: float) -> Injection:
        """Counts, and rates over this many seconds."""
        counts = Injection(self.interface, **self._transmit.counts(0))
        if counts.sent and elapsed_s > 0:
            counts.pps = counts.sent / elapsed_s
            counts.mbps = counts.sent_bytes * 8 / elapsed_s / 1e6
        return counts
