"""Live interfaces, observed: every packet once with its bytes, limits, rotation, failures, endings."""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dpkt
import pytest
from commandline import EXAMPLES, PASS, PORTFW, assembly, finish, program
from live_net import (
    Net,
    namespace,
    number_of,
    packet,
    pcap_packets,
    pcapng_records,
    receive,
    send,
)

import pktfilter as pf
from pktfilter.cli.programs import load_program
from pktfilter.report_live import LiveTable, live_summary
from pktfilter.sources.live import InterfaceCounts


@pytest.fixture
def net() -> Iterator[Net]:
    with namespace() as made:
        yield made


def hook_with(path: Path | str) -> tuple[pf.Hook, pf.Link]:
    hook = pf.Hook("ingress")
    return hook, hook.attach(load_program(str(path))[1])


class Running:
    """A live run in a thread inside, which has begun."""

    def __init__(self, net: Net, interface: str, hook: pf.Hook, **options: object) -> None:
        started = threading.Event()
        self.call = net.background(self._make, interface, hook, started, options)
        while not started.wait(0.01):
            if not self.call.running:
                self.call.result()

    def _make(
        self, interface: str, hook: pf.Hook, started: threading.Event, options: dict[str, object]
    ) -> pf.LiveResult:
        self.live = pf.Live(interface, hook, on_start=lambda _: started.set(), **options)
        return self.live.run()

    def stop(self, after: float = 0.3) -> pf.LiveResult:
        """Ends it once what was sent has had time to arrive."""
        time.sleep(after)
        self.live.stop()
        return self.call.result()


