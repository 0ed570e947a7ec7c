"""bpf_fib_lookup, bpf_check_mtu and the raw SYN cookie helpers against the kernel, in namespaces of the test's own."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kernel
import live_net
import pytest
from network_asking import (
    ASK,
    DIRECT,
    ENGINES,
    INET,
    MARK,
    OUTPUT,
    SKIP_NEIGH,
    SRC,
    TBID,
    Asked,
    Fib,
    cookie,
    fib,
    mtu,
    ours,
)  # fmt: skip

import pktfilter as pf
from pktfilter.assembler.source import assemble
from pktfilter.network.system import read_system
from pktfilter.objects import ObjectSpec

LINKS = ("a0", "a1", "b0", "b1")
TABLES = (100, 200)
pytestmark = kernel.requires_kernel()


@pytest.fixture(scope="module")
def programs() -> dict[str, pf.Program]:
    return dict(pf.load(ASK).programs)


@pytest.fixture
def net() -> Iterator[live_net.Net]:
    with live_net.namespace() as made:
        made.call(_prepare)
        yield made


def _prepare() -> None:
    for name in ("all", "default", *LINKS):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")
        Path(f"/proc/sys/net/ipv6/conf/{name}/forwarding").write_text("1")
        Path(f"/proc/sys/net/ipv6/conf/{name}/addr_gen_mode").write_text("1")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _ip(lines: list[str], *options: str) -> None:
    """A batch; lines that the kernel refuses (a route twice) are left out of the network."""
    text = "\n".join(lines) + "\n"
    subprocess.run(
        ["ip", *options, "-force", "-batch", "-"], input=text, text=True, capture_output=True
    )


def _asked(name: str) -> Callable[[], Asked]:
    """The program in the kernel; made inside, since a test run is in its thread's namespace."""

    def make() -> Asked:
        spec = ObjectSpec.from_file(ASK).programs[name]
        loaded = kernel.KernelProgram.load(bytes(spec.insns))
        return lambda packet: loaded.test_run(packet).packet

    return make


def _kernel(net: live_net.Net, name: str, questions: Callable[[Asked], Any]) -> Any:
    return net.call(lambda: questions(_asked(name)()))


