"""Ports against Linux: frames that a live-frame test run redirects (BPF_F_TEST_XDP_LIVE_FRAMES), where they arrive.

A namespace of the test's own has a veth pair for each port; a program on the far ends makes them take
redirected frames, and raw sockets there see what came. The same packets go through a replay.
"""

from __future__ import annotations

import ctypes
import random
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import kernel as k
import port_programs as pp
import pytest
from commandline import pcap
from live_net import Net, namespace

import pktfilter as pf

pytestmark = k.requires_kernel()
LIVE_FRAMES = 2
#: pktfilter's number of a port (1: where packets come from) and the interface that it is in the namespace.
PORTS = {1: "a0", 3: "b0", 4: "c0"}
NOWHERE = 200  # no interface has this number
#: What a CPU of a cpumap hands to the stack, where the frame came in.
STACK = 0
DEVMAP_PROGRAM, CPUMAP_PROGRAM = 33, 35  # expected attach types


class Wires:
    """The namespace with a0-a1, b0-b1, c0-c1, and what arrives at the far ends."""

    def __init__(self, net: Net, stack: ExitStack) -> None:
        self.net = net
        net.ip("link", "add", "name", "c0", "type", "veth", "peer", "name", "c1")
        for end in ("c0", "c1"):
            net.ip("link", "set", end, "up")
        taker = stack.enter_context(
            k.KernelProgram.load(bytes.fromhex("b700000002000000 9500000000000000"))
        )
        self.index = {port: net.call(socket.if_nametoindex, name) for port, name in PORTS.items()}
        self.sockets: dict[int, socket.socket] = {}
        for port, name in PORTS.items():
            far = net.call(socket.if_nametoindex, name[0] + "1")
            stack.enter_context(net.call(k.KernelLink, taker, far))
            self.sockets[port] = net.wire(name[0] + "1")
        self.sockets[STACK] = net.wire("a0")
        for sock in self.sockets.values():
            sock.setblocking(False)

    def ifindex(self, port: int) -> int:
        """The number in the namespace for one of pktfilter's."""
        return self.index.get(port, NOWHERE)

    def send(self, program: k.KernelProgram, data: bytes) -> None:
        """One frame through the program, as if it had come in by a0."""
        self.net.call(live_run, program, data, self.index[1])

    def arrived(self) -> dict[int, list[bytes]]:
        """What came to each port since the last call."""
        time.sleep(0.2)  # a CPU's thread and veth hand frames on in their own time
        got: dict[int, list[bytes]] = defaultdict(list)
        for port, sock in self.sockets.items():
            while True:
                try:
                    got[port].append(sock.recv(65536))
                except BlockingIOError:
                    break
        return dict(got)


def live_run(program: k.KernelProgram, data: bytes, ifindex: int) -> None:
    """BPF_PROG_TEST_RUN with live frames: the action is carried out."""
    context = k._XDP_MD.pack(0, len(data), 0, ifindex, 0, 0)
    source, given = k._buffer(data), k._buffer(context)
    packed = struct.pack(
        "<IIIIQQIIIIQQIII",
        program.fd, 0, len(data), 0, k._address(source), 0, 1, 0, len(context), 0,
        k._address(given), 0, LIVE_FRAMES, 0, 1,
    )  # fmt: skip
    attr = ctypes.create_string_buffer(packed, len(packed))
    result = k._bpf(k._PROG_TEST_RUN, attr)
    if result < 0:
        raise k.KernelError(-result, "live test run")


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with namespace() as net, ExitStack() as stack:
        try:
            yield Wires(net, stack)
        except k.KernelError as error:
            pytest.skip(f"no live frames here: {error}")


DEV = {0: 3, 1: 4, 2: 1, 5: 9}
DEVH = {100: 4, 7: 3, 9: 1}


def kernel_maps(wires: Wires, stack: ExitStack) -> dict[str, k.KernelMap]:
    """The maps of the router; entries whose device does not exist cannot be made in the kernel."""
    maps = {
        name: stack.enter_context(wires.net.call(k.KernelMap, kind, 4, 8, 16))
        for name, kind in (("dev", "devmap"), ("devh", "devmap_hash"), ("cpus", "cpumap"))
    }
    for name, entries in (("dev", DEV), ("devh", DEVH)):
        for key, port in entries.items():
            if port in PORTS:
                value = struct.pack("<Ii", wires.ifindex(port), -1)
                wires.net.call(maps[name].update, key.to_bytes(4, "little"), value)
    return maps


def traffic(count: int) -> list[bytes]:
    rng = random.Random(7)
    # Never 3: where there is no entry that is TX, which a live-frame run carries out too.
    flags = (0, 0, 1, 2, pp.BROADCAST, pp.BROADCAST | pp.EXCLUDE, pp.EXCLUDE, 32)
    return [
        pp.packet(
            rng.choice((pp.VIA, pp.DEV, pp.HASH)), rng.choice((0, 1, 2, 3, 4, 7, 9, 100)),
            rng.choice(flags), number, rng.choice((60, 64, 600, 1400)),
        )
        for number in range(count)
    ]  # fmt: skip


def replayed(
    tmp_path: Path, obj: Any, packets: list[bytes], **options: Any
) -> dict[int, list[bytes]]:
    """What reaches the ports in a replay."""
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap(packets))
    got: dict[int, list[bytes]] = defaultdict(list)
    hook = pf.Hook("ingress")
    hook.attach(obj.programs["route"])
    ports = {port: (lambda data, ns, p=port: got[p].append(data)) for port in PORTS}
    pf.replay(source, hook, ports=ports, **options)
    return dict(got)


