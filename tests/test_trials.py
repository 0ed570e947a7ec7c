"""Shadow, canary and guard: counts against offline comparisons, and that nothing else changes."""

from __future__ import annotations

import errno
import gc
import json
import struct
import threading
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from commandline import run
from readers import shared_folder, walk
from test_flow_hash import expected as flow_hash
from test_flow_hash import mix

import pktfilter as pf

ROOT = Path(__file__).parent.parent
IMIX = str(ROOT / "pcaps" / "imix.pcap")
PROGRAMS = ROOT / "tests" / "programs"
#: Current and candidate; none writes metadata, which captures do not keep.
PAIRS = [
    ("nat44", "icmp_reply"),
    ("syn_filter", "ipip_encap"),
    ("ipip_encap", "ipip_encap"),
    ("qinq_walk", "pppoe_strip"),
    ("heavy_hitters", "token_bucket"),
    ("conntrack", "syn_filter"),
    ("nat46", "gre_decap"),
    ("tail_stages", "tcp_options"),
]


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


MOV0, EXIT = 0xB7, insn(0x95)


def returns(action: int, name: str = "p") -> pf.Program:
    return pf.Program.from_bytes(insn(MOV0, imm=action) + EXIT, name=name)


def by_byte(at: int, limit: int, name: str = "by_byte") -> pf.Program:
    """DROP where the byte at `at` is below `limit`, else PASS; short packets PASS."""
    code = (
        insn(0x61, 2, 1, 0)
        + insn(0x61, 3, 1, 4)
        + insn(0xBF, 4, 2)
        + insn(0x07, 4, imm=at + 1)
        + insn(MOV0, imm=2)
        + insn(0x2D, 4, 3, 3)
        + insn(0x71, 5, 2, at)
        + insn(0x35, 5, off=1, imm=limit)
        + insn(MOV0, imm=1)
        + EXIT
    )
    return pf.Program.from_bytes(code, name=name)


def faulty() -> pf.Program:
    """Reads far behind every packet."""
    code = insn(0x61, 2, 1, 0) + insn(0x71, 0, 2, 30000) + EXIT
    return pf.Program.from_bytes(code, name="faulty", verify=False)


def slow() -> pf.Program:
    loop = insn(MOV0, 3) + insn(0x07, 3, imm=1) + insn(0xA5, 3, off=-2, imm=2000)
    return pf.Program.from_bytes(loop + insn(MOV0, imm=2) + EXIT, name="slow")


def load(name: str) -> pf.Program:
    programs = pf.load(str(PROGRAMS / f"{name}.o")).programs
    return next(iter(programs.values()))


def alone(capture: str, program: pf.Program, path: Path) -> tuple[list[int], list[bytes]]:
    """Each packet's action, and its bytes after the run, of the program by itself."""
    hook = pf.Hook()
    hook.attach(program)
    pf.replay(capture, hook, write=str(path), write_actions=list(pf.XDP))
    fresh = pf.Hook()
    fresh.attach(load(program.name) if (PROGRAMS / f"{program.name}.o").exists() else program)
    actions = [int(v) for b in pf.batches(capture, fresh) for v in b.verdicts]
    return actions, [record.data for record in walk(path).records]


def captures() -> list[str]:
    found = [IMIX]
    for kind in ("mix", "dns", "vlan", "frag", "ipv6", "icmp", "tunnel", "mpls", "jumbo", "flood"):
        files = sorted((shared_folder() / "pcaps" / kind).glob("*.pcap"))
        found += [str(f) for f in files if 2000 < f.stat().st_size < 400_000][:2]
    return found


def usable(capture: str) -> bool:
    """Whole, and of Ethernet: others need options of their own."""
    read = walk(capture)
    return not read.damage and {r.linktype for r in read.records} == {1}


