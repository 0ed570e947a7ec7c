"""One object of the corpus in the engine and in the kernel, run over packets and compared.

The kernel's program, and the engine's in three tiers, each with maps of their own, get the same
packets in the same order; return value, packet bytes and metadata are compared packet by packet, and
the contents of all maps afterwards. That happens with empty maps and with filled ones.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filling
import kernel
import kernel_kfuncs
import live_net
import packets
import rare_packets
import rewriting
from differential import kernel_map
from kernel_rings import KernelRing
from scored import Object

import pktfilter as pf
from pktfilter.network.system import read_system
from pktfilter.objects import ObjectSpec, ProgramSpec
from pktfilter.objects.kinds import helper_name

TIERS = ("checked", "interp", "jit")
PACKETS = 320
"""Frames for each program and state of its maps, at least 300."""
JUMBO_SIZES = (3001, 3519, 3520, 3521, 4095, 4096, 4097, 5000, 7616, 8192, 8999, 9000)
STATES = ("empty", "filled")
PROG_ARRAYS = {
    "tailcall": {
        "parsers": dict(
            enumerate(("check_vlan", "check_ipv4", "check_ipv6", "check_tcp", "check_udp"))
        )
    },
    "legacy_chain": {"stages": {1: "four", 2: "arp"}},
}
"""What a loader puts into prog arrays that the objects leave empty."""
ATTACH = {"": 0, "devmap": 33, "cpumap": 35}
NO_TEST_RUN = {
    ("meta_hints", "meta_hints"): "kfuncs of a device: test_kfuncs.py",
    ("spread", "spread_on_egress"): "egress_ifindex, in devmap entries only: test_ports_kernel.py",
}
"""Programs that BPF_PROG_TEST_RUN does not take, and where their results are tested."""
ASK_NETWORK = frozenset({69, 163})
"""Helpers that ask about interfaces and routes: run in a namespace that both sides know."""
_UNREAD = (
    "prog_array",
    "perf_event_array",
    "devmap",
    "devmap_hash",
    "cpumap",
    "xskmap",
    "bloom_filter",
)


Inside = Callable[..., Any]
"""Runs a function in the namespace and returns its result."""


@dataclass
class Score:
    """What came out for one object."""

    stem: str
    level: str
    runs: int = 0
    differences: list[str] = field(default_factory=list)
    rewritten: bool = False


def frames(seed: int, count: int = PACKETS) -> list[bytes]:
    """Varied frames of 14 to 9,000 bytes: a quarter rare protocols, an eighth beyond 3,000 bytes."""
    rng = random.Random(seed)
    jumbo, rare = count // 8, count // 4
    made = packets.varied(count - jumbo - rare, seed=seed) + rare_packets.rare(rare, seed)
    names = sorted(packets.MAKERS)
    for index in range(jumbo):
        frame = packets.MAKERS[names[(index * 7 + seed) % len(names)]](rng)
        size = JUMBO_SIZES[index % len(JUMBO_SIZES)]
        made.append(frame[:size] + rng.randbytes(max(size - len(frame), 0)))
    rng.shuffle(made)
    return made


def _asks_device(program: ProgramSpec) -> bool:
    return any(helper_name(number).startswith("xdp_metadata_") for number in program.helpers)


def _tracks(program: ProgramSpec) -> bool:
    return any(helper_name(number).startswith(("xdp_ct_", "ct_")) for number in program.helpers)


def _flags(program: ProgramSpec) -> int:
    frags = kernel.BPF_F_XDP_HAS_FRAGS if program.frags else 0
    return frags | (kernel.BPF_F_XDP_DEV_BOUND_ONLY if _asks_device(program) else 0)


def kernel_verdict(
    spec: ObjectSpec, program: ProgramSpec, maps: dict[str, kernel.KernelMap]
) -> bool:
    """Whether the kernel loads the program as the object has it; one that asks its device for metadata
    is bound to a0 of the namespace."""
    try:
        with kernel.KernelProgram.load(
            kernel_kfuncs.resolved(program.insns),
            license=spec.license,
            maps={number: maps[name] for number, name in program.map_refs.items()},
            prog_flags=_flags(program),
            log_level=0,
            expected_attach_type=ATTACH[program.attach],
            ifindex=socket.if_nametoindex("a0") if _asks_device(program) else 0,
        ):
            return True
    except kernel.KernelError:
        return False


def engine_verdict(spec: ObjectSpec, program: ProgramSpec) -> bool:
    """Whether the engine's verifier accepts it."""
    maps = {number: spec.maps[name] for number, name in program.map_refs.items()}
    return pf.verify(program.insns, program.type, maps, spec=program).ok