def wait_for(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    """Standard error up to the line that has the word."""
    assert process.stderr is not None
    seen = b""
    while word not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    return seen


def test_every_packet_is_seen_once_with_its_bytes(net: Net, tmp_path: Path) -> None:
    out = tmp_path / "o.pcapng"
    hook, _ = hook_with(PASS)
    run = Running(net, "a1", hook, write=out)
    sent = [packet(i, 19 + i * 7 % 1496) for i in range(6000)]
    raw = net.wire("a0")
    before = time.time_ns()
    send(raw, sent)
    result = run.stop()
    records = list(pcapng_records(out))
    (counts,) = result.interfaces
    assert counts.received == len(sent)
    assert len(records) + counts.dropped == len(sent)
    if not counts.dropped:
        assert [r.data for r in records] == sent
    else:
        assert Counter(r.data for r in records) <= Counter(sent)
    assert result.packets == counts.packets == len(records) == hook.stats.packets
    assert counts.unread == 0 and result.uncovered == 0
    stamps = [r.time_ns for r in records]
    assert stamps == sorted(stamps)
    assert before <= stamps[0] and stamps[-1] <= time.time_ns()
    assert {r.flags for r in records} == {1}  # inbound
    assert result.written == {str(out): len(records)}


def test_drops_by_the_ring_are_counted(net: Net) -> None:
    hook, _ = hook_with(PASS)
    raw = net.wire("a0")

    def seen() -> tuple[int, list[int], InterfaceCounts]:
        with pf.LiveSource("a1", ring_mib=1, latency_ms=5000) as source:
            sent = send(raw, (packet(i, 1000) for i in range(4000)))
            time.sleep(0.1)
            lengths: list[int] = []
            for batch in pf.batches(source, hook):
                lengths += batch.lengths.tolist()
                if source.counts[0].unread == 0:
                    source.stop()
            got = sent, lengths, source.counts[0]
        assert source.counts[0] == got[2]  # the last ones stay
        with pytest.raises(pf.InputError, match="closed"):
            next(pf.batches(source, hook))
        return got

    sent, lengths, counts = net.call(seen)
    assert counts.dropped is not None and counts.dropped > 0
    assert set(lengths) == {1000}
    assert sent == len(lengths) + counts.dropped == counts.received
    assert 900 <= len(lengths) <= 1049  # what a ring of 1 MiB holds


def test_stripped_vlan_tags_are_put_back(net: Net, tmp_path: Path) -> None:
    out = tmp_path / "o.pcapng"
    run = Running(net, "a1", hook_with(PASS)[0], write=out)
    tags = [
        b"",
        b"\x81\0\x20\x64",
        b"\x81\0\x0f\xff",
        b"\x88\xa8\0\x05",
        b"\x88\xa8\0\x05\x81\0\0\x09",
    ]
    sent = [packet(i, 100, tag=tags[i % len(tags)]) for i in range(50)]
    send(net.wire("a0"), sent)
    result = run.stop()
    assert [r.data for r in pcapng_records(out)] == sent
    assert result.interfaces[0].vlan == 40
    assert result.bytes == sum(map(len, sent))


@pytest.mark.parametrize("wanted", [False, True])
def test_outgoing_packets_by_option(net: Net, tmp_path: Path, wanted: bool) -> None:
    out = tmp_path / "o.pcapng"
    run = Running(net, "a0", hook_with(PASS)[0], write=out, outgoing=wanted)
    sent, back = [packet(i) for i in range(20)], [packet(i) for i in range(100, 110)]
    send(net.wire("a0"), sent)
    send(net.wire("a1"), back)
    run.stop()
    records = list(pcapng_records(out))
    assert [r.data for r in records if r.flags == 1] == back
    assert [r.data for r in records if r.flags == 2] == (sent if wanted else [])
    assert len(records) == len(back) + wanted * len(sent)


@pytest.mark.parametrize("partial", ["mark", "skip", "complete"])
def test_partial_checksums_by_option(net: Net, tmp_path: Path, partial: str) -> None:
    """Over the loopback interface the checksum of every datagram is left open."""
    from scapy.layers.inet import UDP
    from scapy.layers.l2 import Ether

    out = tmp_path / "o.pcapng"
    run = Running(net, "lo", hook_with(PASS)[0], write=out, partial=partial)
    udp = net.socket()
    udp.bind(("127.0.0.1", 0))
    for i in range(8):
        udp.sendto(b"x" * i, udp.getsockname())
    result = run.stop()
    counts = result.interfaces[0]
    records = list(pcapng_records(out))
    assert len(records) == (0 if partial == "skip" else 8)
    assert (counts.partial, counts.partial_left_out, counts.partial_completed) == {
        "mark": (8, 0, 0), "skip": (0, 8, 0), "complete": (0, 0, 8),
    }[partial]  # fmt: skip
    for record in records:
        frame = Ether(record.data)
        found = frame[UDP].chksum
        del frame[UDP].chksum
        right = Ether(bytes(frame))[UDP].chksum
        assert (found == right) == (partial == "complete")
        assert record.flags == (1 if partial == "complete" else 1 | 1 << 9)


def test_a_blocked_reader_never_holds_back_an_update(net: Net) -> None:
    hook, link = hook_with(PASS)
    programs = [load_program(str(PASS))[1], load_program(str(PORTFW))[1]]
    run = Running(net, "a1", hook)
    took = []
    for i in range(100):
        start = time.perf_counter()
        link.update(programs[i % 2], wait=True, timeout=5)
        took.append(time.perf_counter() - start)
        assert run.call.running
    run.stop(0)
    assert statistics.median(took) < 0.01  # a wait for packets lasts 50 ms


def test_counts_by_generation_add_up(net: Net) -> None:
    hook, link = hook_with(PASS)
    first, second = link.program, load_program(str(PORTFW))[1]
    run = Running(net, "a1", hook, latency_ms=1)
    raw = net.wire("a0")
    counts = []
    for i in range(40):
        counts.append(send(raw, (packet(n) for n in range(10 + i))))
        time.sleep(0.03)
        link.update(second if i % 2 == 0 else first)
    result = run.stop()
    assert result.packets == sum(counts)
    assert [row.packets for row in result.generations] == counts[-len(result.generations) :]
    assert len(result.generations) == 32 and result.generations_left_out == 8
    for row in result.generations:
        assert row.link_generation == row.generation
        assert row.program == ("pass" if row.generation % 2 else "portfw")
        assert row.packets == sum(row.actions.values())


def test_the_program_sees_interface_and_wall_time(net: Net, tmp_path: Path) -> None:
    """ingress_ifindex is the interface's own; the clock is wall time and goes on."""
    text = assembly(
        "see",
        "r6 = r1\ncall bpf_ktime_get_ns#5\nr2 = *(u32 *)(r6 +0)\nr3 = *(u32 *)(r6 +4)\nr4 = r2\n"
        "r4 += 40\nif r4 > r3 goto out\n*(u64 *)(r2 +20) = r0\nr5 = *(u32 *)(r6 +12)\n"
        "*(u32 *)(r2 +28) = r5\nout:\nr0 = 2\nexit\n",
    )
    out = tmp_path / "o.pcapng"
    run = Running(net, "b1", hook_with(program(tmp_path, text))[0], write=out)
    send(net.wire("b0"), [packet(i) for i in range(10)])
    run.stop()
    index = net.call(socket.if_nametoindex, "b1")
    records = list(pcapng_records(out))
    assert len(records) == 10
    for record in records:
        assert int.from_bytes(record.data[20:28], "little") == record.time_ns
        assert int.from_bytes(record.data[28:32], "little") == index
    assert abs(records[-1].time_ns - time.time_ns()) < 10 * 10**9


def test_limits(net: Net, tmp_path: Path) -> None:
    raw = net.wire("a0")
    hook, _ = hook_with(PASS)
    run = Running(net, "a1", hook, count=137)
    send(raw, (packet(i) for i in range(500)))
    result = run.call.result()
    assert (result.packets, result.ended) == (137, "count")

    start = time.monotonic()
    result = net.call(pf.live, "a1", hook, seconds=0.7)
    assert 0.7 <= time.monotonic() - start < 1.5
    assert result.ended == "time"

    run = Running(net, "a1", hook, size=20_000, write=tmp_path / "o.pcap", batch=16)
    send(raw, (packet(i, 500) for i in range(200)))
    result = run.call.result()
    assert result.ended == "size"
    assert 20_000 <= (tmp_path / "o.pcap").stat().st_size < 20_000 + 16 * 516


def test_rotation(net: Net, tmp_path: Path) -> None:
    run = Running(
        net, "a1", hook_with(PASS)[0], write=tmp_path / "o.pcap", rotate_bytes=10_000, files=3,
        batch=8,
    )  # fmt: skip
    send(net.wire("a0"), (packet(i, 484) for i in range(300)))
    result = run.stop()
    files = sorted(tmp_path.iterdir())
    assert [str(f) for f in files] == list(result.written) and len(files) == 3
    assert result.files_removed == int(files[-1].name.split(".")[1]) - 3 > 5
    numbers = []
    for file, count in zip(files, result.written.values(), strict=True):
        packets = pcap_packets(file)
        assert len(packets) == count
        numbers += [number_of(data) for data in packets]
        assert file.stat().st_size < 10_000 + 8 * 500
    assert all(f.stat().st_size >= 10_000 for f in files[:-1])
    assert numbers == list(range(300 - len(numbers), 300))  # nothing lost between two files

    run = Running(net, "a1", hook_with(PASS)[0], write=tmp_path / "t.pcap", rotate_seconds=0.4)
    result = run.stop(1.1)
    assert len(result.written) >= 3
    for path in result.written:
        assert pcap_packets(path) == []


def test_the_command_counts_and_prints(net: Net, tmp_path: Path) -> None:
    process = net.start("a1", PORTFW, "--json", "-c", 30, "-w", tmp_path / "o.pcap")
    said = wait_for(process, b"observing a1")
    assert b"--out" in said  # says that it filters nothing
    send(net.wire("a0"), (packet(i) for i in range(50)))
    done = finish(process)
    assert done.code == 0
    assert done.json["packets"] == 30 and done.json["ended"] == "count"
    assert done.json["interfaces"][0]["received"] >= 30 and done.json["ring_drops"] == 0
    assert done.json["generations"][0]["program"] == "portfw"
    process = net.start("a1", PASS, "--time", 0.3)
    done = finish(process)
    assert done.code == 0
    assert "dropped by the ring" in done.text and "observing a1" in done.text


def test_maps_are_filled_before_and_written_after(net: Net, tmp_path: Path) -> None:
    source, target = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text('{"sizes": [{"key": 7, "value": [{"packets": 1000, "bytes": 0}]}]}')
    stats = EXAMPLES / "stats.o"
    process = net.start(
        "a1",
        stats,
        "-c",
        30,
        "--maps",
        source,
        "--dump-map",
        f"sizes={target}",
        "--max-entries",
        "sizes=8",
    )
    wait_for(process, b"observing a1")
    send(net.wire("a0"), (packet(i) for i in range(50)))
    assert finish(process).code == 0
    values = {row["key"]: row["value"] for row in json.loads(target.read_text())}
    assert sum(each["packets"] for each in values.pop(7)) == 1000
    assert sum(each["packets"] for value in values.values() for each in value) == 30


def test_a_router_asks_the_machines_network(net: Net, tmp_path: Path) -> None:
    """`--network system` is the namespace's own; without it there are no links, and nothing is routed."""
    net.ip("addr", "add", "10.0.0.1/24", "dev", "a1")
    net.ip("addr", "add", "10.0.1.1/24", "dev", "b1")
    net.ip("route", "add", "192.0.2.0/24", "via", "10.0.1.2")
    net.ip("neigh", "add", "10.0.1.2", "lladdr", "02:00:00:00:00:99", "dev", "b1")
    net.ip("route", "add", "blackhole", "198.51.100.0/24")
    for name in ("a1", "b1"):
        forwarding = Path(f"/proc/sys/net/ipv4/conf/{name}/forwarding")
        net.call(forwarding.write_text, "1")
    targets = [bytes([192, 0, 2, 5]), bytes([198, 51, 100, 1])]
    frames = [
        bytes(12) + b"\x08\x00"
        + struct.pack(">BBHHHBBH4s4s", 0x45, 0, 46, n, 0, 64, 17, 0, bytes([10, 0, 0, 7]), targets[n % 2])
        + bytes(26)
        for n in range(40)
    ]  # fmt: skip
    router = Path(__file__).parent / "network" / "router.o"
    for more, expected in (
        (("--network", "system"), {"redirect": 20, "drop": 20}),
        ((), {"pass": 40}),
    ):
        process = net.start("a1", router, "--json", "-c", 40, *more)
        wait_for(process, b"observing a1")
        send(net.wire("a0"), frames)
        done = finish(process)
        assert {name: count for name, count in done.json["actions"].items() if count} == expected


def test_ctrl_c_completes_the_output(net: Net, tmp_path: Path) -> None:
    out = tmp_path / "o.pcapng"
    process = net.start("a1", PASS, "-w", out)
    wait_for(process, b"observing")
    sent = [packet(i) for i in range(100)]
    send(net.wire("a0"), sent)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 130
    assert [r.data for r in pcapng_records(out)] == sent
    assert "interrupted" in done.text


@pytest.mark.parametrize("extension", ["pcap", "pcapng"])
def test_kill_leaves_a_valid_file(net: Net, tmp_path: Path, extension: str) -> None:
    """What was flushed is whole; only a record that was just being written may be cut."""
    raw = net.wire("a0")
    for attempt in range(3):
        out = tmp_path / f"{attempt}.{extension}"
        process = net.start("a1", PASS, "-w", out, "--quiet")
        while not (out.exists() and out.stat().st_size):
            send(raw, (packet(i, 700) for i in range(50)))
            assert process.poll() is None
        sender = threading.Thread(target=send, args=(raw, (packet(i, 700) for i in range(40_000))))
        sender.start()
        time.sleep(0.2 + 0.05 * attempt)
        process.kill()
        process.communicate()
        sender.join()
        result = pf.replay(out, hook_with(PASS)[0])
        assert result.packets > 100 and len(result.errors) <= 1
        if shutil.which("tcpdump"):
            done = subprocess.run(
                ["tcpdump", "-nr", out, "-w", "/dev/null"], capture_output=True, text=True
            )
            assert "bad" not in done.stderr and (not done.returncode or "truncated" in done.stderr)
        if shutil.which("tshark"):
            done = subprocess.run(
                ["tshark", "-r", out, "-T", "fields", "-e", "frame.len"],
                capture_output=True,
                text=True,
            )
            assert done.stdout.splitlines() == ["700"] * result.packets
            assert not done.returncode or "cut short" in done.stderr
        if not result.errors:
            kind = dpkt.pcapng if extension == "pcapng" else dpkt.pcap
            with out.open("rb") as file:
                assert sum(1 for _ in kind.Reader(file)) == result.packets


def drop_net_raw() -> None:
    """Between fork and exec: this process can never have CAP_NET_RAW again."""
    ctypes.CDLL(None).prctl(24, 13, 0, 0, 0)


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (["nope", PASS], {}, ["nope:", "no such network interface", "lo", "a0"]),
        (["a1", PASS, "--out", "nope"], {}, ["nope:", "no such network interface"]),
        (["a1", PASS], {"preexec_fn": drop_net_raw}, ["a1:", "no permission", "CAP_NET_RAW"]),
        (["a1", PASS, "--out", "b1"], {"preexec_fn": drop_net_raw}, ["no permission"]),
        (["a1", PASS, "-w", "/nonexistent/o.pcap"], {}, ["/nonexistent/o.pcap", "No such file"]),
        (["a1", PASS, "--out", "a1"], {}, ["a1:", "two interfaces"]),
        (["a1", "absent.o"], {}, ["absent.o"]),
    ],
)  # fmt: skip
def test_refusals_are_one_sentence(
    net: Net, arguments: list[object], options: dict[str, object], words: list[str]
) -> None:
    done = finish(net.start(*arguments, **options))
    assert done.code == 1
    assert len(done.error.strip().splitlines()) == 1
    for word in words:
        assert word in done.error


