"""Timed replay: which packets of the inputs run, how often, and when."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OutputError, PktfilterError
from ..sources import STDIN
from .options import MAX_GAP

if TYPE_CHECKING:
    from .._core.io import PacketSource
    from .._core.pacing import Pace, Selection
    from .spans import Speed, TimeLike

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
#: No limit of a number of packets, and of a gap.
_NONE = (1 << 64) - 1
_MAX_GAP_LARGEST = 1e9
#: Of smaller inputs, what was read says nothing about how far a paced replay is.
READ_AHEAD = 16 << 20


@dataclass
class TimingReport:
    """What was asked of the timing of a replay, and what came of it.

    `asked_pps`, `asked_mbps`: where the speed was a rate. `achieved_*`: packets and megabits (as on the
    wire, without preamble and FCS) a second, from the first to the last packet; None for fewer than two.
    At speed max, of captured bytes, over the whole run.
    `scheduled_s`: when the last packet was due after the first, `took_s` when it came. `late_*`: how long
    after it was due a packet was given to the programs. `stalls`: how often that was over 100 ms, which
    moved the rest of the schedule, by `stalled_s` together. `gaps_shortened`, `steps_back`: pauses longer
    than `max_gap`, and steps back in time by more than it. `left_out`: packets outside of the span.
    """

    speed: str
    passes: int = 1
    left_out: int = 0
    asked_pps: float | None = None
    asked_mbps: float | None = None
    achieved_pps: float | None = None
    achieved_mbps: float | None = None
    scheduled_s: float | None = None
    took_s: float | None = None
    late_median_us: float | None = None
    late_p99_us: float | None = None
    late_max_us: float | None = None
    stalls: int = 0
    stalled_s: float = 0.0
    gaps_shortened: int = 0
    steps_back: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Timing:
    """The timing of one replay. Raises `InputError` for options that cannot be.

    `speed`: `max`, a factor of capture time (`1x`), `pps:N`, `mbps:N`. `loop`: passes over all inputs, 0:
    without end. `limit`: packets at most, over all passes. `from_time`, `to_time`: packets with
    from <= time < to (`parse_time`). `max_gap`: seconds of capture time; None: pauses are kept whatever
    they are.
    """

    def __init__(
        self,
        *,
        speed: str = "max",
        loop: int = 1,
        limit: int | None = None,
        from_time: TimeLike | None = None,
        to_time: TimeLike | None = None,
        max_gap: float | None = MAX_GAP,
    ) -> None:
        self.speed = speed
        _check_count("loop", loop, 0)
        if limit is not None:
            _check_count("limit", limit, 1)
        self.loop, self.limit = loop, limit
        self._pass = 1
        self._selection = _selection(loop, limit, from_time, to_time)
        self._pace: Pace | None = None
        self._asked: Speed | None = None
        gap_ns = _gap_ns(max_gap)
        if speed != "max":
            # Here and below not above: most replays are not timed.
            from .._core.pacing import Pace
            from .spans import parse_speed

            self._asked = parse_speed(speed)
            self._pace = Pace(self._asked.kind, self._asked.rate, max_gap_ns=gap_ns)

    @property
    def paced(self) -> bool:
        """Packets wait until they are due."""
        return self._pace is not None

    @property
    def active(self) -> bool:
        """There is something to report."""
        return self._pace is not None or self._selection is not None

    @property
    def done(self) -> bool:
        """The limit is reached: nothing more is to be read."""
        return self._selection is not None and bool(self._selection.info()["done"])

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raises `InputError` for several passes over what can be read only once."""
        if self.loop == 1:
            return
        for name in names:
            try:
                again = name != STDIN and stat.S_ISREG(os.stat(name).st_mode)
            except OSError:
                continue  # opening it says more
            if not again:
                raise InputError(
                    "only a file can be read in several passes",
                    file="standard input" if name == STDIN else name,
                    hint="write it to a file first",
                )

    def total(self, size: int | None) -> int | None:
        """Bytes that all passes read of inputs of this size; None: not known."""
        if size is None or not self.loop or self.limit is not None:
            return None
        if self.paced and size < READ_AHEAD:
            return None  # read long before it is due
        return size * self.loop

    def attach(self, reader: PacketSource) -> PacketSource:
        """What the worker reads instead of the reader."""
        source = reader
        for stage in (self._selection, self._pace):
            if stage is not None:
                stage.attach(source)
                source = stage
        return source

    def detach(self) -> None:
        """Lets go of the reader."""
        for stage in (self._selection, self._pace):
            if stage is not None:
                stage.attach(None)

    def next_pass(self) -> bool:
        """After all inputs: whether they are to be read again. A pass without a packet is the last."""
        if self._selection is None or self.done or self._pass == self.loop:
            return False
        if not self._selection.info()["pass_packets"]:
            return False
        self._pass += 1
        self._selection.next_pass()
        if self._pace is not None:
            self._pace.next_pass()
        return True

    def report(self, packets: int, octets: int, elapsed_s: float) -> TimingReport:
        """What came of it; of `packets` with together `octets` bytes where nothing was paced."""
        report = TimingReport(
            self.speed,
            passes=self._pass,
            asked_pps=None if self._asked is None else self._asked.asked("packets"),
            asked_mbps=None if self._asked is None else self._asked.asked("mbits"),
        )
        if self._selection is not None:
            report.left_out = self._selection.info()["left_out"]
        if self._pace is not None:
            _add_pacing(report, self._pace.info())
        elif elapsed_s > 0 and packets:
            report.took_s = elapsed_s
            report.achieved_pps = packets / elapsed_s
            report.achieved_mbps = octets * 8 / elapsed_s / 1e6
        return report


