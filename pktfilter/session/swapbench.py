"""Ways to replace a running program, measured side by side under full load.

Lanes (worker threads of the core) run batches of packets in memory without a pause, while a writer
replaces their program again and again. Every program stamps the packets it sees with its own number;
the bytes alone decide which packets saw no program, which batches mixed two, and which packets ran an
older program after the update had returned. Terms and judging: csrc/run/strategy.h.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any

from .._core.swap import SERIES, WAYS, Histogram, Swap
from ..errors import InputError
from ..handles.hooks import Hook
from ..handles.links import Link
from ..handles.program import XDP, Program

PACKET_LEN = 60
#: Programs in turn: more than updates can pass during one batch, or the batch cannot be judged.
PROGRAMS = 1024
COST_BATCHES = (1, 16, 256)

_SLICE_NS = 50_000_000
_INSN = struct.Struct("<BBhi")


@dataclass(frozen=True)
class Spread:
    """Nanoseconds: quantiles to 1 part in 64, the maximum exactly."""

    count: int
    p50: int
    p99: int
    max: int

    @classmethod
    def of(cls, histogram: Histogram) -> Spread:
        """The spread of a histogram's values."""
        return cls(
            histogram.count,
            histogram.quantile(50, 100),
            histogram.quantile(99, 100),
            histogram.max,
        )


@dataclass
class WayResult:
    """One way under load. Times in nanoseconds; None where the way has no such thing.

    `bare` packets saw no program (`dropped`: those that a fallback dropped), `mixed` batches saw two,
    `stale` packets ran an older program after the update returned, `unjudged` batches were too long
    to tell. `publish` is making the new program visible, `wait` the grace periods, `update` the whole
    call, `bare_time` how long the hook had no program, `gap` the time from batch to batch of a lane.
    `preempted`: involuntary context switches of lanes and writer.
    """

    name: str
    what: str
    skipped: str | None = None
    seconds: float = 0.0
    packets: int = 0
    batches: int = 0
    updates: int = 0
    bare: int = 0
    dropped: int = 0
    mixed: int | None = 0
    stale: int = 0
    unjudged: int = 0
    preempted_lanes: int | None = 0
    preempted_writer: int = 0
    publish: Spread | None = None
    wait: Spread | None = None
    update: Spread | None = None
    bare_time: Spread | None = None
    gap: Spread | None = None
    distribution: list[tuple[int, int]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data, without what is not there."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: asdict(value) if isinstance(value, Spread) else value
            for name, value in values.items()
            if value is not None
        }


@dataclass(frozen=True)
class Cost:
    """What a batch of `batch` packets pays because its program can be replaced, in nanoseconds."""

    batch: int
    plain_ns: float
    replaceable_ns: float
    difference_ns: float


@dataclass(frozen=True)
class _Way:
    title: str
    what: str
    core: str
    fallback: bool = False


_WAYS = {
    "publish": _Way(
        "pktfilter: publish, wait",
        "one pointer exchange, then the grace period: link.update()",
        "publish",
    ),
    "mutex": _Way(
        "mutex, in place",
        "a lane holds the mutex for each batch; the writer overwrites the program under it",
        "mutex",
    ),
    "rwlock": _Way(
        "shared lock, in place",
        "as under a mutex, but lanes share the lock and writers go first",
        "rwlock",
    ),
    "detach_open": _Way(
        "detach, attach: open",
        "link.detach() with its grace period, hook.attach(); the empty hook passes packets",
        "detach_attach",
    ),
    "detach_closed": _Way(
        "detach, attach: closed",
        "the same before a program that drops what is left",
        "detach_attach",
        fallback=True,
    ),
}
WAY_NAMES = tuple(_WAYS)


def _code(*insns: tuple[int, int, int, int]) -> bytes:
    return b"".join(_INSN.pack(*insn) for insn in insns)