@pytest.mark.parametrize("now, then", PAIRS)
def test_shadow_equals_an_offline_comparison(now: str, then: str, tmp_path: Path) -> None:
    seen = 0
    for capture in filter(usable, captures()):
        first, first_bytes = alone(capture, load(now), tmp_path / "now.pcap")
        second, second_bytes = alone(capture, load(then), tmp_path / "then.pcap")
        hook = pf.Hook()
        trial = hook.attach(load(now)).shadow(load(then), samples=7)
        result = pf.replay(
            capture, hook, write=str(tmp_path / "out.pcap"), write_actions=list(pf.XDP)
        )
        report = trial.report
        names = [a.name.lower() for a in pf.XDP]
        pairs = Counter((names[a], names[b]) for a, b in zip(first, second, strict=True))
        changed = [a != b for a, b in zip(first_bytes, second_bytes, strict=True)]
        either = [c or a != b for a, b, c in zip(first, second, changed, strict=True)]
        assert report.compared == result.packets == len(first)
        assert report.pairs == pairs
        assert report.action_differs == sum(n for (a, b), n in pairs.items() if a != b)
        assert report.bytes_differ == sum(changed)
        if report.redirect_differs == 0:
            assert report.differing == sum(either)
            assert [s.packet for s in report.samples] == [i for i, e in enumerate(either) if e][:7]
        for sample in report.samples:
            i = sample.packet
            whole = walk(capture).records[i].data
            assert sample.data == whole[:128] and sample.length == len(whole)
            assert sample.actions == (first[i], second[i])
            assert sample.lengths == (len(first_bytes[i]), len(second_bytes[i]))
        # The current program saw and did what it does alone.
        assert [r.data for r in walk(tmp_path / "out.pcap").records] == first_bytes
        assert [result.actions[n] for n in names] == [first.count(a) for a in range(5)]
        seen += result.packets
        assert hook.datapath.worlds_live == 1
    assert seen >= 480
    if now == then:
        assert trial.report.differing == 0


def test_shadow_leaves_the_current_maps_alone() -> None:
    """The candidate's own maps end as the current ones do: it began with a copy of what they held."""
    for maps in ("snapshot", "cold"):
        current, candidate, control = (pf.load(str(PROGRAMS / "heavy_hitters.o")) for _ in range(3))
        pick = next(iter(current.programs))
        lone, hook = pf.Hook(), pf.Hook()
        lone.attach(control.programs[pick])
        link = hook.attach(current.programs[pick])
        pf.replay(IMIX, hook)
        pf.replay([IMIX, IMIX], lone)
        trial = link.shadow(candidate.programs[pick], maps=maps)
        assert bool(trial.copied) == (maps == "snapshot")
        pf.replay(IMIX, hook)

        def state(obj: pf.Object) -> dict[str, object]:
            return {name: sorted(map(repr, m.items())) for name, m in obj.maps.items()}

        assert state(current) == state(control)
        assert (state(candidate) == state(control)) == (maps == "snapshot")


def test_shadow_refuses_a_map_in_common() -> None:
    shared = pf.Map(pf.MapSpec(type="array", key_size=4, value_size=8, max_entries=1), name="hits")
    code = struct.pack("<BBhi", 0x18, 2 | 1 << 4, 0, 5) + bytes(8) + insn(MOV0, imm=2) + EXIT
    first, second = (pf.Program.from_bytes(code, name=n, maps={5: shared}) for n in "ab")
    link = pf.Hook().attach(first)
    with pytest.raises(pf.LinkError, match="hits") as caught:
        link.shadow(second)
    assert caught.value.errno == errno.EINVAL
    assert link.trial is None
    assert link.canary(second, fraction=0.5).running  # its effects are meant