def _selection(
    loop: int, limit: int | None, from_time: TimeLike | None, to_time: TimeLike | None
) -> Selection | None:
    if loop == 1 and limit is None and from_time is None and to_time is None:
        return None
    from .._core.pacing import Selection
    from .spans import Bound, parse_time

    since = Bound(_INT64_MIN) if from_time is None else parse_time(from_time, "the first time")
    before = Bound(_INT64_MAX) if to_time is None else parse_time(to_time, "the last time")
    both = from_time is not None and to_time is not None
    if both and since.relative == before.relative and since.ns >= before.ns:
        raise InputError(
            "no packet can lie in the span",
            found=f"from {from_time} to {to_time}",
            expected="a first time before the last",
        )
    return Selection(
        from_ns=since.ns,
        to_ns=before.ns,
        from_relative=since.relative,
        to_relative=before.relative,
        limit=_NONE if limit is None else limit,
    )


def _check_count(what: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < _NONE:
        raise InputError(
            f"{what} is out of range",
            found=value,
            expected=f"a whole number from {least} on" + (", 0: without end" if not least else ""),
        )


def _gap_ns(seconds: float | None) -> int:
    if seconds is None:
        return _NONE
    if not 0 < seconds <= _MAX_GAP_LARGEST:
        raise InputError(
            "the longest pause is out of range",
            found=seconds,
            expected=f"above 0, at most {_MAX_GAP_LARGEST:.0e} seconds, or none",
        )
    return max(1, int(seconds * 1e9))


def _add_pacing(report: TimingReport, info: dict[str, int]) -> None:
    report.stalls, report.stalled_s = info["stalls"], info["stalled_ns"] / 1e9
    report.gaps_shortened, report.steps_back = info["shortened"], info["stepped_back"]
    if not info["packets"]:
        return
    report.late_median_us = info["late_median_ns"] / 1e3
    report.late_p99_us = info["late_p99_ns"] / 1e3
    report.late_max_us = info["late_max_ns"] / 1e3
    took_ns = info["last_ns"] - info["first_ns"]
    report.scheduled_s, report.took_s = info["due_ns"] / 1e9, took_ns / 1e9
    if info["packets"] > 1 and took_ns:
        # The last packet's own time is not in it, so neither is the packet.
        report.achieved_pps = (info["packets"] - 1) * 1e9 / took_ns
        report.achieved_mbps = (info["bits"] - info["last_bits"]) * 1e3 / took_ns


def check_injection(timing: Timing, workers: int) -> None:
    """Raises `InputError`: several workers give packets back in order, but not when they are due."""
    if timing.paced and workers > 1:
        raise InputError(
            "packets are sent when they are due by one worker alone",
            found=f"speed {timing.speed} and {workers} workers",
            expected="one worker, or speed max",
        )


def sending_failed(error: PktfilterError) -> bool:
    """It is about a file or an interface that packets go to: the run ends."""
    return isinstance(error, OutputError) or getattr(error, "port", None) is not None
