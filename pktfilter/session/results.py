"""What a replay reports: plain data, ready for JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import PktfilterError
from ..handles.program import ENGINES, XDP
from .options import DEFAULT_BATCH

if TYPE_CHECKING:
    from ..handles.tiers import Compiled, TierUp
    from ..handles.trial_report import TrialReport
    from .injection import Injection
    from .pacing import TimingReport
    from .ports import Redirects
    from .told import EventCounts


@dataclass()
class InputReport:
    """One input: how many packets it gave, and whether it ended damaged."""

    path: str
    packets: int = 0
    truncated: bool = False
    error: str | None = None


@dataclass()
class SwapReport:
    """One replacement: packets with index < `first_packet` ran the program before."""

    generation: int
    program: str
    first_packet: int
    publish_ns: int
    grace_ns: int


@dataclass()
class ReplayResult:
    """What a replay did; times in seconds, `bytes` as captured.

    `swaps_left` holds the packets of swaps that the inputs did not reach,
    `errors` what ended inputs or the output early, in order; everything before was processed; `trial`
    is what a shadow or canary that ran beside it found (set by `replay --shadow` and `--canary`);
    `timing` what came of speed, passes, limit and span, `injected` of packets for an interface, each
    None where it was not asked for. `compiled` lists programs that were compiled, or why they could not
    be, in `compile_s` in all; `tier_ups` counts publications of better code while packets ran. `redirects`
    says by target what became of redirected packets.
    """

    packets: int = 0
    bytes: int = 0
    actions: dict[str, int] = field(default_factory=dict)
    action_bytes: dict[str, int] = field(default_factory=dict)
    uncovered: int = 0
    faults: int = 0
    elapsed_s: float = 0.0
    startup_s: float = 0.0
    verify_s: float = 0.0
    compile_s: float = 0.0
    read_s: float = 0.0
    engine_packets: dict[str, int] = field(default_factory=dict)
    workers: int = 1
    batch: int = DEFAULT_BATCH
    batches: int = 0
    redirects: dict[str, Redirects] = field(default_factory=dict)
    seed: int = 0
    tier_ups: int = 0
    compiled: list[Compiled] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    swaps: list[SwapReport] = field(default_factory=list)
    swaps_left: list[int] = field(default_factory=list)
    inputs: list[InputReport] = field(default_factory=list)
    first_fault: str | None = None
    interrupted: bool = False
    trial: TrialReport | None = None
    timing: TimingReport | None = None
    injected: Injection | None = None
    #: None: nobody listened.
    events: EventCounts | None = None
    errors: list[PktfilterError] = field(default_factory=list)

    def note_stats(self, stats: dict[str, Any]) -> None:
        """Takes in the sums of the workers (`Runner.stats`)."""
        names = [action.name.lower() for action in XDP]
        self.packets, self.bytes = stats["packets"], stats["bytes"]
        self.actions = dict(zip(names, stats["actions"], strict=True))
        self.action_bytes = dict(zip(names, stats["action_bytes"], strict=True))
        self.uncovered, self.faults = stats["uncovered"], stats["faults"]
        self.batches = stats["batches"]
        self.engine_packets = dict(zip(ENGINES, stats["engine_packets"], strict=True))

    def note_tiers(self, tiers: TierUp) -> None:
        """What compiling did."""
        self.compiled = list(tiers.compiled)
        self.compile_s, self.tier_ups = tiers.seconds, tiers.tier_ups

    def to_json(self) -> dict[str, Any]:
        """The object that `replay --json` prints."""
        from dataclasses import asdict

        result = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "errors"
        }
        result["swaps"] = [asdict(swap) for swap in self.swaps]
        result["compiled"] = [asdict(entry) for entry in self.compiled]
        result["inputs"] = [asdict(entry) for entry in self.inputs]
        result["events"] = None if self.events is None else asdict(self.events)
        result["redirects"] = {port: asdict(row) for port, row in self.redirects.items()}
        result["trial"] = None if self.trial is None else self.trial.to_json()
        result["timing"] = None if self.timing is None else self.timing.to_json()
        result["injected"] = None if self.injected is None else asdict(self.injected)
        result["errors"] = [str(error) for error in self.errors]
        return result


@dataclass()
class Progress:
    """Where a replay is: packets so far, stored bytes read of all (None: not known), its timing so far."""

    packets: int
    position: int | None
    total: int | None
    elapsed_s: float
    timing: TimingReport | None = None