def stamp_code(stamp: int) -> bytes:
    """XDP bytecode that writes `stamp` over the first four bytes of a packet and passes it."""
    return _code(
        (0x61, 0x12, 0, 0),  # r2 = data
        (0x61, 0x13, 4, 0),  # r3 = data_end
        (0xBF, 0x24, 0, 0),  # r4 = r2
        (0x07, 0x04, 0, PACKET_LEN),
        (0x2D, 0x34, 3, 0),  # if r4 > r3: drop
        (0x62, 0x02, 0, stamp),
        (0xB7, 0x00, 0, XDP.PASS),
        (0x95, 0, 0, 0),
        (0xB7, 0x00, 0, XDP.DROP),
        (0x95, 0, 0, 0),
    )


def _returns(action: XDP, name: str) -> Program:
    return Program.from_bytes(_code((0xB7, 0, 0, action), (0x95, 0, 0, 0)), name=name)


def stamps(count: int = PROGRAMS) -> list[Program]:
    """Verified programs that stamp 0, 1, 2..."""
    if count < 2:
        raise InputError("too few programs", found=count, expected="at least 2")
    return [Program.from_bytes(stamp_code(i), name=f"stamp{i}") for i in range(count)]


@dataclass
class Load:
    """Lanes over one hook; `link` has the first program."""

    hook: Hook
    link: Link
    programs: Sequence[Program]
    swap: Swap


@contextmanager
def load(
    programs: Sequence[Program],
    *,
    way: str = "publish",
    lanes: int = 1,
    batch: int = 256,
    fallback: bool = False,
) -> Iterator[Load]:
    """A hook with lanes that do not run yet (`load.swap.start()`); they are stopped at the end."""
    hook = Hook("swap")
    if fallback:
        hook.attach(_returns(XDP.DROP, "fallback"), priority=100)
    # What passes leaves the chain: the fallback behind sees only what the link left bare.
    link = hook.attach(programs[0], continue_on=() if fallback else (XDP.PASS,))
    swap = Swap(
        WAYS[way],
        hook.datapath._ref,
        hook.index,
        link._ref,
        [program._ref for program in programs],
        lanes=lanes,
        batch=batch,
        packet_len=PACKET_LEN,
    )
    try:
        yield Load(hook, link, programs, swap)
    finally:
        swap.stop()


def run_way(
    name: str,
    programs: Sequence[Program],
    *,
    seconds: float,
    lanes: int = 1,
    batch: int = 256,
    pace_s: float = 0.0,
) -> WayResult:
    """One way (of `WAY_NAMES`) for that long; updates follow each other at least `pace_s` apart."""
    way = _WAYS[name]
    with load(programs, way=way.core, lanes=lanes, batch=batch, fallback=way.fallback) as work:
        swap = work.swap
        swap.start()
        start = time.perf_counter()
        elapsed = 0.0
        while elapsed < seconds:  # in slices, between which Python looks at signals
            swap.drive(min(_SLICE_NS, int((seconds - elapsed) * 1e9) + 1), int(pace_s * 1e9))
            elapsed = time.perf_counter() - start
        swap.stop()
        histograms = {series: swap.histogram(number) for series, number in SERIES.items()}
        result = WayResult(way.title, way.what, seconds=elapsed, **swap.totals())
    coordinated = way.core == "detach_attach"
    waits = coordinated or name == "publish"
    result.publish = Spread.of(histograms["publish"])
    result.wait = Spread.of(histograms["wait"]) if waits else None
    result.update = Spread.of(histograms["update"])
    result.bare_time = Spread.of(histograms["bare"]) if coordinated else None
    result.gap = Spread.of(histograms["gap"])
    result.distribution = histograms["update"].buckets()
    return result


@dataclass(frozen=True)
class PythonTimes:
    """`link.update()` called from Python under the same load, in nanoseconds.

    `publish` is the exchange within the calls that do not wait, `call` such a call as a whole,
    `waiting` the call with its grace period.
    """

    publish: Spread
    call: Spread
    waiting: Spread


