"""What a trial reports, and the limits that end one: plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError
from .program import XDP

ACTIONS = tuple(action.name.lower() for action in XDP)


@dataclass(frozen=True)
class Guard:
    """Limits; a trial that exceeds one ends by itself, and says why. None: no such limit.

    `max_difference` (shadow only): share of compared packets whose action, redirection or bytes
    differ. `max_faults`: runs of the candidate that the checked interpreter stopped, judged from the
    first packet on. `max_drop_change`: how far the arms' shares of DROP and ABORTED may be apart,
    either way; in a canary each arm has its own packets. `max_ns_ratio`: the candidate's median
    duration over the current program's, once 16 packets of each were timed (one in 64 is). All but
    the faults are judged once each arm ran `min_packets`. Looked at after every batch (of one
    worker; with more, after one batch of each on average).
    """

    max_difference: float | None = 0.01
    max_faults: int | None = 0
    max_drop_change: float | None = 0.05
    max_ns_ratio: float | None = 2.0
    min_packets: int = 1000

    def __post_init__(self) -> None:
        for name in ("max_difference", "max_drop_change", "max_ns_ratio", "max_faults"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError(f"{name} is out of range", found=value, expected="0 or more")
        if self.min_packets < 0:
            raise InputError(
                "min_packets is out of range", found=self.min_packets, expected="0 or more"
            )


NO_GUARD = Guard(None, None, None, None, 0)


@dataclass(frozen=True)
class ArmReport:
    """What one of the two programs did. `ns_per_packet`: median of the timed packets; None: none was."""

    program: str
    packets: int
    actions: dict[str, int]
    faults: int
    timed: int
    ns_per_packet: float | None

    @property
    def drop_rate(self) -> float:
        """Share of DROP and ABORTED; 0 when it ran no packet."""
        dropped = self.actions["drop"] + self.actions["aborted"]
        return dropped / self.packets if self.packets else 0.0


@dataclass(frozen=True)
class Sample:
    """A packet that the two programs treated differently.

    `packet` is its index in the whole input; `lengths` are those after the runs (current,
    candidate); `first_difference` is an offset in the bytes after the runs, metadata in front (None:
    the bytes are the same); `data` the first 128 bytes of the packet as both got it, `length` its
    whole length then.
    """

    packet: int
    timestamp_ns: int
    actions: tuple[XDP, XDP]
    lengths: tuple[int, int]
    first_difference: int | None
    length: int
    data: bytes


@dataclass(frozen=True)
class TrialReport:
    """What a trial found so far. While it runs, counters may disagree by a batch; after its end and
    the grace period they are exact.

    `state` is "running", "promoted", "abandoned", "tripped" (its guard ended it) or "detached" (its
    link went); `why` the guard's reason. Of a shadow: `compared` packets, of which `differing` in
    action, redirection or bytes, and each of these; `pairs` counts (current's action, candidate's
    action); `missed` packets were not compared, for want of memory.
    """

    kind: str
    state: str
    why: str
    current: ArmReport
    candidate: ArmReport
    compared: int
    differing: int
    action_differs: int
    redirect_differs: int
    bytes_differ: int
    missed: int
    pairs: dict[tuple[str, str], int]
    samples: tuple[Sample, ...]

    @property
    def difference_rate(self) -> float:
        """Share of compared packets that differ; 0 when none was compared."""
        return self.differing / self.compared if self.compared else 0.0

    def to_json(self) -> dict[str, Any]:
        """The object that `replay --json` has in "trial"."""
        result = asdict(self)
        for name, arm in (("current", self.current), ("candidate", self.candidate)):
            result[name]["drop_rate"] = arm.drop_rate
        result["difference_rate"] = self.difference_rate
        result["pairs"] = [
            {"current": now, "candidate": then, "packets": n}
            for (now, then), n in self.pairs.items()
        ]
        for row, sample in zip(result["samples"], self.samples, strict=True):
            row["actions"] = [action.name.lower() for action in sample.actions]
            row["data"] = sample.data.hex()
        return result
