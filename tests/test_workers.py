"""Several workers: the results are those of one (design.md section 7)."""

from __future__ import annotations

import gzip
import os
import random
import signal
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import readers
from commandline import (
    CLOCK,
    DEMO,
    EXAMPLES,
    FIRST_BYTE,
    RANDOM,
    assembly,
    finish,
    pcap,
    run,
    start,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.session import Replay
from pktfilter.session.runner import worth_overlapping
from pktfilter.sources import Source
from pktfilter.sources.ahead import Ahead

WORKERS = (1, 2, 4)
ACTIONS = tuple(pf.XDP)
#: What one run looks like from outside: everything that must not depend on the number of workers.
SAME = (
    "packets",
    "bytes",
    "actions",
    "action_bytes",
    "uncovered",
    "faults",
    "first_fault",
    "written",
)
#: Grows the packet by 40 bytes in front and writes the CPU-independent first byte there.
GROW = assembly(
    "grow",
    "r6 = r1\nr2 = -40\ncall bpf_xdp_adjust_head#44\nr2 = *(u32 *)(r6 + 0)\nr3 = *(u32 *)(r6 + 4)\n"
    "r4 = r2\nr4 += 41\nif r4 > r3 goto out\nr5 = *(u8 *)(r2 + 40)\n*(u8 *)(r2 + 0) = r5\n"
    "out:\nr0 = 2\nexit\n",
)
#: Counts packets on its CPU.
COUNT = """
.map counts percpu_array 4 8 1
.program count
r2 = 0
*(u32 *)(r10 - 4) = r2
r2 = r10
r2 += -4
r1 = map[counts]
call bpf_map_lookup_elem#1
if r0 == 0 goto out
r1 = *(u64 *)(r0 + 0)
r1 += 1
*(u64 *)(r0 + 0) = r1
out:
r0 = 2
exit
"""


def program(text: str, maps: dict[int, pf.Map] | None = None) -> pf.Program:
    (made,) = assemble(text, "p.s")
    return pf.Program.from_bytes(made.insns, name=made.name, maps=maps)


def hook_of(text: str) -> tuple[pf.Hook, pf.Link]:
    hook = pf.Hook()
    return hook, hook.attach(program(text))


def packet(rng: random.Random, flow: int) -> bytes:
    """An IPv4 UDP packet of one of a few flows, in either direction, of any length."""
    ends = [(bytes([10, 0, flow >> 8, flow & 255]), 1000 + flow), (bytes([10, 1, 0, 1]), 53)]
    if rng.random() < 0.5:
        ends.reverse()
    (source, sport), (target, dport) = ends
    payload = rng.randbytes(rng.choice((0, 1, 22, 100, 1400, 4000)))
    udp = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + source + target
    return bytes([rng.randrange(6)]) + rng.randbytes(11) + b"\x08\x00" + ip + udp


def capture(path: Path, seed: int, count: int, flows: int) -> Path:
    rng = random.Random(seed)
    data = bytearray(pcap([packet(rng, rng.randrange(flows)) for _ in range(count)], nano=True))
    at = 24
    for _ in range(count):  # times that jump back and forth
        data[at : at + 4] = (1_600_000_000 + rng.randrange(1000)).to_bytes(4, "little")
        data[at + 4 : at + 8] = rng.randrange(10**9).to_bytes(4, "little")
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    path.write_bytes(data)
    return path


def seen(inputs: Any, hook: pf.Hook, out: Path, **options: Any) -> tuple[Any, ...]:
    result = pf.replay(inputs, hook, write=out, write_actions=ACTIONS, **options)
    assert not result.errors
    return (*(getattr(result, name) for name in SAME), out.read_bytes())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 1 << 32),
    count=st.integers(0, 900),
    flows=st.integers(1, 40),
    batch=st.sampled_from((1, 3, 64, 256, 65536)),
    workers=st.sampled_from((2, 3, 4, 7)),
    texts=st.lists(st.sampled_from((FIRST_BYTE, RANDOM, CLOCK, GROW)), min_size=1, max_size=4),
    at=st.lists(st.integers(0, 950), min_size=3, max_size=3),
    form=st.sampled_from(("out.pcap", "out.pcapng")),
)
def test_any_number_of_workers_gives_the_results_of_one(
    tmp_path: Path, seed: int, count: int, flows: int, batch: int, workers: int,
    texts: Sequence[str], at: list[int], form: str,
) -> None:  # fmt: skip
    path = capture(tmp_path / "in.pcap", seed, count, flows)
    results = []
    for options in (
        {"workers": 1, "overlap": False},
        {"workers": 1, "overlap": True},
        {"workers": workers},
    ):
        hook, link = hook_of(texts[0])
        swaps = [(n, link, program(text)) for n, text in zip(sorted(at), texts[1:], strict=False)]
        results.append(
            seen(
                path,
                hook,
                tmp_path / form,
                batch=batch,
                seed=seed,
                swaps=swaps,
                comment=form.endswith("ng"),
                **options,
            )
        )
    assert results[1] == results[0]
    assert results[2] == results[0]