def python_times(
    programs: Sequence[Program], *, seconds: float, lanes: int = 1, batch: int = 256
) -> PythonTimes:
    """Half of the time updates that do not wait, half updates that do."""
    publish, call, waiting = Histogram(), Histogram(), Histogram()
    clock = time.perf_counter_ns
    with load(programs, lanes=lanes, batch=batch) as work:
        swap, link = work.swap, work.link
        swap.start()
        for wait, times in ((False, call), (True, waiting)):
            end = clock() + int(seconds * 0.5e9)
            while clock() < end:
                new = programs[swap.begin()]
                start = clock()
                update = link.update(new, wait=wait)
                times.add(clock() - start)
                if not wait:
                    publish.add(update.publish_ns)
        swap.stop()
    return PythonTimes(Spread.of(publish), Spread.of(call), Spread.of(waiting))


def cost(batch: int, *, rounds: int = 101) -> Cost:
    """Batches of a program of two instructions through the slot, and behind a plain pointer.

    The median of `rounds` pairs, each measured there and back.
    """
    programs = [_returns(XDP.PASS, "a"), _returns(XDP.PASS, "b")]
    batches = max(64, 65536 // (batch + 8))
    with load(programs, batch=batch) as work:
        work.swap.cost(batches)
        pairs = [work.swap.cost(batches) for _ in range(rounds)]
    return Cost(
        batch,
        plain_ns=round(median(plain for _, plain in pairs) / batches, 2),
        replaceable_ns=round(median(slot for slot, _ in pairs) / batches, 2),
        difference_ns=round(median(slot - plain for slot, plain in pairs) / batches, 2),
    )


@dataclass
class SwapBench:
    """Everything that `pktfilter bench swap` measures."""

    batch: int
    lanes: int
    programs: int
    quick: bool = False
    ways: list[WayResult] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    python: PythonTimes | None = None
    kernel: WayResult | None = None
    kernel_wait: Spread | None = None

    @property
    def ours(self) -> WayResult:
        """The first way: publish and wait."""
        return self.ways[0]

    @property
    def proved(self) -> bool:
        """Ours ran, and no packet was bare or stale, no batch mixed or unjudged."""
        ours = self.ours
        broken = ours.bare + ours.stale + ours.unjudged + (ours.mixed or 0)
        return ours.updates > 0 and ours.packets > 0 and not broken

    @property
    def kernel_ratio(self) -> float | None:
        """Median of the kernel's BPF_LINK_UPDATE over the median of our waiting update."""
        if self.kernel is None or self.kernel.update is None or self.ours.update is None:
            return None
        return self.kernel.update.p50 / max(self.ours.update.p50, 1)

    def to_json(self) -> dict[str, Any]:
        """The object that `bench swap --json` prints."""
        return {
            "batch": self.batch,
            "lanes": self.lanes,
            "programs": self.programs,
            "proved": self.proved,
            "ways": [way.to_json() for way in self.ways],
            "kernel": None if self.kernel is None else self.kernel.to_json(),
            "kernel_wait": None if self.kernel_wait is None else asdict(self.kernel_wait),
            "kernel_ratio": self.kernel_ratio,
            "python": None if self.python is None else asdict(self.python),
            "costs": [asdict(one) for one in self.costs],
        }


def swap_bench(
    *,
    seconds: float = 2.0,
    batch: int = 256,
    lanes: int = 1,
    pace_s: float = 0.0,
    quick: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> SwapBench:
    """All ways for `seconds` each, then the cost. `quick`: ours, a glance at the others, no kernel."""
    tell = on_step or (lambda _: None)
    programs = stamps(PROGRAMS)
    bench = SwapBench(batch=batch, lanes=lanes, programs=len(programs), quick=quick)
    for name, way in _WAYS.items():
        tell(way.title)
        length = seconds if name == "publish" or not quick else min(seconds, 0.3)
        bench.ways.append(
            run_way(name, programs, seconds=length, lanes=lanes, batch=batch, pace_s=pace_s)
        )
    tell("cost of being replaceable")
    bench.costs = [cost(n, rounds=21 if quick else 101) for n in COST_BATCHES]
    if quick:
        return bench
    tell("from Python")
    bench.python = python_times(programs, seconds=seconds, lanes=lanes, batch=batch)
    from .kernelswap import run_kernel

    tell("kernel: BPF_LINK_UPDATE")
    bench.kernel, bench.kernel_wait = run_kernel(seconds)
    return bench
