"""Benchmarks run: what they measure is what they say, peers that are missing are skipped with a reason."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from pathlib import Path

import pytest
from commandline import finish, run, start
from kernel import requires_kernel
from pktfilter._core.io import Reader
from pktfilter._core.measure import Packets, Runner, read_all

import pktfilter as pf
from pktfilter.benchmarks import dpdk, groups, groups_vm, kernelrun, programs, workloads
from pktfilter.benchmarks.model import Ratio, load_run
from pktfilter.benchmarks.runner import Session, Subject
from pktfilter.benchmarks.tiers import Case, tier_subjects
from pktfilter.errors import PktfilterError
from pktfilter.generate import generate


def test_workloads_are_distinct_and_decide_as_they_say() -> None:
    data, lens = workloads.frames("full", 4096)
    frames = {data[i : i + 64] for i in range(0, len(data), 64)}
    assert len(frames) == len(lens) == 4096
    program = programs.xdp(programs.xdp_filter(), "filter")
    for mix, (least, most) in {
        "full": (4096, 4096),
        "median": (1000, 4000),
        "worst": (1500, 2500),
    }.items():
        outcome = Case(program, workloads.packets(mix)).outcome("interp")
        assert outcome["interp"] == outcome["pass"] + outcome["drop"] == 4096
        assert least <= outcome["pass"] <= most, mix


def test_every_fault_of_the_worst_mix_is_dropped() -> None:
    data, _ = workloads.frames("full", 1)
    insns = programs.memory_filter()
    assert pf.vm.execute(insns, data[:64]) == 2
    for offset, value in workloads._FAULTS:
        frame = bytearray(data[:64])
        frame[offset] = value
        assert pf.vm.execute(insns, frame) == 1, (offset, value)


def test_the_filter_has_64_instructions_on_its_longest_path() -> None:
    data, _ = workloads.frames("full", 1)
    insns = bytearray(programs.memory_filter())
    # Counted by walking: the path takes every slot but the jumped-over ones and the drop.
    path, at = 0, 0
    lines = [struct.unpack_from("<BBhi", insns, i) for i in range(0, len(insns), 8)]
    while True:
        code, _, offset, imm = lines[at]
        path += 1
        if code == 0x95:
            break
        taken = code == 0x15 and imm == 6  # the one jump that a TCP segment takes
        at += 1 + (offset if taken else 0)
    assert path == 64
    assert pf.vm.execute(bytes(insns), data[:64]) == 2


@pytest.mark.parametrize("kind", programs.CLASSES, ids=lambda k: k.name)
def test_classes_differ_from_their_frame_by_what_they_repeat(kind: programs.Class) -> None:
    whole = len(programs.class_program(kind)) // 8
    frame = len(programs.class_program(kind, empty=True)) // 8
    each = kind.per_line * (2 if kind.name == "imm64" else 1)
    after = 2 if kind.after else 0
    assert whole - frame == kind.repeat * each + after
    packets = Packets(bytes(64 * 8), workloads.frames("full", 8)[1], 64, 8)
    assert (
        Case(programs.xdp(programs.class_program(kind), kind.name), packets).outcome("interp")[
            "interp"
        ]
        == 8
    )


@pytest.mark.parametrize("operation", programs.OPERATIONS, ids=lambda o: o.name)
def test_half_of_the_lookups_hit(operation: programs.Operation) -> None:
    map_ = programs.make_map(operation.map)
    groups_vm._fill(operation, map_, 256)
    data, lens = workloads.frames("full", 256)
    case = Case(
        programs.xdp(programs.operation_program(operation), "op", {1: map_}),
        Packets(data, lens, 64, 64),
    )
    outcome = case.outcome("interp")
    half = "lookup" in operation.name and operation.half
    assert (outcome["pass"], outcome["drop"]) == ((128, 128) if half else (256, 0))


def test_the_counted_filter_finds_half_of_its_sources() -> None:
    flows = programs.make_map("hash 4 8 65536")
    counts = programs.make_map("percpu_array 4 8 2")
    for key in workloads.sources(4096)[::2]:
        flows[key] = bytes(8)
    program = programs.xdp(programs.counted_filter(), "counted", {1: flows, 2: counts})
    assert Case(program, workloads.packets("full")).outcome("interp")["pass"] == 4096
    found = [sum(int.from_bytes(v, "little") for v in counts[i]) for i in (0, 1)]
    assert found == [2048, 2048]


def test_rounds_restore_what_a_program_wrote() -> None:
    write = programs.code(
        ".program w\n r2 = *(u32 *)(r1 +4)\n r1 = *(u32 *)(r1 +0)\n r3 = r1\n r3 += 14\n if r3 > r2 goto out\n"
        " r4 = *(u8 *)(r1 +0)\n r0 = r4\n r4 += 1\n *(u8 *)(r1 +0) = r4\n exit\nout:\n r0 = 0\n exit\n"
    )
    lens = workloads.frames("full", 8)[1]
    packets = Packets(b"\2" + bytes(64 * 8 - 1), lens, 64, 4)
    hook = pf.Hook("h")
    hook.attach(programs.xdp(write, "w"))
    runner = Runner(hook.datapath._ref, hook.index, packets)
    assert runner.run(5) > 0
    # A second round over unrestored bytes would return 3.
    assert runner.stats()["actions"] == [35, 0, 5, 0, 0]
    assert runner.stats()["packets"] == 40


def test_packets_want_their_bytes() -> None:
    lens = workloads.frames("full", 8)[1]
    for data, stride, batch in ((bytes(10), 64, 4), (bytes(512), 0, 4), (bytes(512), 64, 0)):
        with pytest.raises(ValueError, match="length each"):
            Packets(data, lens, stride, batch)


def test_reading_alone_sees_every_packet(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    made = generate(path, packets=1000, profile="mix", seed=3)
    with path.open("rb", buffering=0) as file:
        assert read_all(Reader(file.fileno()), 256)[:2] == (1000, made.captured)
    with path.open("r+b") as file:
        file.truncate(made.bytes - 1)
    with path.open("rb", buffering=0) as file, pytest.raises(pf.CaptureError):
        read_all(Reader(file.fileno()), 256)


def test_tiers_that_disagree_are_not_measured() -> None:
    packets = workloads.packets("full")
    empty = Case(programs.xdp(programs.empty(), "empty"), packets)
    answers = iter([b"\xb7\0\0\0\1\0\0\0", b"\xb7\0\0\0\2\0\0\0"])

    def other() -> Case:
        return Case(programs.xdp(next(answers) + b"\x95" + bytes(7), "p"), packets)

    with pytest.raises(PktfilterError, match="decide differently"):
        tier_subjects(other, empty, tiers=("interp", "checked"))


def test_a_session_alternates_subtracts_and_drops_the_first_round() -> None:
    order: list[str] = []

    def of(name: str, ns: float) -> Subject:
        def timed(times: int) -> float:
            order.append(name)
            return ns * times

        return Subject(name, timed, parts=10, whole=True, baseline="empty" if name == "ours" else None,
                       role="baseline" if name == "empty" else "subject")  # fmt: skip

    with Session(quick=True, rounds=4) as session:
        one = session.measure(
            "g/x", "x", "ns/part", [of("ours", 70), of("empty", 20)], ratios=[Ratio("ours", "gone")]
        )
    assert order == ["ours", "empty"] * 5
    assert one.net("ours") == [5.0] * 4
    assert one.ratios == []
    assert len(one.calibration_ns) == 4
    assert session.run.benchmarks == [one]


def test_interrupted_rounds_are_kept_where_every_series_has_them() -> None:
    calls = 0

    def stops(_: int) -> float:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return 1.0

    def steady(_: int) -> float:
        return 2.0

    with Session(quick=True) as session, pytest.raises(KeyboardInterrupt):
        session.measure(
            "g/x", "x", "ns", [Subject("a", steady, whole=True), Subject("b", stops, whole=True)]
        )
    (kept,) = session.run.benchmarks
    assert kept.partial
    assert [len(s.values) for s in kept.series] == [2, 2]


def test_a_group_that_fails_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Session) -> None:
        raise PktfilterError("no such luck")

    monkeypatch.setitem(groups.GROUPS, "filter", ("", fails))
    with Session(quick=True) as session:
        groups.run_groups(session, ["filter"])
    assert [(s.name, s.reason) for s in session.run.skipped] == [("filter", "no such luck")]


def test_dpdk_runs_the_same_bytecode(tmp_path: Path) -> None:
    try:
        library = dpdk.Library(tmp_path)
    except dpdk.Unavailable as reason:
        pytest.skip(str(reason))
    peer = dpdk.Peer(library, programs.memory_filter(), 64)
    data, _ = workloads.frames("worst", 4096)
    want = sum(
        pf.vm.execute(programs.memory_filter(), data[i : i + 64]) for i in range(0, 64 * 256, 64)
    )
    some = Packets(data[: 64 * 256], workloads.frames("worst", 4096)[1][:256], 64, 256)
    for native in (False, *([True] if peer.compiled else [])):
        taken, total = peer.run(some, native, 3)
        assert total == 3 * want
        assert taken > 0
    with pytest.raises(dpdk.Unavailable, match="refuses"):
        dpdk.Peer(library, bytes(8), 64)
    peer.close()


def test_dpdk_missing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(dpdk.Unavailable, match="pkg-config"):
        dpdk.Library(tmp_path)


@requires_kernel()
def test_the_kernel_decides_as_we_do() -> None:
    data, _ = workloads.frames("worst", 4096)
    loaded = kernelrun.KernelProgram(programs.xdp_filter())
    ours = programs.xdp(programs.xdp_filter(), "filter")
    for i in range(0, 64 * 64, 64):
        retval, taken = loaded.test_run(data[i : i + 64], 100)
        assert retval == ours.test_run(data[i : i + 64]).retval
        assert taken >= 0
    loaded.close()
    assert kernelrun.verification_us(programs.straight(64)) >= 1


def test_command_line_measures_and_writes(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    done = run(
        "bench",
        "compile",
        "startup",
        "--quick",
        "--rounds",
        "3",
        "-o",
        out,
        "--label",
        "x",
        "--json",
    )
    found = load_run(out)
    assert json.loads(done.text) == found.to_json()
    assert (found.label, found.complete, found.quick) == ("x", True, True)
    assert {"startup"} <= {b.group for b in found.benchmarks} <= {"startup", "compile"}
    assert all(len(s.values) == 3 for b in found.benchmarks for s in b.series)
    assert found.machine["processor"]
    assert found.versions["python"]


def test_command_line_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    done = run("bench", "filters", code=2)
    assert "no such group of benchmarks, found filters, expected one of: filter, " in done.error
    assert (
        "folder of the result file"
        in run("bench", "filter", "-o", tmp_path / "no" / "r.json", code=1).error
    )
    text = run("bench", "-h").text
    assert "dispatch" in text
    assert "swap" in text


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    process = start("bench", "filter", "--rounds", "10000", "-o", out)
    folder = Path(f"/proc/{process.pid}")
    while process.poll() is None and "numpy" not in (folder / "maps").read_text():
        time.sleep(0.02)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 130
    assert "what was measured until then is kept" in done.error
    found = load_run(out)
    assert not found.complete