class Sides:
    """One object on both sides, with maps in one state."""

    def __init__(self, stack: ExitStack, each: Object, made: filling.Contents | None) -> None:
        spec = each.spec()
        spec.check_supported()
        self.rewritten = bool(rewriting.share_answers(spec))
        self.spec = spec
        self.engines = {tier: pf.load(spec, cpus=kernel.possible_cpus()) for tier in TIERS}
        btf = spec.btf.raw if spec.btf else b""
        self.maps = {name: kernel_map(stack, m, btf) for name, m in spec.maps.items()}
        self.theirs = {
            name: stack.enter_context(self._loaded(program))
            for name, program in spec.programs.items()
            if (each.stem, name) not in NO_TEST_RUN
        }
        for name, map_spec in spec.maps.items():
            for slot, target in map_spec.values.items():
                known = self.theirs if map_spec.inner is None else self.maps
                self.maps[name].update(slot.to_bytes(4, "little"), known[target])
        for name, slots in PROG_ARRAYS.get(each.stem, {}).items():
            for slot, target in slots.items():
                self.maps[name].update(slot.to_bytes(4, "little"), self.theirs[target])
                for obj in self.engines.values():
                    obj.maps[name][slot] = obj.programs[target]
        # Connections that a program enters stay: each engine has a table of its own, as the namespace has.
        tracks = any(_tracks(program) for program in spec.programs.values())
        self.networks = {tier: pf.Network() for tier in TIERS} if tracks else {}
        self.inner: dict[tuple[str, bytes], kernel.KernelMap] = {}
        if made is not None:
            self._fill(stack, made, btf)

    def _loaded(self, program: ProgramSpec) -> kernel.KernelProgram:
        """As a program of an interface: a test run takes no other."""
        return kernel.KernelProgram.load(
            kernel_kfuncs.resolved(program.insns),
            license=self.spec.license,
            maps={number: self.maps[name] for number, name in program.map_refs.items()},
            prog_flags=_flags(program),
            log_level=0,
        )

    def _fill(self, stack: ExitStack, made: filling.Contents, btf: bytes) -> None:
        for obj in self.engines.values():
            filling.fill_engine(obj, made)
        for name, pairs in made.pairs.items():
            for key, value in pairs:
                self.maps[name].update(key, value)
        for name, values in made.pushed.items():
            for value in values:
                self.maps[name].push(value)
        for name, keys in made.inner.items():
            spec = self.spec.maps[name].inner
            assert spec is not None
            for key, pairs in keys.items():
                inner = self.inner[name, key] = kernel_map(stack, spec, btf)
                for inside, value in pairs:
                    inner.update(inside, value)
                self.maps[name].update(key, inner)

    def run(self, name: str, frame: bytes, network: pf.Network | None) -> list[str]:
        """Differences over one packet."""
        want = self.theirs[name].test_run(frame)
        expected = (want.retval, want.packet, want.meta)
        found = []
        for tier, obj in self.engines.items():
            asked = self.networks.get(tier, network)
            got = obj.programs[name].test_run(frame, engine=tier, network=asked, events=0)
            if (got.retval, got.data, got.data_meta) != expected:
                found.append(
                    f"{name} {tier}: {got.retval} {len(got.data)} {got.data_meta.hex()}, the kernel"
                    f" {want.retval} {len(want.packet)} {want.meta.hex()}; packet {frame.hex()}"
                )
        return found

    def compare_maps(self) -> list[str]:
        """Differences between the maps of all tiers and the kernel's."""
        found = []
        for name, spec in self.spec.maps.items():
            if spec.inner is None and spec.type not in _UNREAD:
                theirs = _contents(self.maps[name])
                found += [
                    f"map {name} {tier}"
                    for tier, obj in self.engines.items()
                    if _engine_contents(obj.maps[name]) != theirs
                ]
        for (name, key), inner in self.inner.items():
            theirs = _contents(inner)
            found += [
                f"map {name}, inner {key.hex()} {tier}"
                for tier, obj in self.engines.items()
                if _engine_contents(obj.maps[name][key]) != theirs
            ]
        return found


