"""Events of replays, batches and live runs: every one once, in order, or counted; and what `--events` writes."""

from __future__ import annotations

import json
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import DEMO, finish, pcap, program, run, start
from live_net import Net, namespace, packet, send
from readers import walk

import pktfilter as pf
from pktfilter.cli.programs import load_program

ENGINES = pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
COUNT = 2_000  # packets of the demo capture
TELL = """.section xdp
.license GPL
.map events perf_event_array 4 4 0
.program tell
tell:
r6 = r1
r2 = *(u32 *)(r1 +4)
r3 = *(u32 *)(r1 +0)
r7 = r2
r7 -= r3
*(u64 *)(r10 -8) = r7
r2 = map[events]
r3 = {flags} ll
r4 = r10
r4 += -8
r5 = 8
call bpf_perf_event_output#25
r0 = 2
exit
"""
CURRENT, WITH_PACKET = 0xFFFFFFFF, 14 << 32 | 0xFFFFFFFF


def telling(tmp_path: Path, flags: int = WITH_PACKET) -> Path:
    return program(tmp_path, TELL.format(flags=flags), "tell.s")


def hook_of(file: Path) -> pf.Hook:
    hook = pf.Hook("ingress")
    hook.attach(load_program(str(file))[1])
    return hook


def expected() -> list[tuple[int, int, bytes, bytes]]:
    """(index, time, data, packet) of each event, from an independent reader of the capture."""
    return [
        (number, record.ts_ns, struct.pack("<Q", len(record.data)), record.data[:14])
        for number, record in enumerate(walk(DEMO).records)
    ]


def told(events: list[Any]) -> list[tuple[int, int, bytes, bytes]]:
    return [(e.index, e.time_ns, e.data, e.packet) for e in events]


@ENGINES
@pytest.mark.parametrize("buffer", [4096, 64 << 10, 8 << 20])
def test_a_replay_tells_every_event_once(tmp_path: Path, engine: str, buffer: int) -> None:
    """With a small buffer some find no room: they are counted, and the others are right and in order."""
    events: list[pf.Event] = []
    result = pf.replay(
        DEMO,
        hook_of(telling(tmp_path)),
        on_event=events.append,
        event_buffer=buffer,
        engine=engine,
        batch=64,
    )
    assert result.events is not None
    assert (result.events.delivered, result.events.delivered + result.events.lost) == (
        len(events),
        COUNT,
    )
    every = expected()
    assert [every[e.index] for e in events] == told(events)
    assert sorted(e.index for e in events) == [e.index for e in events]
    # A batch of 64 needs 64 * 120 bytes: what holds two of them loses nothing.
    assert (result.events.lost == 0) == (buffer >= 64 << 10)


def test_nobody_listens_unless_asked(tmp_path: Path) -> None:
    result = pf.replay(DEMO, hook_of(telling(tmp_path)))
    assert result.events is None and result.to_json()["events"] is None
    text = TELL.replace("r0 = 2", "r0 += 3").format(flags=CURRENT)  # -ENOENT + 3: DROP
    counts = pf.replay(DEMO, hook_of(program(tmp_path, text, "e.s"))).actions
    assert counts["drop"] == COUNT
    heard = pf.replay(
        DEMO, hook_of(program(tmp_path, text, "e.s")), on_event=lambda _: None
    ).actions
    assert heard["tx"] == COUNT


@ENGINES
def test_batches_carry_their_events(tmp_path: Path, engine: str) -> None:
    found: list[pf.Event] = []
    for batch in pf.batches(
        DEMO, hook_of(telling(tmp_path)), engine=engine, batch=100, events=1 << 20
    ):
        assert [e.index for e in batch.events] == list(range(batch.first, batch.first + len(batch)))
        assert batch.events_lost == 0
        found += batch.events
    assert told(found) == expected()
    small = list(pf.batches(DEMO, hook_of(telling(tmp_path)), batch=100, events=1200))
    assert all(len(b.events) == 10 and b.events_lost == len(b) - 10 for b in small)
    assert all(not b.events for b in pf.batches(DEMO, hook_of(telling(tmp_path))))


def test_what_a_callback_raises_ends_the_run(tmp_path: Path) -> None:
    def stop(event: pf.Event) -> None:
        raise KeyError(event.index)

    with pytest.raises(KeyError, match="0"):
        pf.replay(DEMO, hook_of(telling(tmp_path)), on_event=stop)