@pytest.mark.parametrize("fraction, seed", [(0.0, 0), (0.05, 0), (0.3, 9), (0.5, 1), (1.0, 3)])
def test_canary_verdicts_are_those_of_the_arm_alone(fraction: float, seed: int) -> None:
    total = candidates = 0
    for capture in filter(usable, captures()):
        current, candidate = by_byte(15, 40, "now"), by_byte(17, 100, "then")
        each = []
        for program in (current, candidate):
            hook = pf.Hook()
            hook.attach(program)
            each.append(np.concatenate([b.verdicts for b in pf.batches(capture, hook)]))
        hook = pf.Hook()
        link = hook.attach(current)
        trial = link.canary(candidate, fraction=fraction, seed=seed)
        assert link.generation == 2
        ran = list(pf.batches(capture, hook, batch=64))
        arms = np.concatenate([b.arms for b in ran])
        threshold = round(fraction * (1 << 32))
        want = [mix(flow_hash(r.data, 0) ^ seed) >> 32 < threshold for r in walk(capture).records]
        assert arms.tolist() == want
        verdicts = np.concatenate([b.verdicts for b in ran])
        assert (verdicts == np.where(arms, each[1], each[0])).all()
        assert all((b.generations == 2).all() for b in ran)
        report = trial.report
        assert report.candidate.packets == int(arms.sum())
        assert report.current.packets == len(arms) - int(arms.sum())
        total, candidates = total + len(arms), candidates + int(arms.sum())
        assert report.compared == 0
    if fraction in (0.0, 1.0):
        assert candidates == total * fraction


def generated(path: Path, flows: int) -> str:
    """Two packets of each flow, one in either direction."""
    packets = []
    for i in range(flows):
        a, b = struct.pack(">I", 0x0A000000 + i * 7919), bytes([192, 0, 2, 1])
        for there in (True, False):
            ends = (a + b) if there else (b + a)
            ports = struct.pack(">HH", *((40000 + i % 9999, 443)[:: 1 if there else -1]))
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + ends
            packets.append(bytes(12) + b"\x08\x00" + ip + ports + bytes(16))
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(
        head
        + b"".join(struct.pack("<IIII", i, 0, len(p), len(p)) + p for i, p in enumerate(packets))
    )
    return str(path)


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.5])
def test_canary_share_and_connections(fraction: float, tmp_path: Path) -> None:
    flows = 20_000
    capture = generated(tmp_path / "flows.pcap", flows)
    hook = pf.Hook()
    hook.attach(returns(2)).canary(returns(3), fraction=fraction)
    arms = np.concatenate([b.arms for b in pf.batches(capture, hook)])
    assert (arms[0::2] == arms[1::2]).all()
    spread = (flows * fraction * (1 - fraction)) ** 0.5
    assert abs(int(arms[0::2].sum()) - flows * fraction) < 5 * spread
    other = pf.Hook()
    other.attach(returns(2)).canary(returns(3), fraction=fraction, seed=1)
    assert (np.concatenate([b.arms for b in pf.batches(capture, other)]) != arms).any()


def test_promote_and_abandon() -> None:
    old, new, newer = returns(2, "old"), returns(1, "new"), returns(3, "newer")
    link = pf.Hook().attach(old)
    trial = link.canary(new)
    assert link.trial is trial and link.info.trial and trial.running
    update = trial.promote()
    assert (update.old, update.new, update.generation) == (old, new, 3)
    assert (link.program, link.trial, trial.state) == (new, None, "promoted")
    shadow = link.shadow(newer)
    assert link.generation == 3  # a revision only
    shadow.abandon()
    shadow.abandon()
    assert (link.generation, shadow.report.state) == (3, "abandoned")
    with pytest.raises(pf.LinkError) as caught:
        shadow.promote()
    assert caught.value.errno == errno.ESTALE
    again = link.canary(newer)
    again.abandon("not today")
    assert [(g.cause, g.detail) for g in link.history] == [
        ("attach", ""),
        ("canary", ""),
        ("promote", ""),
        ("canary", ""),
        ("abandon", "not today"),
    ]
    assert link.program is new
    assert link.rollback().new is old  # not the canary's rows
    assert link.hook.datapath.worlds_live == 1