class Random:
    """A network at random: addresses, neighbours, routes of every kind, rules."""

    def __init__(self, seed: int, *, rules: bool) -> None:
        self.random = random.Random(seed)
        self.pool: dict[int, list[str]] = {
            4: ["0.0.0.0", "127.0.0.1", "224.0.0.5"],
            6: ["::1", "ff02::1", "fe80::9"],
        }
        self.commands = [
            self._address(f, link) for link in range(4) for f in (4, 6) for _ in range(2)
        ]
        self.commands += [self._neighbour(f) for _ in range(8) for f in (4, 6)]
        self.commands += [self._route(f) for _ in range(60) for f in (4, 6)]
        if rules:
            self.commands += [self._rule(f) for _ in range(4) for f in (4, 6)]

    def _near(self, link: int, family: int) -> str:
        host = self.random.randint(1, 30)
        made = f"10.{link}.0.{host}" if family == 4 else f"2001:db8:{link}::{host:x}"
        self.pool[family].append(made)
        return made

    def _address(self, family: int, link: int) -> str:
        scope = self.random.choice(["", "", " scope link" if family == 4 else ""])
        made = f"{self._near(link, family)}/{24 if family == 4 else 64}{scope}"
        return f"addr add {made} dev {LINKS[link]}" + (" nodad" if family == 6 else "")

    def _neighbour(self, family: int) -> str:
        link = self.random.randrange(4)
        state = self.random.choice(["permanent", "reachable", "stale", "failed", "permanent"])
        mac = f"02:00:00:00:{link:02x}:{self.random.randrange(256):02x}"
        return (
            f"neigh replace {self._near(link, family)} lladdr {mac} dev {LINKS[link]} nud {state}"
        )

    def _target(self, family: int) -> str:
        r = self.random
        if r.random() < 0.08:
            return "default"
        if family == 4:
            prefix = r.choice([8, 12, 16, 20, 24, 27, 30, 32])
            bits = (
                r.choice([10, 20, 21]) << 24 | r.randrange(4) << 16 | r.getrandbits(3) << 5
            ) & -1 << 32 - prefix
            made = socket.inet_ntop(socket.AF_INET, struct.pack(">I", bits & 0xFFFFFFFF))
        else:
            prefix = r.choice([16, 29, 32, 48, 61, 64, 127, 128])
            bits = (
                0x20010DB8 + r.randrange(2) << 96 | r.randrange(4) << 80 | r.getrandbits(3)
            ) & -1 << 128 - prefix
            made = socket.inet_ntop(socket.AF_INET6, bits.to_bytes(16, "big"))
        self.pool[family].append(made)
        return f"{made}/{prefix}"

    def _route(self, family: int) -> str:
        r = self.random
        kind = r.choice(["unicast"] * 8 + ["blackhole", "unreachable", "prohibit", "throw"])
        text = f"{kind} {self._target(family)} table {r.choice(['main', 'main', 'main', *map(str, TABLES)])}"
        text += f" metric {r.choice([1, 5, 70, 1000])}"
        if family == 4 and r.random() < 0.2:
            text += f" tos {r.choice(['0x10', '0x04', '0x20'])}"
        if kind == "unicast":
            link = r.randrange(4)
            if r.random() < 0.7:
                text += f" via {self._near(link, family)}"
            text += f" dev {LINKS[link]}" + r.choice(["", " onlink"])
            text += r.choice(["", "", " mtu 1400"])
        return f"route add {text}" if family == 4 else f"-6 route add {text}"

    def _rule(self, family: int) -> str:
        r = self.random
        text = r.choice(["", "", "not "]) + f"priority {r.randrange(1, 100)} "
        text += r.choice(
            [
                "fwmark 0x10/0xf0",
                "iif a0",
                "oif b0",
                "tos 0x10",
                "from " + self._target(family),
                "to " + self._target(family),
            ]
        )
        text += r.choice([" table 100", " table 200", " blackhole", " prohibit", " unreachable"])
        text = text.replace("default", "all")
        return f"rule add {text}" if family == 4 else f"-6 rule add {text}"

    def questions(self, count: int) -> list[Fib]:
        r = self.random
        made = []
        for _ in range(count):
            family = r.choice([4, 6])
            flags = sum(
                r.choice([0, flag]) for flag in (DIRECT, OUTPUT, SKIP_NEIGH, TBID, SRC, MARK)
            )
            flags &= r.choice([-1, ~DIRECT, ~OUTPUT])
            made.append(
                Fib(
                    to=self._beside(r.choice(self.pool[family])),
                    source=r.choice(self.pool[family]),
                    ifindex=r.choice([1, 2, 3, 4, 5, 5, 9]),
                    flags=flags,
                    length=r.choice([0, 0, 60, 1400, 1401, 1500, 1501, 9000, 65535]),
                    tos=r.choice([0, 0, 0x10, 0x04, 0x20, 0x13]),
                    table=r.choice([254, 255, 253, 100, 200, 7]) if flags & TBID else 0,
                    mark=r.choice([0x10, 0x1F, 0x25, 0]),
                )
            )
        return made

    def _beside(self, address: str) -> str:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        raw = bytearray(socket.inet_pton(family, address))
        raw[-1] ^= self.random.choice([0, 0, 0, 1, 2, 16])
        return socket.inet_ntop(family, raw)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(8))