@pytest.mark.parametrize(
    "arguments",
    [
        ["--both"], ["--files", "3", "-w", "x"], ["--size", "3"], ["--rotate-size", "1k"],
        ["--write", "drop"], ["--comment"], ["--rotate-size", "x", "-w", "x"],
        ["--out", "b1", "--outgoing"], ["--out", "b1", "--snaplen", "100"],
    ],
)  # fmt: skip
def test_usage_errors(net: Net, arguments: list[str]) -> None:
    assert finish(net.start("a1", PASS, *arguments)).code == 2


def test_an_interface_that_is_down_is_refused(net: Net) -> None:
    net.ip("link", "set", "a1", "down")
    done = finish(net.start("a1", PASS))
    assert done.code == 1
    assert "a1: the interface is down; ip link set a1 up" in done.error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("link", "set", "a1", "down"), "a1: the interface is down"),
        (("link", "del", "a1"), "a1: the interface is gone"),
    ],
)
def test_an_interface_that_goes_ends_the_run(
    net: Net, tmp_path: Path, change: tuple[str, ...], words: str
) -> None:
    out = tmp_path / "o.pcapng"
    process = net.start("a1", PASS, "-w", out, "--json", "--latency-ms", 200)
    wait_for(process, b"observing")
    sent = [packet(i) for i in range(100)]
    send(net.wire("a0"), sent)
    time.sleep(0.05)
    net.ip(*change)
    done = finish(process)
    assert done.code == 1
    assert words in done.error.splitlines()[-1]
    assert done.json["ended"] == "error" and done.json["packets"] == 100
    assert [r.data for r in pcapng_records(out)] == sent  # what came before is kept


