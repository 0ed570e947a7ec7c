"""Replay onto an interface: what arrives at the other end of a pair is what the program let through."""

from __future__ import annotations

import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import readers
from commandline import COMMAND, DEMO, ENVIRONMENT, PASS, finish, program, run
from live_net import Net, namespace, packet, receive
from test_live_filter import BY_PACKET, actions_of, stamping
from test_replay import capture, hook_of, pass_all

import pktfilter as pf
from pktfilter.cli.programs import load_program

LET_THROUGH = (pf.XDP.PASS, pf.XDP.TX, pf.XDP.REDIRECT)


@pytest.fixture
def net() -> Iterator[Net]:
    with namespace() as made:
        yield made


def pcap_of(packets: list[bytes], *, step_ns: int = 1000, cut: int = 0) -> bytes:
    """A capture of these packets; each was `cut` bytes longer on the wire."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)]
    for number, data in enumerate(packets):
        seconds, rest = divmod(number * step_ns, 10**9)
        out.append(struct.pack("<IIII", seconds, rest, len(data), len(data) + cut) + data)
    return b"".join(out)


def replayed(net: Net, *arguments: Any, **options: Any) -> pf.ReplayResult:
    result: pf.ReplayResult = net.call(pf.replay, *arguments, **options)
    return result


@pytest.mark.parametrize("speed", ["max", "1x", "mbps:400"])
def test_what_arrives_is_what_passed(net: Net, tmp_path: Path, speed: str) -> None:
    packets = [packet(n, 60 + n % 1400, action=actions_of(n)) for n in range(3000)]
    through = [p for p in packets if p[18] in LET_THROUGH]
    path = capture(tmp_path, pcap_of(packets, step_ns=20_000))
    hook, _ = hook_of(load_program(str(program(tmp_path, BY_PACKET)))[1])
    wire = net.wire("a1")
    result = replayed(net, path, hook, inject="a0", speed=speed)
    assert receive(wire) == through
    sent = result.injected
    assert sent is not None
    assert (sent.name, sent.sent) == ("a0", len(through))
    assert sent.sent_bytes == sum(map(len, through))
    assert sent.dropped == sent.too_long == sent.cut == sent.refused == 0
    assert result.packets == len(packets)
    assert result.timing is not None
    assert sent.pps is not None
    assert sent.pps > 0


def test_packets_leave_as_the_program_left_them(net: Net, tmp_path: Path) -> None:
    packets = [packet(n, 100 + n) for n in range(300)]
    path = capture(tmp_path, pcap_of(packets))
    hook, link = hook_of(stamping(tmp_path, 7))
    wire = net.wire("a1")
    result = replayed(
        net, path, hook, inject="a0", swaps=[(100, link, stamping(tmp_path, 8))], loop=2, limit=500
    )
    want = [
        p[:20] + struct.pack("<I", 7 if n < 100 else 8) + p[24:]
        for n, p in enumerate((packets + packets)[:500])
    ]
    assert receive(wire) == want
    assert result.injected is not None
    assert result.injected.sent == 500


def test_a_file_and_an_interface(net: Net, tmp_path: Path) -> None:
    """REDIRECT goes out of the interface, as in a live filter; -w has its own choice."""
    packets = [packet(n, action=actions_of(n)) for n in range(500)]
    path, out = capture(tmp_path, pcap_of(packets)), tmp_path / "out.pcap"
    hook, _ = hook_of(load_program(str(program(tmp_path, BY_PACKET)))[1])
    wire = net.wire("a1")
    result = replayed(net, path, hook, inject="a0", write=out)
    assert receive(wire) == [p for p in packets if p[18] in LET_THROUGH]
    written = [record.data for record in readers.walk(out).records]
    assert written == [p for p in packets if p[18] in (pf.XDP.PASS, pf.XDP.TX)]
    assert result.written == {str(out): len(written)}


def test_packets_of_any_interface_of_a_pcapng(net: Net) -> None:
    path = DEMO.parent / "two-interfaces.pcapng"
    records = readers.walk(path).records
    whole = [record.data for record in records if record.cap_len == record.orig_len]
    assert 0 < len(whole) < len(records)
    result = replayed(net, path, pass_all(), inject="a0")
    sent = result.injected
    assert sent is not None
    assert (sent.sent, sent.cut, sent.attempted) == (
        len(whole), len(records) - len(whole), len(records),
    )  # fmt: skip
    assert sent.sent_bytes == sum(map(len, whole))


def test_what_the_interface_does_not_take_is_counted(net: Net, tmp_path: Path) -> None:
    """Longer than the MTU, and shorter than a header; the others go on."""
    sizes = [60, 1514, 1515, 3000, 60, 13, 1514]
    packets = [packet(n, size)[:size] for n, size in enumerate(sizes)]
    path = capture(tmp_path, pcap_of(packets))
    wire = net.wire("a1")
    result = replayed(net, path, pass_all(), inject="a0", speed="pps:10000")
    sent = result.injected
    assert sent is not None
    assert receive(wire) == [p for p in packets if 14 <= len(p) <= 1514]
    assert (sent.sent, sent.too_long, sent.refused, sent.cut) == (4, 2, 1, 0)
    assert result.errors == []


def test_packets_that_were_captured_cut_are_not_sent(net: Net, tmp_path: Path) -> None:
    path = capture(tmp_path, pcap_of([packet(n) for n in range(5)], cut=1))
    done = net.call(run, "replay", PASS, path, "--inject", "a0")
    assert "a0: 0 sent, 5 not sent: the capture holds only their beginning" in done.text


def test_several_workers_send_in_order_and_only_at_full_speed(net: Net, tmp_path: Path) -> None:
    packets = [packet(n, 60 + n % 100) for n in range(2000)]
    path = capture(tmp_path, pcap_of(packets))
    wire = net.wire("a1")
    result = replayed(net, path, pass_all(), inject="a0", workers=3)
    assert receive(wire) == packets
    assert result.workers == 3
    done = net.call(
        run, "replay", PASS, path, "--inject", "a0", "--workers", "2", "--speed", "1x", code=2
    )
    assert "packets are sent when they are due by one worker alone" in done.error


def test_the_command(net: Net, tmp_path: Path) -> None:
    packets = [packet(n) for n in range(200)]
    path = capture(tmp_path, pcap_of(packets))
    wire = net.wire("a1")
    done = net.call(run, "replay", PASS, path, "--inject", "a0", "--speed", "pps:20000", "--json")
    assert receive(wire) == packets
    sent = done.json["injected"]
    assert (sent["name"], sent["sent"], sent["sent_bytes"]) == ("a0", 200, 200 * 64)
    assert done.json["timing"]["asked_pps"] == 20000
    done = net.call(run, "replay", PASS, path, "--inject", "a0")
    assert "a0: 200 sent" in done.text
    assert "speed max: " in done.text


def test_interfaces_that_cannot_be_used(net: Net, tmp_path: Path) -> None:
    path = capture(tmp_path, pcap_of([packet(0)]))
    done = net.call(run, "replay", PASS, path, "--inject", "a9", code=1)
    assert "a9: there is no such network interface, expected one of: lo, " in done.error
    net.ip("link", "set", "a0", "down")
    done = net.call(run, "replay", PASS, path, "--inject", "a0", code=1)
    assert "a0: the interface is down" in done.error


def test_an_interface_that_goes_ends_the_replay(net: Net, tmp_path: Path) -> None:
    path = capture(tmp_path, pcap_of([packet(n) for n in range(50)]))
    wire = net.wire("a1")
    process = net.call(
        subprocess.Popen,
        [*COMMAND, "replay", str(PASS), str(path), "--inject", "a0", "--speed", "pps:50", "--loop",
         "0", "--json", "-w", str(tmp_path / "out.pcap")],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wire.settimeout(60)
    wire.recv(2000)  # it has begun
    net.ip("link", "set", "a0", "down")
    done = finish(process, timeout=60)
    assert done.code == 1
    assert "a0: the interface is down" in done.error
    report = done.json
    assert 0 < report["injected"]["sent"] < report["packets"]
    assert len(report["errors"]) == 1
    assert report["written"][str(tmp_path / "out.pcap")] == report["packets"]


def test_a_signal_ends_an_injection(net: Net, tmp_path: Path) -> None:
    path = capture(tmp_path, pcap_of([packet(n) for n in range(50)]))
    wire = net.wire("a1")
    process = net.call(
        subprocess.Popen,
        [*COMMAND, "replay", str(PASS), str(path), "--inject", "a0", "--speed", "pps:0.001", "--json"],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wire.settimeout(60)
    wire.recv(2000)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 130
    assert done.json["injected"]["sent"] == 1
