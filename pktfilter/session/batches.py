"""One batch at a time, with its verdicts as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._core.run import Worker
from ..errors import CaptureError, InputError, InterfaceError
from ..expressions import ETHERNET
from ..handles.events import EVENT_BYTES_MAX, Event
from ..handles.hooks import Hook
from ..handles.program import LINEAR, resolve_engine
from ..handles.tracking import network_of_hook
from ..network import Network
from ..sources import PathLike, Source, expand
from ..sources.live import LiveSource
from .options import DEFAULT_BATCH, accept_interface, blame, check_options, link_options

if TYPE_CHECKING:
    import numpy as np

    from .._core.io import PacketSource


@dataclass
class Batch:
    """Verdicts of one batch: NumPy arrays, valid as long as they are referenced.

    `verdicts` (uint8, `pf.XDP` values), `retvals` (uint32, what the program returned), `lengths`
    (uint32, bytes as captured), `timestamps_ns` (int64, since the epoch); `generation` of the datapath
    whose world ran the batch; `first` is the index of its first packet. `arms` (uint8): 1 where a
    canary's candidate decided; `generations` (uint64): of the link whose program decided, 0 where no
    program ran. `events` are those of the batch, in order, if they were asked for.
    """

    verdicts: np.ndarray[Any, Any]
    retvals: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, Any]
    timestamps_ns: np.ndarray[Any, Any]
    generation: int
    first: int
    arms: np.ndarray[Any, Any]
    generations: np.ndarray[Any, Any]
    events: list[Event] = field(default_factory=list)
    events_lost: int = 0

    def __len__(self) -> int:
        return len(self.verdicts)


def batches(
    inputs: PathLike | Iterable[PathLike] | LiveSource,
    hook: Hook,
    *,
    batch: int = DEFAULT_BATCH,
    engine: str = "auto",
    seed: int = 0,
    linear: str = "kernel",
    as_ethernet: bool = False,
    network: Network | None = None,
    events: int = 0,
) -> Iterator[Batch]:
    """Runs the inputs through the hook one batch at a time; between two batches anything may change.

    `network`: what bpf_fib_lookup and its like ask (None: an empty one). `events`: bytes of a buffer for the events
    of one batch (`Batch.events`; what finds no room is in `Batch.events_lost`); 0: nobody listens.
    A `LiveSource` stays the caller's to close; it goes on until its `stop`.
    Raises `CaptureError` at damage, after every packet before it was yielded.
    """
    check_options(hook, batch, 1, seed)
    if not 0 <= events <= EVENT_BYTES_MAX:
        raise InputError(
            "the buffer for events is out of range",
            found=events,
            expected=f"0 to {EVENT_BYTES_MAX} bytes",
        )
    if linear not in LINEAR:
        raise InputError("no such geometry", found=linear, expected="kernel or full")
    resolve_engine(engine)
    names = [] if isinstance(inputs, LiveSource) else expand(inputs)
    worker = Worker(
        hook.datapath._ref,
        hook.index,
        batch=batch,
        cpu=0,
        seed=seed,
        linear_limit=LINEAR[linear],
        name="batches-0",
        network=network_of_hook(network, hook),
        events=events,
    )
    if isinstance(inputs, LiveSource):
        return _live_batches(inputs, hook, worker, batch, engine)
    return _batches(names, hook, worker, batch, as_ethernet, engine)


class _NewInterface(Exception):  # noqa: N818
    """The reader waits with an interface."""


def _one(reader: PacketSource, worker: Worker, size: int) -> Batch | None:
    """The next batch; of no packets where there is none yet. None: the end."""
    import numpy as np

    actions, retvals = np.empty(size, np.uint8), np.empty(size, np.uint32)
    lengths, stamps = np.empty(size, np.uint32), np.empty(size, np.int64)
    arms, generations = np.empty(size, np.uint8), np.empty(size, np.uint64)
    n, first, generation = worker.run_batch(
        reader, None, actions, lengths, stamps, retvals, arms, generations
    )
    if n == 0:
        return None
    if n == -1:
        raise _NewInterface
    n = n or 0
    rows, lost = worker.drain_events()
    return Batch(
        actions[:n],
        retvals[:n],
        lengths[:n],
        stamps[:n],
        generation,
        first,
        arms[:n],
        generations[:n],
        [Event(*row) for row in rows],
        lost,
    )


def _live_batches(
    source: LiveSource, hook: Hook, worker: Worker, size: int, engine: str
) -> Iterator[Batch]:
    hook._meet(ETHERNET)
    hook._enter(worker)
    try:
        with hook.datapath.engine(engine):
            while (batch := _one(source.reader, worker, size)) is not None:
                if len(batch):
                    yield batch
                else:
                    source.wait(0.1)
        source.check()
    except InterfaceError as error:
        raise source.named(error) from None
    finally:
        hook._leave(worker)


def _batches(
    names: list[str], hook: Hook, worker: Worker, size: int, as_ethernet: bool, engine: str
) -> Iterator[Batch]:
    hook._enter(worker)
    try:
        for name in names:
            with (
                hook.datapath.engine(engine),
                Source(
                    name,
                    as_ethernet=as_ethernet,
                    **link_options(hook, [p for link in hook.links if (p := link.program)]),
                ) as source,
            ):
                while True:
                    try:
                        batch = _one(source.reader, worker, size)
                        if batch is None:
                            source.check()
                            break
                    except _NewInterface:
                        accept_interface(source, hook)
                        continue
                    except CaptureError as error:
                        raise blame(error, source, None) from None
                    if len(batch):
                        yield batch
    finally:
        hook._leave(worker)