def test_a_full_disk_ends_the_run(net: Net, tmp_path: Path) -> None:
    out = tmp_path / "o.pcap"
    process = net.start("a1", PASS, "-w", out, preexec_fn=limit_files)
    wait_for(process, b"observing")
    send(net.wire("a0"), (packet(i, 200) for i in range(100)))
    done = finish(process)
    assert done.code == 1
    assert f"{out}: write failed: File too large" in done.error
    kept = pcap_packets(out)
    assert kept == [packet(i, 200) for i in range(len(kept))] and kept


def test_snap_length(net: Net, tmp_path: Path) -> None:
    out = tmp_path / "o.pcap"
    run = Running(net, "a1", hook_with(PASS)[0], write=out, snaplen=70)
    sent = [packet(0, 1000), packet(1, 70), packet(2, 71, tag=b"\x81\0\0\x07")]
    send(net.wire("a0"), sent)
    run.stop()
    assert pcap_packets(out) == [p[:70] for p in sent]
    assert pf.replay(out, hook_with(PASS)[0]).bytes == 210


def test_the_scapy_backend(net: Net, tmp_path: Path) -> None:
    pytest.importorskip("scapy")
    out = tmp_path / "o.pcap"
    run = Running(net, "a1", hook_with(PASS)[0], write=out, backend="scapy")
    sent = [packet(i, 60 + i % 900, tag=b"\x81\0\0\x07" if i % 3 == 0 else b"") for i in range(400)]
    send(net.wire("a0"), sent, pause_every=20)
    result = run.stop(1)
    assert pcap_packets(out) == sent
    assert result.interfaces[0].packets == 400 and result.ring_drops is None
    with pytest.raises(pf.InputError, match="scapy"):
        net.call(pf.LiveSource, "a1", backend="scapy", outgoing=True)
    with pytest.raises(pf.InterfaceError, match="nope"):
        net.call(pf.LiveSource, "nope", backend="scapy")


