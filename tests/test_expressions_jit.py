"""Expressions as compiled code: the same verdicts as the interpreter's."""

from __future__ import annotations

from pathlib import Path

import compiled
import pytest
from commandline import DEMO, pcapng
from expression_cases import ETHERNET, EXPRESSIONS, NULL, RAW, framed, ipv4, packets
from pktfilter._core.run import test_run as core_test_run

import pktfilter as pf
from pktfilter.handles.program import ENGINES

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
def test_whole_captures(expression: str) -> None:
    counts = []
    for engine in ("checked", "interp", "jit"):
        hook = pf.Hook()
        hook.attach(pf.Program.from_expression(expression))
        result = pf.replay(DEMO, hook, engine=engine)
        assert result.engine_packets[engine] == result.packets, result.engine_packets
        counts.append(result.actions)
    assert counts[0] == counts[1] == counts[2]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Packets of three link types in turn; the third comes late."""
    path = tmp_path / "mixed.pcapng"
    kinds = [ETHERNET, RAW]
    packets = []
    for i in range(4000):
        place = 2 if i >= 3000 and i % 3 == 0 else i % 2
        port = 53 if i % 5 == 0 else 80
        packets.append(
            (place, framed([*kinds, NULL][place], ipv4(source_port=port, length=i % 90)))
        )
    path.write_bytes(pcapng(packets, [*kinds, NULL]))
    return path


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_link_types_that_come_during_a_run_are_compiled(mixed: Path, workers: int) -> None:
    hook = pf.Hook()
    program = pf.Program.from_expression("udp port 53", None)
    hook.attach(program)
    result = pf.replay(mixed, hook, engine="jit", workers=workers)
    assert not result.errors
    assert result.actions["pass"] == 800
    assert result.engine_packets["jit"] == 4000, result.engine_packets
    assert {member.engine for member in program.members.values()} == {"jit"}
    assert len(program.members) >= 3


def test_an_expression_that_is_swapped_in_is_compiled_for_every_link_type(mixed: Path) -> None:
    hook = pf.Hook()
    link = hook.attach(pf.Program.from_expression("udp port 53"))
    after = pf.Program.from_expression("udp port 80")
    result = pf.replay(mixed, hook, engine="jit", swaps=[(3500, link, after)])
    assert result.actions["pass"] == 700 + 400
    assert result.engine_packets["jit"] == 4000


def test_paced_and_selected_packets_meet_new_link_types(mixed: Path) -> None:
    hook = pf.Hook()
    hook.attach(pf.Program.from_expression("udp port 53"))
    result = pf.replay(mixed, hook, speed="pps:100000", loop=2, limit=7000)
    assert not result.errors
    assert result.packets == 7000
    assert result.actions["pass"] == 800 + 600


def test_the_tier_of_a_family_is_taken_up_in_the_background(tmp_path: Path) -> None:
    """A member that joins after the run began is compiled, though no world was published for it."""
    path = tmp_path / "late.pcapng"
    packets = [(0, framed(ETHERNET, ipv4()))] + [(1, framed(RAW, ipv4(length=20)))] * 3000
    path.write_bytes(pcapng(packets, [ETHERNET, RAW]))
    hook = pf.Hook()
    program = pf.Program.from_expression("udp port 53")
    hook.attach(program)
    result = pf.replay(path, hook, speed="pps:1000")
    assert {member.engine for member in program.members.values()} == {"jit"}
    assert result.engine_packets["jit"] > 500, result.engine_packets
    assert result.actions["pass"] == 3001
