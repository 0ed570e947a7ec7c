"""Expressions as compiled code: the same verdicts as the interpreter's."""

from __future__ import annotations

import compiled
import pytest
from commandline import DEMO
from expression_cases import EXPRESSIONS, packets
from pktfilter._core.run import test_run as core_test_run

import pktfilter as pf
from pktfilter.handles.program import ENGINES

JIT = ENGINES.index("jit")

pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")


def verdict(program: pf.Program, packet: bytes, wire_len: int, engine: str) -> int:
    result = core_test_run(
        program._ref, packet, b"", repeat=1, cpu=0, ingress_ifindex=1, rx_queue=0, linear_limit=0,
        time_ns=0, seed=0, budget=0, engine=ENGINES.index(engine), wire_len=wire_len,
    )  # fmt: skip
    return int(result["retval"])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_single_packets(expression: str) -> None:
    head = pf.Program.from_expression(expression)
    (member,) = head.members.values()
    compiled.stage(member)
    for packet in packets(len(expression)):
        wire_len = len(packet) + 30
        assert verdict(member, packet, wire_len, "jit") == verdict(
            member, packet, wire_len, "interp"
        )


@pytest.mark.parametrize("expression", ["udp port 53", "greater 400", "ip[8] < 64 or vlan", ""])
def test_whole_captures(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for native in (False, True):
        head = pf.Program.from_expression(expression)
        if native:
            for member in head.members.values():
                compiled.stage(member)
            monkeypatch.setattr("pktfilter.handles.hooks.resolve_engine", lambda _: JIT)
        hook = pf.Hook()
        hook.attach(head)
        result = pf.replay(DEMO, hook, engine="auto" if native else "interp")
        counts.append(result.actions)
        ran = result.engine_packets
        assert ran["jit" if native else "interp"] == result.packets, ran
    assert counts[0] == counts[1]