def test_no_update_beside_a_trial_and_detach_ends_it() -> None:
    first, second, third = returns(2), returns(1), returns(3)
    link = pf.Hook().attach(first)
    link.update(second)
    trial = link.canary(third, fraction=0.5)
    generation = link.generation
    for change in (
        lambda: link.update(first),
        link.rollback,
        lambda: link.shadow(first),
        lambda: link.canary(first),
    ):
        with pytest.raises(pf.LinkBusy, match="promote or abandon") as caught:
            change()
        assert caught.value.errno == errno.EBUSY
    with pytest.raises(pf.StaleProgram):
        link.update(first, expect=first)  # the order of checks stays
    assert not link.can_update(first)
    with pf.transaction(), pytest.raises(pf.TransactionError):
        trial.promote()
    assert link.generation == generation
    link.detach()
    assert (trial.state, link.trial) == ("detached", None)
    with pytest.raises(pf.LinkDetached):
        link.shadow(first)
    assert link.hook.datapath.worlds_live == 1


SMALL = {"max_difference": None, "max_faults": None, "max_drop_change": None, "max_ns_ratio": None}
TRIPS = [
    ("shadow", lambda: by_byte(20, 60), {"max_difference": 0.01}, "difference rate"),
    ("shadow", faulty, {"max_faults": 3}, "faults, more than 3"),
    ("canary", faulty, {"max_faults": 0}, "faults, more than 0"),
    ("shadow", lambda: returns(1), {"max_drop_change": 0.05}, "drop rate 1 against 0"),
    ("canary", lambda: returns(1), {"max_drop_change": 0.05}, "drop rate 1 against 0"),
    ("shadow", slow, {"max_ns_ratio": 2.0}, "ns a packet against"),
    ("canary", slow, {"max_ns_ratio": 2.0}, "ns a packet against"),
]