def test_lookups_in_random_networks(
    net: live_net.Net, programs: dict[str, pf.Program], seed: int, engine: str
) -> None:
    """Return value and the whole struct, over tables read from the running system by `ip -j`."""
    world = Random(seed, rules=seed % 2 == 1)
    net.call(_ip, world.commands)
    if seed >= 6:  # its routes go, and those of its peer stay, without a carrier
        net.call(_ip, ["link set b1 down"])
    questions = world.questions(700)
    network = net.call(pf.Network.from_system)
    assert network.counts["routes"] > 60
    assert network.counts["neighbours"] > 5
    assert (network.counts["rules"] > 5) == (seed % 2 == 1)
    theirs = _kernel(net, "fib", lambda asked: [fib(asked, q) for q in questions])
    asked = ours(programs["fib"], engine, network=network)
    for question, want in zip(questions, theirs, strict=True):
        got = fib(asked, question)
        assert (got[0], got[1].hex()) == (want[0], want[1].hex()), question
    kinds = {answer for answer, _ in theirs}
    assert {0, 1, 4, 7, 8} <= kinds, f"the network is too poor: {kinds}"


def test_locked_mtu_and_gateways_of_the_other_family(
    net: live_net.Net, programs: dict[str, pf.Program]
) -> None:
    lines = [
        "addr add 10.0.0.1/24 dev a0",
        "addr add 10.1.0.1/24 dev b0",
        "-6 addr add 2001:db8:1::1/64 dev b0 nodad",
        "neigh replace 10.1.0.9 lladdr 02:00:00:00:00:09 dev b0 nud permanent",
        "-6 neigh replace 2001:db8:1::9 lladdr 02:00:00:00:00:69 dev b0 nud permanent",
        "route add 20.0.0.0/8 via 10.1.0.9 mtu 1300",
        "route add 21.0.0.0/8 via 10.1.0.9 mtu lock 1200",
        "route add 22.0.0.0/8 via inet6 2001:db8:1::9 dev b0",
        "-6 route add 2001:20::/32 via 2001:db8:1::9 mtu 1300",
        "-6 route add 2001:21::/32 via 2001:db8:1::9 mtu lock 1290",
    ]
    net.call(_ip, lines)
    data = net.call(read_system)
    for row in data["route"] + data["route6"]:
        for metric in row.get("metrics", []):
            if metric["mtu"] in (1200, 1290):
                metric["lock"] = ["mtu"]  # which ip -j leaves out
    network = pf.Network(**data)
    inside = {row["ifname"]: row["ifindex"] for row in data["link"]}
    questions = [
        Fib(to, "2001:db8::5" if ":" in to else "10.0.0.5", inside["a0"], flags, length)
        for to in ("20.0.0.1", "21.0.0.1", "22.0.0.1", "2001:20::1", "2001:21::1", "10.1.0.9")
        for flags in (0, SRC, SKIP_NEIGH, SKIP_NEIGH | SRC)
        for length in (0, 1200, 1201, 1290, 1291, 1301, 1500, 1501)
    ]
    theirs = _kernel(net, "fib", lambda asked: [fib(asked, q) for q in questions])
    asked = ours(programs["fib"], "interp", network=network)
    assert [fib(asked, q) for q in questions] == theirs
    assert len({struct.unpack_from("<H", params, 6) for _, params in theirs}) >= 4


def test_sizes_flags_and_families_that_are_refused(
    net: live_net.Net, programs: dict[str, pf.Program]
) -> None:
    network = net.call(pf.Network.from_system)
    questions = [Fib("1.2.3.4", "1.2.3.5", 2, family=family) for family in (0, 1, 3, 9, 11)]
    questions += [Fib("1.2.3.4", "1.2.3.5", 2, flags) for flags in (64, 1 << 31, 63, DIRECT | 128)]
    questions += [Fib("1.2.3.4", "1.2.3.5", 2, size=size) for size in (1, 63, 64, 65, 72)]
    theirs = _kernel(net, "fib", lambda asked: [fib(asked, q) for q in questions])
    for engine in ENGINES:
        asked = ours(programs["fib"], engine, network=network)
        assert [fib(asked, q) for q in questions] == theirs, engine


