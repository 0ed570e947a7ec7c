"""Trials: a candidate beside a link's current program, in its shadow or on a share of the flows, and guards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._core.hook import LinkRef
from .._core.trial import CANARY, NO_FAULT_LIMIT, SAMPLES_MAX, SHADOW, TrialRef
from ..errors import InputError, LinkError, TransactionError
from ..objects import ObjectSpec
from .continuity import prepare, reachable_maps
from .maps import Map, differences
from .program import XDP, Program
from .transactions import _current
from .updates import Update, timeout_ns

if TYPE_CHECKING:
    from .links import Link

_ACTIONS = tuple(action.name.lower() for action in XDP)
#: Map types whose elements can be read and written one by one by key.
_COPIED = frozenset(
    {
        "array",
        "hash",
        "percpu_array",
        "percpu_hash",
        "lru_hash",
        "lru_percpu_hash",
        "lpm_trie",
    }
)
_RDONLY_PROG = 1 << 7


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


_NO_GUARD = Guard(None, None, None, None, 0)


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


class Trial:
    """A candidate beside a link's program; made by `Link.shadow` and `Link.canary`."""

    def __init__(self, link: Link, candidate: Program, ref: TrialRef, kind: str) -> None:
        current = link.program
        self.link = link
        self.program = candidate
        self.kind = kind
        #: Names of the maps whose contents the candidate got at the start.
        self.copied: tuple[str, ...] = ()
        self._ref = ref
        self._names = ("" if current is None else current.name, candidate.name)

    @property
    def state(self) -> str:
        """As in `TrialReport`."""
        return str(self._ref.state()[0])

    @property
    def running(self) -> bool:
        """Whether the candidate still gets packets."""
        return self.state == "running"

    def __repr__(self) -> str:
        return f"<Trial ({self.kind}) of {self.program!r} on link {self.link.id}: {self.state}>"

    def promote(self, *, wait: bool = True, timeout: float | None = None) -> Update:
        """The candidate becomes the link's program, with the maps it has; a generation of the link.

        Raises `LinkError` (ESTALE) when the trial has ended otherwise, `GraceTimeout` after `timeout`
        seconds (the change stays made).
        """
        _not_in_transaction()
        try:
            change = self._ref.promote()
        except LinkError as error:
            error.place = f"link {self.link.id}"
            raise
        update = self.link._changed(change, self.program, self.program)
        self.link._forget_ended_trial()
        if wait:
            update.wait(timeout)
        return update

    def abandon(self, why: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        """Ends the trial; the current program stays. Nothing when it has ended already.

        The end of a canary is a generation of the link, with `why` in its history; that of a shadow
        is not.
        """
        _not_in_transaction()
        change = self._ref.abandon(why.encode() if why else None)
        self.link._forget_ended_trial()
        if wait:
            change.wait(timeout_ns(timeout))

    @property
    def report(self) -> TrialReport:
        """What was found so far; also after the end."""
        state, why = self._ref.state()
        sums = self._ref.sums()
        arms = [
            ArmReport(
                program=name,
                packets=arm["packets"],
                actions=dict(zip(_ACTIONS, arm["actions"], strict=True)),
                faults=arm["faults"],
                timed=arm["timed"],
                ns_per_packet=arm["median_ns"] if arm["timed"] else None,
            )
            for name, arm in zip(self._names, sums["arms"], strict=True)
        ]
        return TrialReport(
            kind=self.kind,
            state=state,
            why=why,
            current=arms[0],
            candidate=arms[1],
            compared=sums["compared"],
            differing=sums["differing"],
            action_differs=sums["action_differs"],
            redirect_differs=sums["redirect_differs"],
            bytes_differ=sums["bytes_differ"],
            missed=sums["missed"],
            pairs={
                (_ACTIONS[now], _ACTIONS[then]): n
                for now, row in enumerate(sums["pairs"])
                for then, n in enumerate(row)
                if n
            },
            samples=tuple(
                Sample(packet, ts_ns, (XDP(a), XDP(b)), lengths, difference, length, data)
                for packet, ts_ns, (a, b), lengths, difference, length, data in self._ref.samples()
            ),
        )


class Tried:
    """What a link has for trials."""

    _ref: LinkRef
    _trial: Trial | None = None

    @property
    def trial(self) -> Trial | None:
        """The trial that runs on the link; None: none does."""
        self._forget_ended_trial()
        return self._trial

    def _forget_ended_trial(self) -> None:
        """What an ended trial holds is the user's alone."""
        if self._trial is not None and not self._trial.running:
            self._trial = None

    def shadow(
        self,
        new: Program | ObjectSpec,
        *,
        maps: str = "snapshot",
        guard: Guard | None = None,
        samples: int = 64,
        program: str | None = None,
    ) -> Trial:
        """Runs `new` beside the current program, on copies of the same packets; counts differences.

        Nothing the candidate does has an effect but on its own maps. `maps`: "snapshot" copies the
        contents of the current program's maps into the candidate's of the same name and definition
        at the start (element by element while the current program runs on; see docs/links.md),
        "cold" leaves them as they are. `samples` differing packets are kept. `new` may be an
        `ObjectSpec`, of which `program` is the one to run.

        Raises `LinkError` (EINVAL) when both programs have a map in common that programs can write;
        `LinkDetached`, `IncompatibleProgram`, and `LinkBusy` when the link has a trial already.
        """
        if maps not in ("snapshot", "cold"):
            raise InputError("no such start for the maps", found=maps, expected="snapshot or cold")
        if not 0 <= samples <= SAMPLES_MAX:
            raise InputError(
                "samples is out of range", found=samples, expected=f"0 to {SAMPLES_MAX}"
            )

        def copy(current: Program, candidate: Program) -> tuple[str, ...]:
            return _snapshot(current, candidate) if maps == "snapshot" else ()

        return self._try(new, program, None, "shadow", SHADOW, samples, 0, 0, guard, copy)

    def canary(
        self,
        new: Program | ObjectSpec,
        *,
        fraction: float = 0.05,
        guard: Guard | None = None,
        seed: int = 0,
        maps: str | None = None,
        program: str | None = None,
    ) -> Trial:
        """Gives `new` the packets of a share of the flows, and its verdict counts; a generation.

        Flows are told apart by addresses, protocol and ports, the same for both directions, so that
        a connection keeps its program (docs/links.md says what a flow is); `seed` chooses which
        flows. `maps` is what becomes of the current program's maps, as in `Link.update`: "carry",
        "fresh", or None (the candidate's own).

        Raises as `shadow` does, but a canary may share maps with the current program.
        """
        if not 0 <= fraction <= 1:
            raise InputError("fraction is out of range", found=fraction, expected="0 to 1")
        if not 0 <= seed < 1 << 64:
            raise InputError("seed is out of range", found=seed, expected="0 to 2^64 - 1")
        threshold = round(fraction * (1 << 32))
        return self._try(new, program, maps, "canary", CANARY, 0, threshold, seed, guard, None)

    def _try(
        self: Any,
        new: Program | ObjectSpec,
        name: str | None,
        maps: str | None,
        word: str,
        kind: int,
        samples: int,
        threshold: int,
        seed: int,
        guard: Guard | None,
        before: Callable[[Program, Program], tuple[str, ...]] | None,
    ) -> Trial:
        _not_in_transaction()
        link: Link = self
        if maps == "migrate":
            raise InputError("a trial converts no maps", found=maps, expected="carry or fresh")
        link._check(None, None)
        current = link.program
        candidate = new
        if maps is not None or not isinstance(new, Program):
            candidate, _, _ = prepare(current, new, maps, None, name)
        assert isinstance(candidate, Program)
        limits = guard or _NO_GUARD
        ref = TrialRef(
            link._ref,
            candidate._ref,
            kind=kind,
            samples=samples,
            threshold=threshold,
            seed=seed,
            max_difference=_limit(limits.max_difference),
            max_drop_change=_limit(limits.max_drop_change),
            max_ns_ratio=_limit(limits.max_ns_ratio),
            max_faults=NO_FAULT_LIMIT if limits.max_faults is None else limits.max_faults,
            min_packets=limits.min_packets,
        )
        trial = Trial(link, candidate, ref, word)
        if before is not None and current is not None:
            trial.copied = before(current, candidate)
        try:
            ref.start().wait(timeout_ns(None))
        except LinkError as error:
            error.place = f"link {link.id}"
            raise
        self._trial = trial
        return trial


def _limit(value: float | None) -> float:
    return -1.0 if value is None else float(value)


def _not_in_transaction() -> None:
    if _current.get() is not None:
        raise TransactionError(
            "a trial begins and ends on its own", hint="leave the transaction first"
        )


def _snapshot(current: Program, candidate: Program) -> tuple[str, ...]:
    """Copies what stands in the current program's maps; returns the names of those copied."""
    held, copied = reachable_maps(current), []
    for name, own in reachable_maps(candidate).items():
        source = held.get(name)
        if source is None or source is own or not _copyable(source, own):
            continue
        for key, value in source.items():
            own.update(key, value)
        copied.append(name)
    return tuple(copied)


def _copyable(source: Map, own: Map) -> bool:
    return (
        own.type in _COPIED
        and not own.spec.flags & _RDONLY_PROG
        and source.cpus == own.cpus
        and not list(differences(source, own.spec))
    )