@pytest.mark.parametrize("kind, candidate, limits, why", TRIPS)
def test_a_guard_trips_by_itself(kind: str, candidate, limits, why: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """In the middle of one replay, with nobody looking; the rest of it runs the current program."""
    capture = generated(tmp_path / "flows.pcap", 4000)
    current, new = returns(2, "current"), candidate()
    hook = pf.Hook()
    link = hook.attach(current)
    guard = pf.Guard(**{**SMALL, **limits}, min_packets=200)
    trial = (
        link.shadow(new, guard=guard)
        if kind == "shadow"
        else link.canary(new, fraction=0.5, guard=guard)
    )
    result = pf.replay(capture, hook, batch=64)
    report = trial.report
    assert result.packets == 8000
    assert report.state == "tripped" and why in report.why
    assert 0 < report.candidate.packets < 4000
    last = link.history[-1]
    assert (last.cause, last.detail, last.program) == ("guard", report.why, current)
    assert last.generation == link.generation == (2 if kind == "shadow" else 3)
    assert (link.program, link.trial) == (current, None)
    assert hook.datapath.worlds_live == 1
    if kind == "shadow":
        assert result.actions["pass"] == 8000 and result.faults == 0
    with pytest.raises(pf.LinkError):
        trial.promote()
    link.update(new)  # free again


def test_a_guard_within_its_limits_stays(tmp_path: Path) -> None:
    capture = generated(tmp_path / "flows.pcap", 2000)
    hook = pf.Hook()
    trial = hook.attach(by_byte(26, 5)).shadow(
        by_byte(26, 5), guard=pf.Guard(max_ns_ratio=1000.0, min_packets=1)
    )
    pf.replay(capture, hook, batch=16)
    assert trial.running and trial.report.differing == 0


def test_trials_while_a_replay_runs(tmp_path: Path) -> None:
    """Begun, promoted and abandoned from another thread; every packet has a program and is counted."""
    capture = generated(tmp_path / "flows.pcap", 4000)
    hook = pf.Hook()
    link = hook.attach(returns(2, "first"))
    stop, packets, uncovered = threading.Event(), [0], [0]

    def work() -> None:
        while not stop.is_set():
            result = pf.replay(capture, hook)
            packets[0] += result.packets
            uncovered[0] += result.uncovered

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for i in range(60):
            candidate = returns(2, f"candidate {i}")
            trial = link.canary(candidate, fraction=0.5) if i & 1 else link.shadow(candidate)
            with pytest.raises(pf.LinkBusy):
                link.update(returns(1))
            if i % 3:
                trial.promote()
                assert link.program is candidate
            else:
                trial.abandon()
            report = trial.report  # exact: its grace period is over
            if report.kind == "shadow":
                assert report.compared == report.current.packets == report.candidate.packets
    finally:
        stop.set()
        thread.join()
    assert packets[0] % 8000 == 0 and packets[0] > 0 and uncovered[0] == 0
    link.update(returns(2, "last"))
    assert hook.datapath.worlds_live == 1


def test_nothing_is_left_behind() -> None:
    hook = pf.Hook()
    link = hook.attach(returns(2))
    candidate = load("heavy_hitters")
    dead = [weakref.ref(candidate)] + [weakref.ref(m) for m in candidate.maps.values()]
    trial = link.shadow(candidate, guard=pf.Guard())
    pf.replay(IMIX, hook)
    trial.abandon()
    counted = trial.report.compared
    assert counted == 480  # counters live as long as the handle
    del trial, candidate
    gc.collect()
    assert [ref() for ref in dead] == [None] * len(dead)
    assert hook.datapath.worlds_live == 1


def test_options_out_of_range() -> None:
    link = pf.Hook().attach(returns(2))
    with pytest.raises(pf.InputError, match="fraction"):
        link.canary(returns(1), fraction=1.5)
    with pytest.raises(pf.InputError, match="samples"):
        link.shadow(returns(1), samples=-1)
    with pytest.raises(pf.InputError, match="snapshot or cold"):
        link.shadow(returns(1), maps="carry")
    with pytest.raises(pf.InputError, match="max_drop_change"):
        pf.Guard(max_drop_change=-1)
    with pytest.raises(pf.IncompatibleProgram):
        link.shadow(pf.Program.from_bytes(insn(MOV0) + EXIT, type="memory"))
    assert link.trial is None


def test_canary_may_carry_maps() -> None:
    spec = pf.ObjectSpec.from_file(str(PROGRAMS / "heavy_hitters.o"))
    obj = spec.load()
    hook = pf.Hook()
    link = hook.attach(next(iter(obj.programs.values())))
    again = pf.ObjectSpec.from_file(str(PROGRAMS / "heavy_hitters.o"))
    trial = link.canary(again, fraction=0.5, maps="carry")
    mine = {m.id for m in obj.maps.values()}
    assert {m.id for m in trial.program.maps.values()} & mine
    with pytest.raises(pf.LinkBusy):
        link.shadow(again)


def test_command_line() -> None:
    syn, arp = PROGRAMS / "syn_filter.o", PROGRAMS / "ipip_encap.o"
    done = run("replay", syn, IMIX, "--shadow", arp)
    assert "shadow, ran to the end" in done.text
    assert "480 packets compared" in done.text
    report = json.loads(run("replay", syn, IMIX, "--shadow", arp, "--json").text)["trial"]
    assert report["compared"] == 480 and report["kind"] == "shadow"
    assert sum(row["packets"] for row in report["pairs"]) == 480
    shown = json.loads(
        run("replay", syn, IMIX, "--canary", arp, "--fraction", "0.5", "--json").text
    )["trial"]
    assert shown["current"]["packets"] + shown["candidate"]["packets"] == 480
    assert shown["candidate"]["packets"] > 0
    assert json.loads(run("replay", syn, IMIX, "--json").text)["trial"] is None
    for wrong in (
        ("--shadow", arp, "--canary", arp),
        ("--fraction", "0.5"),
        ("--guard",),
        ("--shadow", arp, "--swap", f"5={arp}"),
        ("--canary", arp, "--fraction", "2"),
    ):
        run("replay", syn, IMIX, *wrong, code=2)
