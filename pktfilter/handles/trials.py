"""Trials: a candidate beside a link's current program, in its shadow or on a share of the flows, and guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._core.hook import LinkRef
from ..errors import InputError, LinkError, TransactionError
from ..objects import ObjectSpec
from .definitions import differences
from .maps import Map
from .program import XDP, Program
from .transactions import _current
from .updates import Update, timeout_ns

if TYPE_CHECKING:
    from .._core.trial import TrialRef
    from .links import Link
    from .trial_report import Guard, TrialReport

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
        from .trial_report import ACTIONS, ArmReport, Sample, TrialReport

        state, why = self._ref.state()
        sums = self._ref.sums()
        arms = [
            ArmReport(
                program=name,
                packets=arm["packets"],
                actions=dict(zip(ACTIONS, arm["actions"], strict=True)),
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
                (ACTIONS[now], ACTIONS[then]): n
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
        from .._core.trial import SAMPLES_MAX, SHADOW

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
        from .._core.trial import CANARY

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
        from .._core.trial import NO_FAULT_LIMIT, TrialRef
        from .continuity import prepare
        from .trial_report import NO_GUARD

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
        link.hook._prepare(candidate)
        limits = guard or NO_GUARD
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
            # What was prepared came from this program's maps: another must not have come between.
            ref.start(None if current is None else current._ref).wait(timeout_ns(None))
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
    from .continuity import reachable_maps

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