def test_an_empty_namespace(programs: dict[str, pf.Program]) -> None:
    """What no network is given for answers as a new namespace does."""
    with live_net.namespace() as net:
        net.call(_ip, [f"link del {name}" for name in ("a0", "b0")])
        net.call(_ip, ["link set lo down"])
        questions = [
            Fib(to, source, ifindex, flags, family=family)
            for to, source in (
                ("1.2.3.4", "1.2.3.5"),
                ("2001::1", "2001::2"),
                ("fe80::1", "2001::2"),
                ("::1", "::1"),
            )
            for ifindex in (0, 1, 2, 99)
            for flags in (0, DIRECT, OUTPUT, 64)
            for family in (None, 3)
        ]
        theirs = _kernel(net, "fib", lambda asked: [fib(asked, q) for q in questions])
        mtus = [(i, n, d, f, s) for i in (0, 1, 5) for n in (0, 9, 65536, 65537, 1 << 31) for d in (0, 5, -5, 70000)
                for f in (0, 1) for s in (64, 1500)]  # fmt: skip
        theirs_mtu = _kernel(net, "mtu", lambda asked: [mtu(asked, *m) for m in mtus])
    for engine in ENGINES:
        assert [fib(ours(programs["fib"], engine), q) for q in questions] == theirs
        assert [mtu(ours(programs["mtu"], engine), *m) for m in mtus] == theirs_mtu


@pytest.mark.parametrize("engine", ENGINES)
def test_check_mtu(net: live_net.Net, programs: dict[str, pf.Program], engine: str) -> None:
    net.call(_ip, ["link set a0 mtu 1400", "link set b0 mtu 9000", "link set b1 mtu 68"])
    network = net.call(pf.Network.from_system)
    r = random.Random(5)
    sizes = (0, 1, 68, 69, 1400, 1401, 1500, 1501, 9000, 9001, 65536, 65537, 1 << 31, (1 << 32) - 1)
    diffs = (0, 0, 4, -4, 1300, 8900, -(1 << 31), (1 << 31) - 1)
    questions = [
        (r.choice([0, 1, 2, 3, 4, 5, 6]), r.choice(sizes), r.choice(diffs),
         r.choice([0, 0, 0, 1, 1 << 40]), r.choice([60, 82, 83, 1414, 1415, 1514, 1515, 3000]))
        for _ in range(400)
    ]  # fmt: skip
    theirs = _kernel(net, "mtu", lambda asked: [mtu(asked, *q) for q in questions])
    asked = ours(programs["mtu"], engine, network=network)
    for question, want in zip(questions, theirs, strict=True):
        assert mtu(asked, *question) == want, question
    assert {answer for answer, _ in theirs} == {0, 1, -19, -22}