@pytest.mark.parametrize(
    "options", [{"on_event": print, "workers": 2}, {"event_buffer": 1}, {"event_buffer": 1 << 40}]
)
def test_impossible_options_are_named(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(pf.InputError, match="events"):
        pf.replay(DEMO, hook_of(telling(tmp_path)), **options)
    with pytest.raises(pf.InputError, match="buffer for events"):
        pf.batches(DEMO, hook_of(telling(tmp_path)), events=-1)


def test_lines_of_json_and_hex(tmp_path: Path) -> None:
    file = telling(tmp_path)
    done = run("replay", file, DEMO, "--events", "json")
    rows = [json.loads(line) for line in done.text.splitlines()]
    assert [
        (r["packet"], r["time_ns"], bytes.fromhex(r["data"]), bytes.fromhex(r["packet_data"]))
        for r in rows
    ] == expected()
    assert {(r["cpu"], r["map"]) for r in rows} == {(0, "events")}
    assert "2,000 events" in done.error  # the summary makes room
    out = tmp_path / "events.txt"
    done = run("replay", file, DEMO, "--events", "hex", "--events-to", out, "--json")
    assert done.json["events"] == {"delivered": COUNT, "lost": 0}
    lines = [line.split() for line in out.read_text().splitlines()]
    assert [
        (int(n), int(ns), bytes.fromhex(data), bytes.fromhex(packet))
        for n, ns, _, _, data, packet in lines
    ] == expected()


def test_packets_of_events_are_a_capture(tmp_path: Path) -> None:
    """Another reader finds the packets with their times, and the events' data in the comments."""
    out = tmp_path / "events.pcapng"
    run("replay", telling(tmp_path), DEMO, "--events", "pcapng", "--events-to", out)
    found = walk(out)
    assert not found.damage
    assert [(r.ts_ns, r.data) for r in found.records] == [
        (ns, data) for _, ns, _, data in expected()
    ]
    assert b"events cpu 0 packet 7: " + expected()[7][2].hex().encode() in out.read_bytes()
    pytest.importorskip("scapy")
    from scapy.utils import rdpcap

    assert [bytes(p) for p in rdpcap(str(out))][:50] == [data for _, _, _, data in expected()][:50]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--events-to", "x"), 2, "--events-to says where"),
        (("--events", "json", "-w", "-"), 2, "standard output takes one thing"),
        (("--events", "json", "--events-to", "/dev/full"), 1, "No space left"),
        (("--events", "json", "--events-to", "/nonexistent/x"), 1, "No such file"),
        (("--events", "json", "--workers", "2"), 1, "one worker"),
    ],
)
def test_refusals(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run("replay", telling(tmp_path), DEMO, *arguments, code=code)
    assert words in done.error and "Traceback" not in done.error


def test_a_file_of_the_run_is_not_replaced(tmp_path: Path) -> None:
    capture = tmp_path / "in.pcap"
    capture.write_bytes(DEMO.read_bytes())
    file = telling(tmp_path)
    for name in (capture, file):
        done = run("replay", file, capture, "--events", "hex", "--events-to", name, code=1)
        assert "would replace a file of the run" in done.error
    assert capture.read_bytes() == DEMO.read_bytes()


def test_a_reader_that_goes_away_ends_it(tmp_path: Path) -> None:
    large = tmp_path / "large.pcap"
    large.write_bytes(pcap([bytes(60)] * 20_000))
    process = start("replay", telling(tmp_path), large, "--events", "json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        error = process.stderr.read().decode()
    process.wait(60)
    assert "Traceback" not in error and "Exception ignored" not in error, error


@pytest.fixture
def net() -> Iterator[Net]:
    with namespace() as made:
        yield made


def test_live_events(net: Net, tmp_path: Path) -> None:
    process = net.start("a1", telling(tmp_path, CURRENT), "--events", "json", "-c", 40, "--quiet")
    wire = net.wire("a0")
    while process.poll() is None:
        send(wire, (packet(i) for i in range(10)))
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    done = finish(process)
    rows = [json.loads(line) for line in done.text.splitlines()]
    assert [row["packet"] for row in rows] == list(range(40))
    assert Counter(row["data"] for row in rows) == {struct.pack("<Q", 64).hex(): 40}


def test_batches_of_one_lose_nothing(tmp_path: Path) -> None:
    """The step ends before a batch that might not fit."""
    found: list[pf.Event] = []
    result = pf.replay(
        DEMO, hook_of(telling(tmp_path)), on_event=found.append, event_buffer=4096, batch=1
    )
    assert result.events is not None and result.events.lost == 0 and len(found) == COUNT


RING = """.section xdp
.license GPL
.map events ringbuf 0 0 4096
.program tell
tell:
r6 = r1
r1 = map[events]
r2 = 8
r3 = 0
call bpf_ringbuf_reserve
if r0 == 0 goto full
r2 = *(u32 *)(r6 +4)
r3 = *(u32 *)(r6 +0)
r2 -= r3
*(u64 *)(r0 +0) = r2
r1 = r0
r2 = 0
call bpf_ringbuf_submit
r0 = 2
exit
full:
r0 = 1
exit
"""


@ENGINES
def test_a_replay_reads_ring_buffers(tmp_path: Path, engine: str) -> None:
    """As an ideal reader does: a ring for 255 records never fills, whatever the batch."""
    file = program(tmp_path, RING, "ring.s")
    wanted = [(index, time, data, b"") for index, time, data, _ in expected()]
    for batch in (1, 256):
        events: list[pf.Event] = []
        options: dict[str, Any] = {"engine": engine, "batch": batch}
        result = pf.replay(DEMO, hook_of(file), on_event=events.append, **options)
        assert told(events) == wanted and result.actions["pass"] == COUNT
        assert result.events is not None and result.events.lost == 0
    found = [
        e for b in pf.batches(DEMO, hook_of(file), engine=engine, events=1 << 20) for e in b.events
    ]
    assert told(found) == wanted


def test_without_a_reader_a_ring_fills_and_is_told(tmp_path: Path) -> None:
    """Records stay for who asks later; what found no room is counted, with several workers too."""
    file = program(tmp_path, RING, "ring.s")
    for workers in (1, 2):
        obj, loaded = load_program(str(file))
        hook = pf.Hook("ingress")
        hook.attach(loaded)
        result = pf.replay(DEMO, hook, workers=workers)
        assert (result.actions["pass"], result.actions["drop"]) == (255, COUNT - 255)
        ring = obj.maps["events"]
        assert ring.lost == COUNT - 255 and len(list(ring.consume())) == 255
    done = run("replay", file, DEMO)
    assert done.code == 0
    assert "note: map 'events' was full: 1,745 records were not made: nobody read it" in done.error
    lines = run("replay", file, DEMO, "--events", "json").text.splitlines()
    told_ = [json.loads(line) for line in lines]
    assert [(row["packet"], row["data"]) for row in told_] == [
        (index, data.hex()) for index, _, data, _ in expected()
    ]
    refused = run("replay", file, DEMO, "--dump-map", "events=x.json", code=2)
    assert "without keys" in refused.error