def _contents(held: kernel.KernelMap) -> object:
    if isinstance(held, KernelRing):
        return held.consume()
    return held.popped() if held.key_size == 0 else held.items()


def _engine_contents(held: pf.Map) -> object:
    if held.type == "ringbuf":
        return list(held.consume())
    return list(filling.drained(held)) if held.type in ("queue", "stack") else dict(held.items())


def score(
    each: Object,
    frames_: list[bytes],
    network: pf.Network | None = None,
    inside: Inside | None = None,
) -> Score:
    """Everything about one object; `inside` runs a function in the network namespace of `network`."""
    spec = each.spec()
    spec.check_supported()
    if any(_tracks(program) for program in spec.programs.values()):
        return _score(each, frames_, None, apart=True)
    asks = any(ASK_NETWORK & set(program.helpers) for program in spec.programs.values())
    if asks and inside is not None:
        made: Score = inside(lambda: _score(each, frames_, network))
        return made
    return _score(each, frames_, None)


def _score(
    each: Object, frames_: list[bytes], network: pf.Network | None, *, apart: bool = False
) -> Score:
    """`apart`: every state of the maps in a network namespace of its own, whose connection table is empty."""
    out = Score(each.stem, each.level)
    made = filling.contents(each, frames_)

    def run(state: str) -> None:
        with ExitStack() as stack:
            sides = Sides(stack, each, made if state == "filled" else None)
            out.rewritten = sides.rewritten
            for name in sides.theirs:
                for frame in frames_:
                    out.runs += 1
                    out.differences += [f"{state}: {x}" for x in sides.run(name, frame, network)]
            out.differences += [f"{state}: {text}" for text in sides.compare_maps()]

    for state in STATES:
        if apart:
            with live_net.namespace() as net:
                net.call(run, state)
        else:
            run(state)
    return out


def verdicts(each: Object, inside: Inside | None = None) -> list[str]:
    """Programs of the object that the engine and the kernel do not both accept, with what each says.

    `inside` runs a function in the namespace of the score; without it this must be called there."""
    made: list[str] = _verdicts(each) if inside is None else inside(lambda: _verdicts(each))
    return made


def _verdicts(each: Object) -> list[str]:
    spec, found = each.spec(), []
    spec.check_supported()
    with ExitStack() as stack:
        btf = spec.btf.raw if spec.btf else b""
        maps = {name: kernel_map(stack, m, btf) for name, m in spec.maps.items()}
        for name, program in spec.programs.items():
            ours, theirs = engine_verdict(spec, program), kernel_verdict(spec, program, maps)
            if not (ours and theirs):
                found.append(f"{name}: accepted by the engine {ours}, by the kernel {theirs}")
    return found


@contextmanager
def namespace() -> Iterator[tuple[pf.Network, Inside]]:
    """A network namespace with routes of every kind for the addresses that the frames have, as the
    engine's network, and what runs a function inside. Needs the privilege to make one."""
    with live_net.namespace() as net:
        net.call(_forwarding)
        for line in _ROUTES:
            net.ip(*line.split())
        for near in range(1, 16):
            net.ip(*f"neigh add 10.0.1.{near} lladdr 02:00:00:00:01:{near:02x} dev a0".split())
            net.ip(
                *f"-6 neigh add 2001:db8::{near:x} lladdr 02:00:00:00:06:{near:02x} dev b0".split()
            )
        system: dict[str, Any] = net.call(read_system)
        yield pf.Network(**system), net.call


_ROUTES = (
    "addr add 10.0.1.100/24 dev a0",
    "addr add 172.31.0.1/24 dev b0",
    "neigh add 172.31.0.2 lladdr 02:00:00:00:02:02 dev b0",
    "route add 192.168.0.0/16 via 172.31.0.2",
    "route add 172.16.0.0/16 via 172.31.0.2 mtu 600",
    "route add 10.0.2.0/24 via 172.31.0.9",
    "route add blackhole 203.0.0.0/16",
    "route add unreachable 192.0.0.0/16",
    "route add prohibit 10.0.3.0/24",
    "-6 addr add 2001:db8::100/64 dev b0 nodad",
)


def _forwarding() -> None:
    for name in ("all", "default", "lo", "a0", "b0"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")
        Path(f"/proc/sys/net/ipv6/conf/{name}/forwarding").write_text("1")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