def test_devmaps_and_broadcasts_reach_the_same_ports(wires: Wires, tmp_path: Path) -> None:
    spec = pp.spec_of(pp.router())
    obj = spec.load()
    for name, entries in (("dev", {k_: v for k_, v in DEV.items() if v in PORTS}), ("devh", DEVH)):
        for key, port in entries.items():
            obj.maps[name][key.to_bytes(4, "little")] = port.to_bytes(8, "little")
    packets = traffic(300)
    with ExitStack() as stack:
        maps = kernel_maps(wires, stack)
        program = stack.enter_context(
            k.KernelProgram.load(
                spec.programs["route"].insns,
                maps={n: maps[name] for n, name in spec.programs["route"].map_refs.items()},
            )
        )
        wires.arrived()
        for data in packets:
            way, key = data[14:16]
            if way == pp.VIA:  # the packet names an interface by its number in the namespace
                key = wires.ifindex(key)
            wires.send(program, data[:15] + bytes((key,)) + data[16:])
        linux = wires.arrived()
        linux.pop(STACK, None)  # PASS
    ours = replayed(tmp_path, obj, packets)

    def comparable(got: dict[int, list[bytes]]) -> dict[int, list[tuple[int, bytes]]]:
        return {
            port: [(pp.numbers([d])[0], d[:15] + d[16:]) for d in rows if d[12:14] == b"\x88\xb5"]
            for port, rows in got.items()
        }

    assert {p: len(r) for p, r in ours.items()} == {p: len(r) for p, r in linux.items()}
    assert comparable(ours) == comparable(linux)
    assert all(ours[port] for port in PORTS)


def test_programs_of_entries_do_the_same(wires: Wires, tmp_path: Path) -> None:
    """Devmap programs with and without broadcast, cpumap programs that pass, drop and redirect on."""
    spec = pp.spec_of(
        pp.router()
        + pp.secondary("xdp/devmap", "egress", 5)
        + pp.secondary("xdp/cpumap", "oncpu", 7)
    )
    obj = spec.load()
    egress, oncpu = obj.programs["egress"], obj.programs["oncpu"]
    obj.maps["dev"][0] = (3, egress)
    obj.maps["dev"][1] = (4, None)
    obj.maps["devh"][100] = (4, egress)
    obj.maps["devh"][7] = (3, None)
    obj.maps["cpus"][0] = (192, oncpu)
    rng = random.Random(11)
    packets = []
    for number in range(400):
        way, keys = rng.choice(((pp.DEV, (0, 1)), (pp.HASH, (7, 100)), (pp.CPU, (0,))))
        flags = rng.choice((0, 0, pp.BROADCAST)) if way != pp.CPU else 0
        size, action = rng.choice((60, 64, 600, 1400)), rng.randrange(6)
        packets.append(pp.packet(way, rng.choice(keys), flags, number, size, action))
    with ExitStack() as stack:
        maps = {
            name: stack.enter_context(wires.net.call(k.KernelMap, kind, 4, 8, 16))
            for name, kind in (("dev", "devmap"), ("devh", "devmap_hash"), ("cpus", "cpumap"))
        }
        programs = {
            name: stack.enter_context(
                k.KernelProgram.load(
                    program.insns,
                    maps={n: maps[used] for n, used in program.map_refs.items()},
                    expected_attach_type={"egress": DEVMAP_PROGRAM, "oncpu": CPUMAP_PROGRAM}.get(
                        name, 0
                    ),
                )
            )
            for name, program in spec.programs.items()
        }
        for name, key, port, used in (
            ("dev", 0, 3, "egress"), ("dev", 1, 4, None), ("devh", 100, 4, "egress"),
            ("devh", 7, 3, None), ("cpus", 0, None, "oncpu"),
        ):  # fmt: skip
            first = 192 if port is None else wires.ifindex(port)
            value = struct.pack("<Ii", first, programs[used].fd if used else -1)
            wires.net.call(maps[name].update, key.to_bytes(4, "little"), value)
        wires.arrived()
        for data in packets:
            wires.send(programs["route"], data)
        linux = wires.arrived()
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap(packets))
    got: dict[int, list[bytes]] = defaultdict(list)
    hook = pf.Hook("ingress")
    hook.attach(obj.programs["route"])
    sinks = {(port or "cpu:0"): (lambda d, ns, p=port: got[p].append(d)) for port in (0, 3, 4)}
    pf.replay(source, hook, ports=sinks)
    names = {wires.ifindex(port): port for port in PORTS} | {0: 0}

    def translated(data: bytes) -> tuple[Any, ...]:
        """Interfaces by pktfilter's numbers, where a program wrote any."""
        if data[22:26] == b"\xa5" * 4:
            return (data,)
        rx, queue, tx, tag = struct.unpack_from("<4I", data, 22)
        return data[:22], names[rx], queue, names[tx], tag, data[38:]

    def plain(data: bytes) -> tuple[Any, ...]:
        if data[22:26] == b"\xa5" * 4:
            return (data,)
        return data[:22], *struct.unpack_from("<4I", data, 22), data[38:]

    assert {p: len(rows) for p, rows in got.items()} == {p: len(r) for p, r in linux.items() if r}
    for port, rows in got.items():  # a CPU's thread runs when it likes: order is each way's own
        assert sorted(map(plain, rows)) == sorted(map(translated, linux[port]))
    assert set(got) == {0, 3, 4}