def _segment(r: random.Random, family: int) -> tuple[bytes, bytes]:
    options = r.choice([
        b"", b"\x02\x04" + struct.pack(">H", r.choice([0, 1, 535, 536, 1219, 1220, 1300, 1420, 1440, 1460, 9000])),
        b"\x01\x01\x02\x04\x05\xb4\x00\x00", b"\x02\x03\x05\xb4", b"\x02\x04\x05", b"\x03\x00\x02\x04",
        b"\x02\x04\x05\xb4\x02\x04\x05\x00", b"\x00\x02\x04\x05\xb4", r.randbytes(r.randrange(0, 40)),
    ])  # fmt: skip
    options = options.ljust((len(options) + 3) // 4 * 4, b"\x01")[:40]
    doff = 5 + len(options) // 4
    tcp = (
        struct.pack(
            ">HHIIBBHHH", r.getrandbits(16), 80, r.getrandbits(32), 0, doff << 4, 2, 1000, 0, 0
        )
        + options
    )
    if family == INET:
        return struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + r.randbytes(8), tcp
    return struct.pack(">IHBB", 6 << 28, 20, 6, 64) + r.randbytes(32), tcp


@pytest.mark.parametrize("family", [4, 6])
def test_syncookies(net: live_net.Net, programs: dict[str, pf.Program], family: int) -> None:
    """The kernel's keys are secret, so errors and the MSS are compared; and how a cookie of either moves with
    the sequence number, and that either takes its own."""
    r = random.Random(family)
    name = f"cookie{family}"
    segments = [_segment(r, INET if family == 4 else 10) for _ in range(300)]
    sizes = [r.choice([None, None, 0, 19, 20, 24, 60]) for _ in segments]

    def gen(asked: Asked) -> list[tuple[int, int]]:
        return [cookie(asked, *s, size=size) for s, size in zip(segments, sizes, strict=True)]

    theirs = _kernel(net, name, gen)
    if theirs[0][0] == -95:
        pytest.skip("this kernel is built without SYN cookies")

    def fresh(asked: Asked) -> list[int]:
        """Whether the ACK to its own cookie is taken; the sum and the MSS with another sequence number."""
        answers = []
        for ip, tcp in segments[:100]:
            plain = tcp[:12] + b"\x50" + tcp[13:20]
            made, _ = cookie(asked, ip, plain)
            seq = struct.unpack_from(">I", plain, 4)[0]
            ack = (
                plain[:4]
                + struct.pack(">II", seq + 1 & 0xFFFFFFFF, (made & 0xFFFFFFFF) + 1 & 0xFFFFFFFF)
                + plain[12:]
            )
            later = plain[:4] + struct.pack(">I", seq + 12345 & 0xFFFFFFFF) + plain[8:]
            moved, _ = cookie(asked, ip, later)
            answers += [cookie(asked, ip, ack)[1], made >> 32, moved - made & 0xFFFFFFFF]
            wrong = (
                ack[:8]
                + struct.pack(">I", (made & 0xFFFFFFFF) + 1 + (3 << 24) & 0xFFFFFFFF)
                + ack[12:]
            )
            answers.append(cookie(asked, ip, wrong)[1])
        return answers

    their_answers = _kernel(net, name, fresh)
    for engine in ENGINES:
        asked = ours(programs[name], engine)
        mine = gen(asked)
        for got, want in zip(mine, theirs, strict=True):
            assert (got[0] if got[0] < 0 else got[0] >> 32) == (
                want[0] if want[0] < 0 else want[0] >> 32
            )
        assert fresh(asked) == their_answers
    assert {-22} < {answer if answer < 0 else answer >> 32 for answer, _ in theirs}
    assert their_answers[:4] == [0, their_answers[1], 12345, -13]


_ZERO = "".join(f"*(u64 *)(r10 -{at}) = 0\n" for at in range(8, 136, 8))
_VERDICTS = {
    "fib": "r1 = r6; r2 = r10; r2 += -64; r3 = 64; r4 = 0; call bpf_fib_lookup",
    "fib short": "r1 = r6; r2 = r10; r2 += -64; r3 = 65; r4 = 0; call bpf_fib_lookup",
    "fib below": "r1 = r6; r2 = r10; r2 += -520; r3 = 64; r4 = 0; call bpf_fib_lookup",
    "fib none": "r1 = r6; r2 = r10; r2 += -64; r3 = 0; r4 = 0; call bpf_fib_lookup",
    "fib null": "r1 = r6; r2 = 0; r3 = 64; r4 = 0; call bpf_fib_lookup",
    "fib number": "r1 = 0; r2 = r10; r2 += -64; r3 = 64; r4 = 0; call bpf_fib_lookup",
    "fib packet": "r1 = r6; r2 = r7; r3 = 64; r4 = 0; call bpf_fib_lookup",
    "fib unset": "r1 = r6; r2 = r10; r2 += -64; r3 = 64; call bpf_fib_lookup",
    "mtu": "r1 = r6; r2 = 0; r3 = r10; r3 += -8; r4 = 0; r5 = 0; call bpf_check_mtu",
    "mtu odd": "r1 = r6; r2 = 0; r3 = r10; r3 += -7; r4 = 0; r5 = 0; call bpf_check_mtu",
    "mtu half": "r1 = r6; r2 = 0; r3 = r10; r3 += -6; r4 = 0; r5 = 0; call bpf_check_mtu",
    "mtu edge": "r1 = r6; r2 = 0; r3 = r10; r3 += -4; r4 = 0; r5 = 0; call bpf_check_mtu",
    "mtu beyond": "r1 = r6; r2 = 0; r3 = r10; r3 += 0; r4 = 0; r5 = 0; call bpf_check_mtu",
    "mtu null": "r1 = r6; r2 = 0; r3 = 0; r4 = 0; r5 = 0; call bpf_check_mtu",
    "mtu packet": "r1 = r6; r2 = 0; r3 = r7; r4 = 0; r5 = 0; call bpf_check_mtu",
    "mtu pointer": "*(u64 *)(r10 -8) = r6; r1 = r6; r2 = 0; r3 = r10; r3 += -8; r4 = 0; r5 = 0; call bpf_check_mtu",
    "mtu pointer lost": "*(u64 *)(r10 -8) = r6; r1 = r6; r2 = 0; r3 = r10; r3 += -4; r4 = 0; r5 = 0; "
    "call bpf_check_mtu; r1 = *(u64 *)(r10 -8); r0 = *(u32 *)(r1 +0)",
    "gen4": "r1 = r10; r1 += -20; r2 = r10; r2 += -60; r3 = 20; call bpf_tcp_raw_gen_syncookie_ipv4",
    "gen4 edge": "r1 = r10; r1 += -16; r2 = r10; r2 += -60; r3 = 20; call bpf_tcp_raw_gen_syncookie_ipv4",
    "gen4 none": "r1 = r10; r1 += -20; r2 = r10; r2 += -60; r3 = 0; call bpf_tcp_raw_gen_syncookie_ipv4",
    "gen4 null": "r1 = r10; r1 += -20; r2 = 0; r3 = 0; call bpf_tcp_raw_gen_syncookie_ipv4",
    "gen4 packet": "r1 = r7; r2 = r7; r3 = 60; call bpf_tcp_raw_gen_syncookie_ipv4",
    "gen4 far": "r1 = r7; r2 = r7; r3 = 81; call bpf_tcp_raw_gen_syncookie_ipv4",
    "gen6": "r1 = r10; r1 += -40; r2 = r10; r2 += -60; r3 = 20; call bpf_tcp_raw_gen_syncookie_ipv6",
    "gen6 edge": "r1 = r10; r1 += -36; r2 = r10; r2 += -60; r3 = 20; call bpf_tcp_raw_gen_syncookie_ipv6",
    "check4": "r1 = r7; r2 = r7; call bpf_tcp_raw_check_syncookie_ipv4",
    "check4 edge": "r1 = r10; r1 += -20; r2 = r10; r2 += -16; call bpf_tcp_raw_check_syncookie_ipv4",
    "check6": "r1 = r10; r1 += -40; r2 = r10; r2 += -20; call bpf_tcp_raw_check_syncookie_ipv6",
    "check6 edge": "r1 = r10; r1 += -39; r2 = r10; r2 += -20; call bpf_tcp_raw_check_syncookie_ipv6",
    "check6 ctx": "r1 = r6; r2 = r10; r2 += -20; call bpf_tcp_raw_check_syncookie_ipv6",
}  # fmt: skip


@pytest.mark.parametrize("name", _VERDICTS)
def test_the_verifier_takes_what_the_kernel_takes(name: str) -> None:
    call = _VERDICTS[name].replace("; ", "\n")
    head = "r6 = r1\nr7 = *(u32 *)(r1 +0)\nr2 = *(u32 *)(r1 +4)\nr3 = r7\nr3 += 80\n"
    text = f"{head}if r3 > r2 goto out\n{_ZERO}{call}\nout:\nr0 = 2\nexit\n"
    insns = assemble(text, "t.s")[0].insns
    try:
        kernel.KernelProgram.load(insns)
        theirs = "taken"
    except kernel.KernelError as error:
        theirs = f"refused: {str(error)[-200:]}"
    result = pf.verify(insns)
    assert result.ok == (theirs == "taken"), (theirs, [d.message for d in result.diagnostics])
