"""What a live run reports: plain data, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import PktfilterError
from ..sources.live import InterfaceCounts
from .told import EventCounts

if TYPE_CHECKING:
    from ..handles.tiers import Compiled
    from .ports import Redirects


@dataclass
class SentCounts:
    """Packets sent out of one interface: let through = sent + dropped + too_long + cut + refused.

    `dropped`: its queue stayed full; `too_long` for it; `cut` when they were captured, and so not
    sent; `refused` by the kernel for another reason.
    """

    name: str
    sent: int = 0
    sent_bytes: int = 0
    dropped: int = 0
    too_long: int = 0
    cut: int = 0
    refused: int = 0

    @property
    def attempted(self) -> int:
        """Packets that were let through."""
        return self.sent + self.dropped + self.too_long + self.cut + self.refused


@dataclass
class GenerationReport:
    """What one generation of the datapath ran; `program` is the first of `programs` in its chain."""

    generation: int
    link_generation: int
    program: str
    programs: int
    packets: int
    bytes: int
    actions: dict[str, int]
    uncovered: int
    faults: int


@dataclass
class LiveResult:
    """What a live run did; times in seconds, `bytes` as captured.

    `generations` holds the last ones, oldest first, and `generations_left_out` how many came before.
    `ended` says why it ended: count, time, size, stopped, interrupted or error.
    """

    interface: str
    out: str | None
    both: bool
    packets: int
    bytes: int
    actions: dict[str, int]
    action_bytes: dict[str, int]
    uncovered: int
    faults: int
    batches: int
    engine_packets: dict[str, int]
    elapsed_s: float
    interfaces: list[InterfaceCounts] = field(default_factory=list)
    sent: list[SentCounts] = field(default_factory=list)
    generations: list[GenerationReport] = field(default_factory=list)
    generations_left_out: int = 0
    redirects: dict[str, Redirects] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    files_removed: int = 0
    ended: str = "stopped"
    first_fault: str | None = None
    compile_s: float = 0.0
    tier_ups: int = 0
    compiled: list[Compiled] = field(default_factory=list)
    #: None: nobody listened.
    events: EventCounts | None = None
    errors: list[PktfilterError] = field(default_factory=list)

    @property
    def ring_drops(self) -> int | None:
        """Packets that found a ring full; None where that is not known."""
        known = [i.dropped for i in self.interfaces if i.dropped is not None]
        return sum(known) if known else None

    def to_json(self) -> dict[str, Any]:
        """The object that `live --json` prints."""
        result = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "errors"
        }
        result["interfaces"] = [entry.to_json() for entry in self.interfaces]
        result["compiled"] = [asdict(entry) for entry in self.compiled]
        result["events"] = None if self.events is None else asdict(self.events)
        result["redirects"] = {port: asdict(row) for port, row in self.redirects.items()}
        result["sent"] = [asdict(entry) for entry in self.sent]
        result["generations"] = [asdict(entry) for entry in self.generations]
        result["ring_drops"] = self.ring_drops
        result["errors"] = [str(error) for error in self.errors]
        return result