def test_scapy_is_imported_only_when_asked_for(net: Net) -> None:
    done = net.call(
        subprocess.run,
        [
            sys.executable, "-c",
            "import sys, pktfilter as pf; h = pf.Hook(); pf.live('a1', h, seconds=0.1); "
            "print('scapy' in sys.modules)",
        ],
        env={**os.environ, "PYTHONPATH": str(Path(pf.__file__).parents[1])},
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "pigeon"}, {"partial": "guess"}, {"snaplen": 10}, {"ring_mib": 0},
        {"latency_ms": 0},
    ],
)  # fmt: skip
def test_impossible_options_are_named(options: dict[str, object]) -> None:
    with pytest.raises(pf.InputError, match="expected"):
        pf.LiveSource("lo", **options)


def test_tables_show_rates_by_generation(net: Net) -> None:
    from rich.console import Console

    shown: list[str] = []
    table = LiveTable()

    def text(thing: object) -> str:
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(thing)
        return console.export_text()

    hook, link = hook_with(PASS)
    run = Running(
        net, "a1", hook, on_progress=lambda r: shown.append(text(table.render(r))),
        progress_seconds=0.1,
    )  # fmt: skip
    raw = net.wire("a0")
    send(raw, (packet(i) for i in range(500)), pause_every=5)
    link.update(load_program(str(PORTFW))[1])
    send(raw, (packet(i) for i in range(500)), pause_every=5)
    result = run.stop()
    assert any("portfw" in screen and "packet/s" in screen for screen in shown)
    summary = text(live_summary(result))
    for word in ("pass", "portfw", "1,000", "0 dropped by the ring", "observing a1"):
        assert word in summary
    json.dumps(result.to_json())
    assert receive(raw, 0.1) == []