@pytest.mark.parametrize("name", ["portfw", "stats", "l4lb", "tailcall", "vlan", "filter64"])
def test_examples_do_not_see_workers(name: str, tmp_path: Path) -> None:
    """Same packets out, same maps afterwards; a per-CPU value is the sum over the CPU ids.

    Not among them: ratelimit and synscrub, whose state is shared by all flows of an address.
    """
    found = []
    for workers in WORKERS:
        obj = pf.load(EXAMPLES / f"{name}.o", cpus=4)
        hook = pf.Hook()
        hook.attach(next(iter(obj.programs.values())))
        out = seen(DEMO, hook, tmp_path / "out.pcapng", workers=workers, batch=32, seed=5)
        maps = {
            key: sorted((k, _total(m, v)) for k, v in m.items())
            for key, m in obj.maps.items()
            if m.spec.inner is None and m.type != "prog_array" and key != "progress"
        }  # progress is a scratch value, not a count
        found.append((out, maps))
    assert found[1] == found[0]
    assert found[2] == found[0]


def _total(m: pf.Map, value: Any) -> Any:
    """64-bit words of a per-CPU value, added up."""
    if not m.per_cpu:
        return bytes(value)
    words = [struct.unpack(f"<{len(v) // 8}Q", bytes(v)[: len(v) // 8 * 8]) for v in value]
    return [sum(column) for column in zip(*words, strict=True)]


def test_per_cpu_counts_add_up_and_every_worker_works() -> None:
    m = pf.Map(pf.MapSpec("percpu_array", 4, 8, 1), cpus=4)
    (made,) = assemble(COUNT, "p.s")
    number = next(iter(made.map_refs))
    hook = pf.Hook()
    hook.attach(pf.Program.from_bytes(made.insns, maps={number: m}))
    result = pf.replay(DEMO, hook, workers=4)
    counts = [int.from_bytes(v, "little") for v in m[0]]
    assert sum(counts) == result.packets == 2000
    assert all(counts), "a worker had nothing to do"


def test_flows_stay_whole_when_unordered(tmp_path: Path) -> None:
    path = capture(tmp_path / "in.pcap", 7, 30_000, 200)
    flows: list[dict[Any, list[bytes]]] = []
    for options in ({"workers": 1}, {"workers": 4, "unordered": True}):
        hook, _ = hook_of(FIRST_BYTE)
        out = tmp_path / "out.pcap"
        pf.replay(path, hook, write=out, write_actions=ACTIONS, batch=16, **options)
        by_flow: dict[Any, list[bytes]] = defaultdict(list)
        for record in readers.walk(out).records:
            by_flow[frozenset((record.data[26:30], record.data[30:34]))].append(bytes(record.data))
        flows.append(dict(by_flow))
    assert sum(map(len, flows[0].values())) == 30_000
    assert flows[1] == flows[0]


def test_damage_and_several_inputs(tmp_path: Path) -> None:
    """Each file is run up to its damage, and counted by itself."""
    whole = capture(tmp_path / "a.pcap", 1, 700, 20)
    cut = tmp_path / "b.pcap"
    cut.write_bytes(whole.read_bytes()[:-7])
    reports = []
    for workers in WORKERS:
        hook, _ = hook_of(RANDOM)
        run_ = Replay(
            [whole, cut, whole],
            hook,
            write=tmp_path / "o.pcapng",
            write_actions=ACTIONS,
            workers=workers,
        )
        result = run_.run()
        reports.append(
            (
                [(i.packets, i.truncated, i.error) for i in result.inputs],
                result.actions,
                (tmp_path / "o.pcapng").read_bytes(),
            )
        )
        assert [i.packets for i in result.inputs] == [700, 699, 700]
    assert reports[1] == reports[0]
    assert reports[2] == reports[0]


def test_a_failed_output_ends_the_replay(tmp_path: Path) -> None:
    for workers in (1, 4):
        hook, _ = hook_of(GROW)
        with pytest.raises(pf.OutputError, match="/dev/full"):
            pf.replay([DEMO] * 50, hook, write="/dev/full", workers=workers)


def test_faults_are_reported_in_capture_order(tmp_path: Path) -> None:
    text = assembly("reads", "r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 80)\nr0 = 2\nexit\n")
    path = capture(tmp_path / "in.pcap", 3, 2000, 50)
    (made,) = assemble(text, "p.s")
    found = set()
    for workers in WORKERS:
        hook = pf.Hook()
        hook.attach(pf.Program.from_bytes(made.insns, name="reads", verify=False))
        result = pf.replay(path, hook, workers=workers)
        found.add((result.faults, result.first_fault))
    assert len(found) == 1
    assert next(iter(found))[0] > 100


def test_updates_beside_a_replay_cover_every_packet(tmp_path: Path) -> None:
    """Each packet is run once, by one of the two programs, whatever is published meanwhile."""
    path = capture(tmp_path / "in.pcap", 5, 40_000, 300)
    old = program(assembly("old", "r0 = 1\nexit\n"))
    new = program(assembly("new", "r0 = 3\nexit\n"))
    hook = pf.Hook()
    link = hook.attach(old)
    done = threading.Event()
    updates = 0

    def update() -> None:
        nonlocal updates
        while not done.is_set():
            link.update(new if updates % 2 == 0 else old)
            updates += 1

    thread = threading.Thread(target=update)
    thread.start()
    try:
        result = pf.replay(
            [path] * 4, hook, workers=4, batch=8, write=tmp_path / "o.pcapng", write_actions=ACTIONS
        )
    finally:
        done.set()
        thread.join()
    assert result.uncovered == 0
    assert result.packets == 160_000 == result.actions["drop"] + result.actions["tx"]
    assert updates > 10
    assert result.actions["drop"] and result.actions["tx"]
    records = readers.walk(tmp_path / "o.pcapng").records
    assert len(records) == 160_000


@pytest.mark.parametrize("compress", [None, "gz"])
def test_inputs_opened_early_are_run_in_order(tmp_path: Path, compress: str | None) -> None:
    names = []
    for n in range(7):
        names.append(capture(tmp_path / f"{n}.pcap", n, 300 + n, 20))
        if compress:
            names[-1] = tmp_path / f"{n}.pcap.gz"
            names[-1].write_bytes(gzip.compress((tmp_path / f"{n}.pcap").read_bytes()))
    hook, _ = hook_of(RANDOM)
    missing = tmp_path / "missing.pcap"
    run_ = Replay([*names[:3], missing, *names[3:]], hook, write=tmp_path / "o.pcapng")
    result = run_.run()
    assert [i.packets for i in result.inputs] == [300, 301, 302, 0, 303, 304, 305, 306]
    assert [str(e) for e in result.errors] == [
        f"{missing}: cannot be opened: No such file or directory"
    ]


def test_inputs_are_opened_two_ahead_at_most(tmp_path: Path) -> None:
    names = [str(capture(tmp_path / f"{n}.pcap", n, 10, 2)) for n in range(6)]
    made: list[Source] = []

    def opener(name: str) -> Source:
        made.append(Source(name))
        return made[-1]

    ahead = Ahead(names, opener)
    many = len(os.sched_getaffinity(0)) > 1
    with ahead.take(names[0]):
        assert len(made) == (3 if many else 1)
    with ahead.take(names[1]):
        assert len(made) == (4 if many else 2)
    ahead.close()
    assert [source.path for source in made] == names[: len(made)]
    assert all(source._file.closed for source in made)
    with ahead.take(names[0]) as again:  # another pass: nothing is left to prepare
        assert again.path == names[0]


@pytest.mark.parametrize("kind", ["shadow", "canary"])
def test_trials_count_the_same(tmp_path: Path, kind: str) -> None:
    """A flow's arm is its own, whoever runs it; rows of several workers are added up."""
    path = capture(tmp_path / "in.pcap", 11, 5000, 300)
    found = []
    for workers in WORKERS:
        hook, link = hook_of(FIRST_BYTE)
        new = program(assembly("new", "r0 = 1\nexit\n"))
        trial = link.shadow(new) if kind == "shadow" else link.canary(new, fraction=0.4)
        out = seen(path, hook, tmp_path / "o.pcapng", workers=workers, batch=50)
        report = trial.report
        found.append(
            (out, report.compared, report.differing, report.action_differs, report.pairs,
             *((arm.packets, arm.actions) for arm in (report.current, report.candidate)))
        )  # fmt: skip
        trial.abandon()
    assert found[0][5][0] > 500
    assert found[0][6][0] > 500
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_worth_overlapping() -> None:
    """Neither reading nor running may be small, nor may there be one CPU only."""
    many = len(os.sched_getaffinity(0)) > 1
    assert worth_overlapping(50, 100) is many
    assert not worth_overlapping(10, 100)
    assert not worth_overlapping(90, 100)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert not worth_overlapping(50, 100)
    finally:
        os.sched_setaffinity(0, before)


def test_a_pipe_that_pauses_is_run_as_it_comes(tmp_path: Path) -> None:
    """The driver waits in a read; what came before it is run meanwhile, and nothing is lost."""
    data = capture(tmp_path / "in.pcap", 2, 3000, 30).read_bytes()
    read_fd, write_fd = os.pipe()
    hook, _ = hook_of(FIRST_BYTE)
    results: list[pf.ReplayResult] = []
    thread = threading.Thread(
        target=lambda: results.append(pf.replay(f"/dev/fd/{read_fd}", hook, workers=3))
    )
    thread.start()
    half = len(data) // 2
    os.write(write_fd, data[:30_000])
    deadline = time.monotonic() + 20
    while hook.stats.packets == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 0 < hook.stats.packets < 3000
    with open(write_fd, "wb") as pipe:
        pipe.write(data[30_000:half])
        pipe.write(data[half:])
    thread.join(30)
    assert results[0].packets == 3000
    os.close(read_fd)


def test_interrupted_runs_leave_the_front_of_the_output(tmp_path: Path) -> None:
    """What was read is run and written: the file is what a whole run would have begun with."""
    records = capture(tmp_path / "some.pcap", 9, 4000, 100).read_bytes()
    path = tmp_path / "in.pcap"
    path.write_bytes(records[:24] + records[24:] * 30)
    source = tmp_path / "p.s"
    source.write_text(GROW)
    out, whole = tmp_path / "out.pcapng", tmp_path / "whole.pcapng"
    options = ("--write", "all", "--json", "--batch", 64, "--engine", "checked")
    process = start("replay", source, path, "-w", out, *options, "--workers", 4)
    while not out.exists() or out.stat().st_size < 1 << 20:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 130
    result = done.json
    assert result["interrupted"] and not result["errors"]
    assert result["written"] == {str(out): result["packets"]}
    assert sum(entry["packets"] for entry in result["inputs"]) == result["packets"]
    run("replay", source, path, "-w", whole, *options)
    size = out.stat().st_size
    assert 1 << 20 <= size < whole.stat().st_size
    with open(out, "rb") as some, open(whole, "rb") as all_:
        while piece := some.read(1 << 20):
            assert piece == all_.read(len(piece))


def test_traces_of_all_workers_are_told() -> None:
    text = assembly(
        "says",
        "r1 = 6910328\n*(u32 *)(r10 - 4) = r1\nr1 = r10\nr1 += -4\nr2 = 4\n"  # "xqi"
        "call bpf_trace_printk#6\nr0 = 2\nexit\n",
    )
    for workers in WORKERS:
        hook, _ = hook_of(text)
        told: list[tuple[list[str], int]] = []
        replay = Replay(DEMO, hook, workers=workers, on_trace=lambda *some, t=told: t.append(some))
        result = replay.run()
        lines = [line for some, _ in told for line in some]
        assert result.packets == 2000 == len(lines) + sum(lost for _, lost in told)
        assert set(lines) == {"xqi"}
        assert len(lines) > 500
