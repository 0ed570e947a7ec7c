"""A program under test and what a run of it gave."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..handles.hooks import Hook
from ..handles.program import XDP, Program
from ..insight.packets import Captured
from ..session.replay import replay
from .differences import packet_difference, summary

if TYPE_CHECKING:
    from ..handles.events import Event
    from ..handles.loader import Object
    from ..handles.maps import Map
    from ..handles.program import TestRun
    from ..session.results import ReplayResult
    from ..sources import PathLike

_UNSET: Any = object()


def packet_bytes(packet: Any) -> bytes:
    """The bytes of a packet: bytes, a `captured` packet, or what `bytes()` makes bytes of, as of scapy's packets."""
    if isinstance(packet, Captured):
        return packet.data
    if isinstance(packet, int | str):
        raise InputError(
            "a packet is bytes, a scapy packet or a captured one", found=type(packet).__name__
        )
    return bytes(packet)


@dataclass(frozen=True)
class Result:
    """What one packet gave. Compare attributes with `assert`, or all at once with `expect`."""

    program: UnderTest
    sent: bytes
    run: TestRun

    @property
    def action(self) -> XDP:
        """`pf.XDP`: ABORTED, DROP, PASS, TX or REDIRECT."""
        return self.run.action

    @property
    def retval(self) -> int:
        """What the program returned."""
        return self.run.retval

    @property
    def data(self) -> bytes:
        """The packet as the program left it."""
        return self.run.data

    @property
    def meta(self) -> bytes:
        """Its metadata."""
        return self.run.data_meta

    @property
    def packet(self) -> Any:
        """`data` as scapy reads it (an Ethernet frame)."""
        from scapy.layers.l2 import Ether

        return Ether(self.data)

    @property
    def redirect(self) -> int | None:
        """Where a redirect goes: an interface's number or a map's key; None without one."""
        return self.run.redirect

    @property
    def events(self) -> list[Event]:
        """What the program sent through perf event arrays."""
        return self.run.events

    @property
    def printed(self) -> list[str]:
        """Lines of bpf_trace_printk."""
        return self.run.trace

    def __repr__(self) -> str:
        return f"<{self.program.name}: {self.action.name} for {summary(self.sent)}>"

    def expect(
        self,
        action: XDP | str | None = None,
        *,
        packet: Any = _UNSET,
        unchanged: bool = False,
        redirect: int | None = _UNSET,
        meta: bytes | None = None,
        events: Iterable[bytes] | None = None,
    ) -> Result:
        """Raises `AssertionError` saying everything that is not as expected; returns itself.

        `action` is an `XDP` or its name; `packet` what must have become of it (bytes or scapy), `unchanged` that it
        is as it was sent; `redirect` the target; `meta` the metadata; `events` their data, in order.
        """
        wrong = []
        if action is not None and self.action != _action(action):
            returned = f" (returned {self.retval})" if self.retval > XDP.REDIRECT else ""
            wrong.append(f"action is {self.action.name}{returned}, expected {_action(action).name}")
        if unchanged or packet is not _UNSET:
            wanted = self.sent if packet is _UNSET else packet_bytes(packet)
            lines = packet_difference(self.data, wanted)
            if lines:
                what = "the packet was changed" if packet is _UNSET else "the packet is another"
                wrong.append("\n    ".join([f"{what}:", *lines]))
        if redirect is not _UNSET and self.redirect != redirect:
            wrong.append(f"redirect goes to {self.redirect}, expected {redirect}")
        if meta is not None and self.meta != meta:
            wrong.append(
                f"metadata is {self.meta.hex() or 'empty'}, expected {meta.hex() or 'empty'}"
            )
        if events is not None:
            wrong += _events([each.data for each in self.events], list(events))
        if wrong:
            raise AssertionError(
                "\n  ".join(
                    [f"{self.program.name} over {summary(self.sent)}", *wrong, *self._hint()]
                )
            )
        return self

    def _hint(self) -> list[str]:
        out = [f"bpf_trace_printk: {line}" for line in self.printed[-5:]]
        if len(self.sent) <= 256:
            prog = shlex.quote(f"{self.program.path}:{self.program.name}")
            out.append(
                f"to see each step, with fresh maps: pktfilter trace {prog} {self.sent.hex()}"
            )
        return out


def _action(name: XDP | str) -> XDP:
    if isinstance(name, XDP):
        return name
    try:
        return XDP[name.upper()]
    except KeyError:
        known = ", ".join(each.name.lower() for each in XDP)
        raise InputError("no such action", found=name, expected=known) from None


def _events(found: list[bytes], expected: list[bytes]) -> list[str]:
    if len(found) != len(expected):
        return [f"{len(found)} events, expected {len(expected)}: {[each.hex() for each in found]}"]
    return [
        f"event {number} is {a.hex()}, expected {b.hex()}"
        for number, (a, b) in enumerate(zip(found, expected, strict=True))
        if a != b
    ]


class UnderTest:
    """A program with maps of its own, an engine and default options of its runs."""

    def __init__(self, obj: Object, program: Program, engine: str) -> None:
        self.object, self.program, self.engine = obj, program, engine
        self.options: dict[str, Any] = {"time_ns": 0}

    def __repr__(self) -> str:
        return f"<program {self.name} of {self.path}, engine {self.engine}>"

    @property
    def name(self) -> str:
        """The program's."""
        return self.program.name

    @property
    def path(self) -> str:
        """The object's."""
        return (
            os.path.relpath(self.object.path)
            if os.path.isabs(self.object.path)
            else self.object.path
        )

    @property
    def maps(self) -> Mapping[str, Map]:
        """The object's maps by name, with typed keys and values (docs/maps.md)."""
        return self.object.maps

    def contents(self, name: str) -> list[dict[str, Any]]:
        """What a map holds: `[{"key": ..., "value": ...}]` by type, sorted (`Map.to_json`)."""
        if name not in self.maps:
            known = ", ".join(self.maps) or "none"
            raise InputError(
                "the object has no such map", file=self.path, found=name, expected=known
            )
        return self.maps[name].to_json()

    def run(self, packet: Any, **options: Any) -> Result:
        """Runs the program over one packet: bytes, a scapy packet, or a `captured` one, at its time.

        Options are those of `Program.test_run`; `self.options` are their defaults here (time 0).
        """
        data = packet_bytes(packet)
        merged = {**self.options, **options}
        if isinstance(packet, Captured) and "time_ns" not in options:
            merged["time_ns"] = packet.time_ns
        return Result(self, data, self.program.test_run(data, engine=self.engine, **merged))

    def replay(self, inputs: PathLike | Iterable[PathLike], **options: Any) -> ReplayResult:
        """Runs captures through the program; options are those of `pf.replay`."""
        hook = Hook("test")
        hook.attach(self.program)
        return replay(inputs, hook, engine=self.engine, **options)
