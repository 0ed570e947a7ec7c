"""Live interfaces as a filter: what arrives is what the verdicts let through; replacement under traffic."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import PASS, PORTFW, ROOT, assembly, finish, program
from live_net import Net, namespace, number_of, packet, pcapng_records, receive, send
from test_live import Running, hook_with, wait_for

import pktfilter as pf
from pktfilter.cli.programs import load_program

#: The action is in the packet, at byte 18.
BY_PACKET = assembly(
    "choose",
    "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 19\nr0 = 0\n"
    "if r4 > r3 goto out\nr0 = *(u8 *)(r2 +18)\nout:\nexit\n",
)
SECONDS = float(os.environ.get("PKTFILTER_SOAK", "3"))


@pytest.fixture
def net() -> Iterator[Net]:
    with namespace() as made:
        yield made


def stamping(tmp_path: Path, number: int, offset: int = 20) -> pf.Program:
    """Writes its own number into the packet and passes it."""
    text = assembly(
        f"stamp{number}",
        "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\n"
        f"r4 += {offset + 4}\nif r4 > r3 goto out\n*(u32 *)(r2 +{offset}) = {number}\nout:\n"
        "r0 = 2\nexit\n",
    )
    return load_program(str(program(tmp_path, text, f"stamp{number}.s")))[1]


def actions_of(number: int) -> int:
    """Every action, in an order without period 5; 7 is no action and counts as ABORTED."""
    return (0, 1, 2, 3, 4, 2, 1, 7, 2, 4, 3)[number % 11]


@pytest.mark.parametrize("both", [False, True])
def test_what_arrives_is_what_the_verdicts_let_through(
    net: Net, tmp_path: Path, both: bool
) -> None:
    hook, _ = hook_with(program(tmp_path, BY_PACKET))
    run = Running(net, "a1", hook, out="b1", both=both, promiscuous=True)
    left, right = net.wire("a0"), net.wire("b0")
    from_left = [packet(i, 60 + i % 1400, action=actions_of(i)) for i in range(4000)]
    from_right = [packet(i, 60 + i % 700, action=actions_of(i // 2)) for i in range(10000, 12000)]
    senders = [
        threading.Thread(target=send, args=(raw, packets), kwargs={"pause_every": 50})
        for raw, packets in ((left, from_left), (right, from_right))
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    result = run.stop()
    assert result.ring_drops == 0
    assert all(s.dropped == s.too_long == s.refused == 0 for s in result.sent)

    def through(packets: list[bytes]) -> list[bytes]:
        return [p for p in packets if p[18] in (pf.XDP.PASS, pf.XDP.REDIRECT)]

    def bounced(packets: list[bytes]) -> list[bytes]:
        return [p for p in packets if p[18] == pf.XDP.TX]

    at_left, at_right = receive(left), receive(right)
    left_first = [p for p in at_left if number_of(p) < 10000]
    right_first = [p for p in at_right if number_of(p) < 10000]
    assert right_first == through(from_left)
    assert left_first == bounced(from_left)
    left_second = [p for p in at_left if number_of(p) >= 10000]
    right_second = [p for p in at_right if number_of(p) >= 10000]
    assert left_second == (through(from_right) if both else [])
    assert right_second == (bounced(from_right) if both else [])
    assert result.packets == len(from_left) + both * len(from_right)
    assert [s.sent for s in result.sent] == [len(at_left), len(at_right)]
    assert [s.sent_bytes for s in result.sent] == [sum(map(len, at_left)), sum(map(len, at_right))]


def test_packets_leave_as_the_program_left_them(net: Net, tmp_path: Path) -> None:
    """A tag is pushed: what is sent, and written besides, is four bytes longer."""
    vlan = str(PASS.parent / "vlan.o") + ":vlan_push"
    hook, _ = hook_with(vlan)
    out = tmp_path / "o.pcapng"
    run = Running(net, "a1", hook, out="b1", write=out)
    left, right = net.wire("a0"), net.wire("b0")
    sent = [packet(i, 60 + i) for i in range(200)]
    send(left, sent, pause_every=20)
    result = run.stop()
    written = [r.data for r in pcapng_records(out)]
    expected = [load_program(vlan)[1].test_run(p).data for p in sent[:5]]
    assert written[:5] == expected and len(written) == 200
    assert [len(p) for p in written] == [len(p) + 4 for p in sent]
    assert result.sent[1].sent == 200
    assert [p[:12] + p[16:] for p in written] == sent
    assert receive(right) == sent  # the kernel took the tag out again


def test_a_packet_too_long_for_the_other_side_is_counted(net: Net) -> None:
    net.ip("link", "set", "b1", "mtu", "500")
    run = Running(net, "a1", hook_with(PASS)[0], out="b1")
    left, right = net.wire("a0"), net.wire("b0")
    send(left, [packet(i, size) for i, size in enumerate([100, 1000, 514, 515, 200])])
    result = run.stop()
    assert [number_of(p) for p in receive(right)] == [0, 2, 4]
    assert (result.sent[1].sent, result.sent[1].too_long) == (3, 2)


def test_connections_through_the_filter_work(net: Net, tmp_path: Path) -> None:
    """Two machines talk TCP over the filter, although their devices leave the checksums open."""
    with namespace() as other:
        import socket as sockets

        net.ip("addr", "add", "10.7.0.1/24", "dev", "a0")
        other.ip("link", "del", "b0")
        net.call(
            lambda: net._ip("link", "set", "b0", "netns", f"/proc/{os.getpid()}/fd/{other._fd}")
        )
        other.ip("addr", "add", "10.7.0.2/24", "dev", "b0")
        other.ip("link", "set", "b0", "up")
        for one, name in ((net, "a0"), (other, "b0")):
            # Packets longer than the link, which only the device would split, cannot be sent on.
            one.ip("link", "set", name, "gso_max_segs", "1")
        run = Running(net, "a1", hook_with(PASS)[0], out="b1", both=True)
        server = other.socket(sockets.AF_INET, sockets.SOCK_STREAM)
        server.bind(("10.7.0.2", 0))
        server.listen()
        server.settimeout(10)
        client = net.socket(sockets.AF_INET, sockets.SOCK_STREAM)
        client.settimeout(10)
        client.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            text = os.urandom(100_000)
            client.sendall(text)
            client.shutdown(sockets.SHUT_WR)
            got = b""
            while len(got) < len(text):
                got += peer.recv(1 << 16)
        result = run.stop(0.1)
        assert got == text
        assert sum(i.partial_completed for i in result.interfaces) > 50


def test_the_command_filters_and_ends_on_ctrl_c(net: Net) -> None:
    process = net.start("a1", PASS, "--out", "b1", "--both", "--json")
    assert b"filtering a1 <-> b1" in wait_for(process, b"filtering")
    left, right = net.wire("a0"), net.wire("b0")
    send(left, [packet(1)])
    send(right, [packet(2)])
    assert [number_of(p) for p in receive(right)] == [1]
    assert [number_of(p) for p in receive(left)] == [2]
    process.send_signal(signal.SIGTERM)
    done = finish(process)
    assert done.code == 130
    assert done.json["ended"] == "interrupted"
    assert [s["sent"] for s in done.json["sent"]] == [1, 1]


def test_the_documented_commands(net: Net, tmp_path: Path) -> None:
    """Every `pktfilter live` of the README and docs/live.md, on the interfaces of the tests."""
    lines = []
    for name in ("README.md", "docs/live.md"):
        text = (ROOT / name).read_text()
        lines += re.findall(r"^pktfilter live (.*?)(?:\s+#.*)?$", text, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        words = line.replace("fw.o", "portfw.o").replace("portportfw.o", "portfw.o").split()
        names = {
            "eth0": "a1",
            "eth1": "a1",
            "eth2": "b1",
            "passed.pcapng": str(tmp_path / "o.pcapng"),
        }
        words = [
            str(PORTFW) if word.endswith("portfw.o") else names.get(word, word) for word in words
        ]
        done = finish(net.start(*words, "--time", 0.2))
        assert done.code == 0, line


def test_the_other_interface_going_away_ends_the_run(net: Net) -> None:
    process = net.start("a1", PASS, "--out", "b1", "--quiet")
    time.sleep(1.5)
    net.ip("link", "set", "b1", "down")
    left = net.wire("a0")
    for _ in range(50):
        send(left, [packet(1)])
        time.sleep(0.05)
        if process.poll() is not None:
            break
    done = finish(process)
    assert done.code == 1
    assert "b1: the interface is down" in done.error
    assert len(done.error.splitlines()) == 1


def test_replacement_under_traffic(net: Net, tmp_path: Path) -> None:
    """An update every 10 ms and a rollback every 100 ms while packets flow between two interfaces.

    Each program stamps its number into the packets. Every packet sent is seen or counted as dropped by
    the ring; each has exactly one generation's stamp, that of the program that its verdict names; none
    runs without a program; and what arrives at the other side is exactly what was let through.
    """
    out = tmp_path / "o.pcapng"
    programs = [stamping(tmp_path, number) for number in range(1, 6)]
    hook = pf.Hook("ingress")
    link = hook.attach(programs[0])
    owner = {1: "stamp1"}
    run = Running(net, "a1", hook, out="b1", write=out, comment=True, ring_mib=64)
    left, right = net.wire("a0"), net.wire("b0")
    sent = 0
    running = True
    arrived: list[bytes] = []

    def sender() -> None:
        nonlocal sent
        while running:
            send(left, (packet(sent + i) for i in range(20)))
            sent += 20
            time.sleep(0.0005)

    def receiver() -> None:
        arrived.extend(receive(right, 1.0))

    threads = [threading.Thread(target=sender), threading.Thread(target=receiver)]
    for thread in threads:
        thread.start()
    start = time.monotonic()
    updates = rollbacks = 0
    while time.monotonic() - start < SECONDS:
        due = start + (updates + rollbacks + 1) * 0.01
        time.sleep(max(0.0, due - time.monotonic()))
        if (updates + rollbacks) % 10 == 9 and hasattr(link, "rollback"):
            link.rollback()
            rollbacks += 1
        else:
            current = link.program
            choices = [p for p in programs if p is not current]
            link.update(choices[updates % len(choices)], wait=updates % 2 == 0)
            updates += 1
        assert link.program is not None
        owner[link.generation] = link.program.name
    running = False
    threads[0].join()
    result = run.stop(0.5)
    threads[1].join()
    records = list(pcapng_records(out))
    (counts,) = result.interfaces
    assert result.uncovered == 0 and result.faults == 0
    assert counts.received == sent and counts.unread == 0
    assert sent == len(records) + counts.dropped == result.packets + counts.dropped
    numbers = [number_of(r.data) for r in records]
    assert len(set(numbers)) == len(numbers)
    last = 0
    for record in records:
        words = record.comment.split()
        name, generation = words[1], int(words[3])
        assert name == owner[generation]
        assert record.data[20:24] == int(name.removeprefix("stamp")).to_bytes(4, "little")
        original = packet(number_of(record.data))
        assert record.data[:20] == original[:20] and record.data[24:] == original[24:]
        assert generation >= last
        last = generation
    assert updates + rollbacks >= SECONDS * 60
    assert result.sent[1].sent == result.packets
    assert Counter(arrived) == Counter(r.data for r in records)
    print(
        json.dumps(
            {
                "sent": sent, "seen": len(records), "dropped": counts.dropped,
                "updates": updates, "rollbacks": rollbacks, "generations": len(owner),
                "packets_per_s": round(sent / SECONDS),
            }
        )
    )  # fmt: skip


def test_redirects_leave_by_their_ports(net: Net, tmp_path: Path) -> None:
    """`live --port 3=b0`: what is redirected to 3 arrives behind b0, and nowhere else."""
    net.ip("link", "add", "name", "c0", "type", "veth", "peer", "name", "c1")
    for end in ("c0", "c1"):
        net.ip("link", "set", end, "up")
    body = "r1 = 3\nr2 = 0\ncall bpf_redirect\nexit\n"
    out = tmp_path / "left.pcap"
    prog = program(tmp_path, assembly("to3", body), "to3.s")
    process = net.start(
        "a1", prog, "--port", "3=b0", "--port", f"4={out}", "--count", "50", "--json"
    )
    right, other = net.wire("b1"), net.wire("c1")
    assert process.stderr is not None
    while b"observing" not in process.stderr.readline():
        assert process.poll() is None
    left = net.wire("a0")
    sent = [packet(i, 60 + i) for i in range(50)]
    send(left, sent)
    told = finish(process).json
    assert told["redirects"] == {
        "3": {"packets": 50, "bytes": sum(map(len, sent)), "dropped": 0, "errors": 0}
    }
    assert told["sent"][0]["name"] == "b0" and told["sent"][0]["sent"] == 50
    assert told["written"] == {str(out): 0}
    right.settimeout(5)
    assert [right.recv(65536) for _ in sent] == sent
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        other.recv(65536)
