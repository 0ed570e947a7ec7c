"""Networks from files, their errors, SYN cookies against an independent computation, and the command line."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import commandline
import dpkt
import pytest
from network_asking import ASK, DIRECT, ENGINES, SKIP_NEIGH, SRC, TBID, Fib, cookie, fib, mtu, ours
from pktfilter._core.network import siphash

import pktfilter as pf

ROUTER = Path(__file__).parent / "network" / "router.o"
MINUTE = 60_000_000_000
LINKS: list[dict[str, Any]] = [
    {"ifindex": 1, "ifname": "lo", "mtu": 65536, "link_type": "loopback", "flags": ["LOOPBACK", "UP"]},
    {
        "ifindex": 2, "ifname": "eth0", "mtu": 1500, "link_type": "ether", "address": "02:00:00:00:00:02",
        "addr_info": [
            {"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "scope": "global"},
            {"family": "inet6", "local": "2001:db8::1", "prefixlen": 64, "scope": "global"},
        ],
    },
    {"ifindex": 3, "ifname": "eth1", "mtu": 1400, "link_type": "ether", "address": "02:00:00:00:00:03"},
    {"ifindex": 4, "ifname": "eth1.7", "link": "eth1", "mtu": 1396, "address": "02:00:00:00:00:07"},
]  # fmt: skip
WORLD: dict[str, Any] = {
    "link": LINKS,
    "route": [
        {"dst": "default", "gateway": "10.0.0.254", "dev": "eth0"},
        {"dst": "192.0.2.0/24", "dev": "eth1", "prefsrc": "192.0.2.1"},
        {"dst": "192.0.2.128/25", "dev": "eth1.7", "metric": 9},
        {"type": "blackhole", "dst": "198.51.100.0/24"},
    ],
    "route6": [{"dst": "2001:db8:7::/48", "gateway": "2001:db8::fe", "dev": "eth0", "metric": 512}],
    "neigh": [
        {"dst": "10.0.0.254", "dev": "eth0", "lladdr": "02:00:00:00:00:fe", "state": ["REACHABLE"]},
        {"dst": "192.0.2.129", "dev": "eth1.7", "lladdr": "02:00:00:00:00:81", "state": ["STALE"]},
        {"dst": "192.0.2.5", "dev": "eth1", "state": ["FAILED"]},
        {"dst": "2001:db8::fe", "dev": "eth0", "lladdr": "02:00:00:00:06:fe", "state": ["DELAY"]},
    ],
}


@pytest.fixture(scope="module")
def programs() -> dict[str, pf.Program]:
    return dict(pf.load(ASK).programs)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_from_a_file(
    programs: dict[str, pf.Program], tmp_path: Path, engine: str
) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(WORLD))
    network = pf.Network.from_file(path)
    expected = {
        "links": 4,
        "routes": 8,
        "neighbours": 3,
        "rules": 0,
        "sockets": 0,
        "connections": 0,
    }
    assert network.counts == expected
    asked = ours(programs["fib"], engine, network=network)

    def answer(to: str, **given: Any) -> tuple[int, int, str]:
        source = "2001:db8::77" if ":" in to else "10.0.0.77"
        code, params = fib(asked, Fib(to, source, 2, **given))
        return code, struct.unpack_from("<I", params, 8)[0], params[52:].hex()

    assert answer("8.8.8.8") == (0, 2, "02000000000202000000" + "00fe")
    assert answer("192.0.2.129") == (0, 4, "020000000007020000000081")
    assert answer("192.0.2.5")[:2] == (7, 3)
    assert answer("192.0.2.5", flags=SKIP_NEIGH)[:2] == (0, 3)
    assert answer("198.51.100.3")[0] == 1
    assert answer("10.0.0.1")[0] == 4, "an address of its own"
    assert answer("10.0.0.255")[0] == 4, "a broadcast"
    assert answer("192.0.2.129", length=1397)[0] == 8
    assert answer("2001:db8:7::1") == (0, 2, "0200000000020200000006fe")
    assert answer("2001:db8:8::1")[0] == 4
    assert answer("8.8.8.8", flags=DIRECT | TBID, table=77)[0] == 4
    _, params = fib(asked, Fib("192.0.2.5", "10.0.0.77", 2, SRC | SKIP_NEIGH))
    assert params[16:20] == bytes([192, 0, 2, 1])
    assert mtu(ours(programs["mtu"], engine, network=network), 4, 1397) == (1, 1396)
    assert mtu(ours(programs["mtu"], engine, network=network, ingress_ifindex=3), 0, 1400) == (
        0,
        1400,
    )


def test_several_hops_share_by_weight_and_keep_a_pair_together(
    programs: dict[str, pf.Program],
) -> None:
    hops = [{"gateway": f"10.0.0.{n}", "dev": "eth0", "weight": n, "flags": []} for n in (1, 3)]
    hops.append({"gateway": "10.0.0.9", "dev": "eth0", "weight": 50, "flags": ["dead"]})
    network = pf.Network(link=LINKS, route=[{"dst": "default", "nexthops": hops}])
    asked = ours(programs["fib"], "interp", network=network)
    seen = {1: 0, 3: 0}
    for n in range(2000):
        question = Fib(f"20.0.{n // 250}.{n % 250}", "10.0.0.77", 2, SKIP_NEIGH)
        first = fib(asked, question)[1][35]
        seen[first] += 1
        if n % 100 == 0:
            assert fib(asked, question)[1][35] == first
    assert 0.2 < seen[1] / 2000 < 0.3


def test_forwarding_is_the_links_own(programs: dict[str, pf.Program]) -> None:
    base: dict[str, Any] = {"link": LINKS, "route": WORLD["route"], "neigh": WORLD["neigh"]}

    def answer(network: pf.Network, to: str = "8.8.8.8") -> int:
        source = "2001:db8::77" if ":" in to else "10.0.0.77"
        return fib(ours(programs["fib"], "interp", network=network), Fib(to, source, 2))[0]

    assert answer(pf.Network(**base)) == 0
    assert answer(pf.Network(**base, netconf=[])) == 5
    on = [{"family": "inet", "interface": "eth0", "forwarding": True}]
    assert answer(pf.Network(**base, netconf=on)) == 0
    assert answer(pf.Network(**base, netconf=on), "2001:db8:7::1") == 5
    base["link"] = [{**link, "forwarding": False} for link in LINKS]
    assert answer(pf.Network(**base)) == 5


def test_an_encapsulating_route_is_said_to_be_one(programs: dict[str, pf.Program]) -> None:
    route = [{"dst": "default", "gateway": "10.0.0.254", "dev": "eth0", "encap": "mpls"}]
    network = pf.Network(link=LINKS, route=route, neigh=WORLD["neigh"])
    assert (
        fib(ours(programs["fib"], "interp", network=network), Fib("8.8.8.8", "10.0.0.7", 2))[0] == 6
    )


BAD: list[tuple[Any, str]] = [
    ([], "one JSON object"),
    ({"routes": []}, "'routes'"),
    ({"link": {}}, "section 'link'"),
    ({"link": [7]}, "link[0]"),
    ({"link": [{"ifname": "a"}]}, "link[0].ifindex"),
    ({"link": [{"ifindex": 0, "ifname": "a"}]}, "1 to 2147483647"),
    ({"link": [{"ifindex": 2, "ifname": "a"}, {"ifindex": 2, "ifname": "b"}]}, "twice"),
    ({"link": [{"ifindex": 2, "ifname": "a", "mtu": -1}]}, "link[0].mtu"),
    ({"link": [{"ifindex": 2, "ifname": "a", "mtu": 10**400}]}, "link[0].mtu"),
    ({"link": [{"ifindex": 2, "ifname": "a", "address": "zz"}]}, "MAC"),
    ({"link": [{"ifindex": 2, "ifname": "a", "flags": "UP"}]}, "link[0].flags"),
    (
        {"link": [{"ifindex": 2, "ifname": "a", "addr_info": [{"family": "inet", "local": "x"}]}]},
        "addr_info[0].local",
    ),
    ({"route": [{"dst": "10.0.0.0/8", "dev": "eth9"}]}, "'eth9'"),
    ({"route": [{"dst": "10.0.0.1/8", "dev": "lo"}]}, "beyond its prefix"),
    ({"route": [{"dst": "10.0.0.0/33", "dev": "lo"}]}, "route[0].dst"),
    ({"route": [{"dst": 5, "dev": "lo"}]}, "route[0].dst"),
    ({"route": [{"dev": "lo"}]}, "route[0].dst"),
    ({"route": [{"dst": "default"}]}, "route[0].dev"),
    ({"route": [{"dst": "default", "dev": "lo", "gateway": "1.2.3"}]}, "IPv4 address"),
    ({"route": [{"dst": "default", "dev": "lo", "via": 5}]}, "route[0].via"),
    ({"route": [{"dst": "default", "dev": "lo", "type": "wormhole"}]}, "'wormhole'"),
    ({"route": [{"dst": "default", "dev": "lo", "table": "mine"}]}, "ip -N"),
    ({"route": [{"dst": "default", "dev": "lo", "metric": True}]}, "route[0].metric"),
    ({"route": [{"dst": "default", "dev": "lo", "tos": "0xff"}]}, "route[0].tos"),
    (
        {"route": [{"dst": "default", "nexthops": [{"dev": "lo", "weight": 0}]}]},
        "nexthops[0].weight",
    ),
    ({"route": [{"dst": "default", "dev": "lo", "metrics": 5}]}, "route[0].metrics"),
    ({"route6": [{"dst": "2001::/16", "from": "2002::/16", "dev": "lo"}]}, "by source address"),
    ({"neigh": [{"dst": "10.0.0.1", "dev": "lo", "lladdr": 5}]}, "neigh[0].lladdr"),
    ({"neigh": [{"dst": "10.0.0.256", "dev": "lo"}]}, "neigh[0].dst"),
    ({"rule": [{"priority": 5, "src": "all", "suppress_prefixlen": 0}]}, "suppress_prefixlen"),
    ({"rule": [{"priority": 5, "src": "all", "action": "goto"}]}, "'goto'"),
    ({"rule": [{"priority": 5, "src": "10.0.0.0", "srclen": 40}]}, "rule[0].srclen"),
    ({"syncookie_key": "00"}, "1 bytes"),
    ({"syncookie_key": "xy"}, "hex digits"),
]


@pytest.mark.parametrize(("data", "words"), BAD, ids=range(len(BAD)))
def test_bad_input_is_named(data: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(data))
    with pytest.raises(pf.InputError) as caught:
        pf.Network.from_file(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN"])
def test_a_file_that_is_no_json(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(text)
    with pytest.raises(pf.InputError):
        pf.Network.from_file(path)
    with pytest.raises(pf.InputError, match="cannot be read"):
        pf.Network.from_file(tmp_path / "missing.json")


def test_random_damage_is_refused_or_taken_but_never_worse(programs: dict[str, pf.Program]) -> None:
    """Any value put in any place of a network: an InputError, or a network that answers."""
    values = [
        None,
        -1,
        0,
        1 << 70,
        1.5,
        "",
        "x",
        "default",
        "10.0.0.0/8",
        "::/0",
        [],
        [{}],
        {},
        True,
        "255",
    ]
    for seed in range(1500):
        r = random.Random(seed)
        data = json.loads(json.dumps(WORLD))
        data["rule"] = [{"priority": 7, "src": "all", "fwmark": "0x10", "table": "main"}]
        for _ in range(r.randint(1, 3)):
            row = r.choice(
                data[r.choice([k for k, v in data.items() if isinstance(v, list) and v])]
            )
            if isinstance(row, dict):
                row[r.choice([*row, "via", "metrics", "nexthops", "scope", "tos", "pref"])] = (
                    r.choice(values)
                )
        try:
            network = pf.Network.from_json(data)
        except pf.InputError:
            continue
        assert fib(
            ours(programs["fib"], "checked", network=network), Fib("8.8.8.8", "10.0.0.7", 2)
        )[0] in range(10)


def test_only_a_network_is_one(programs: dict[str, pf.Program]) -> None:
    with pytest.raises(TypeError, match="Network"):
        programs["fib"].test_run(bytes(100), network=WORLD)  # type: ignore[arg-type]


# ---- SYN cookies, computed another way ----


def sip24(key: bytes, data: bytes) -> int:
    """SipHash-2-4, from the paper's description (section 2), on Python's whole numbers."""
    mask = (1 << 64) - 1
    k = struct.unpack("<2Q", key)
    v = [
        k[i & 1] ^ c
        for i, c in enumerate(struct.unpack(">4Q", b"somepseudorandomlygeneratedbytes"))
    ]

    def turn(n: int, by: int) -> int:
        return (n << by | n >> 64 - by) & mask

    def round_() -> None:
        for a, b, by, half in (
            (0, 1, 13, True),
            (2, 3, 16, False),
            (0, 3, 21, False),
            (2, 1, 17, True),
        ):
            v[a] = (v[a] + v[b]) & mask
            v[b] = turn(v[b], by) ^ v[a]
            if half:
                v[a] = turn(v[a], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        round_()
        round_()
        v[0] ^= word
    v[2] ^= 255
    for _ in range(4):
        round_()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


#: The first and some later vectors of the reference implementation: key 00..0f, data 00, 00 01, and so on.
VECTORS = {
    0: "310e0edd47db6f72", 1: "fd67dc93c539f874", 2: "5a4fa9d909806c0d", 3: "2d7efbd796666785",
    7: "37d1018bf50002ab", 8: "6224939a79f5f593", 15: "e545be4961ca29a1", 63: "724506eb4c328a95",
}  # fmt: skip


def test_siphash_gives_the_published_vectors() -> None:
    key = bytes(range(16))
    for size, digest in VECTORS.items():
        for made in (siphash(key, bytes(range(size))), sip24(key, bytes(range(size)))):
            assert made.to_bytes(8, "little").hex() == digest, size


MSS = {4: (536, 1300, 1440, 1460), 6: (1220, 1420, 1440, 8940)}


def expected(
    family: int, keys: bytes, addresses: bytes, tcp: bytes, minute: int, mss: int
) -> tuple[int, int]:
    """Cookie and MSS, written down from the construction rather than from the core's code."""
    sport, dport, seq = tcp[:2], tcp[2:4], struct.unpack_from(">I", tcp, 4)[0]

    def hashed(count: int, key: bytes) -> int:
        when = struct.pack("<I", count)
        tail = dport + sport + when if family == 4 else when + sport + dport
        return sip24(key, addresses + tail) & 0xFFFFFFFF

    kind = max((i for i, least in enumerate(MSS[family]) if mss >= least), default=0)
    low = (hashed(minute, keys[16:]) + kind) & 0xFFFFFF
    return (hashed(0, keys[:16]) + seq + (minute << 24) + low) & 0xFFFFFFFF, MSS[family][kind]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", [4, 6])
def test_cookies_are_linux_ones(programs: dict[str, pf.Program], family: int, engine: str) -> None:
    r = random.Random(family)
    program = programs[f"cookie{family}"]
    for _ in range(60):
        key = r.randbytes(64)
        network = pf.Network(syncookie_key=key)
        keys = key[:32] if family == 4 else key[32:]
        now = r.randrange(1 << 62)
        ip = r.randbytes(20 if family == 4 else 40)
        addresses = ip[12:] if family == 4 else ip[8:]
        mss = r.choice([0, 1, 535, 536, 1219, 1300, 1420, 1439, 1440, 1460, 8940, 9000])
        ports, seq = r.randbytes(4), r.getrandbits(32)
        tcp = ports + struct.pack(">IIBBHHHBBH", seq, 0, 6 << 4, 2, 0, 0, 0, 2, 4, mss)
        made, _ = cookie(ours(program, engine, network=network, time_ns=now), ip, tcp)
        default = 536 if family == 4 else 1220
        want = expected(family, keys, addresses, tcp, now // MINUTE, mss or default)
        assert (made & 0xFFFFFFFF, made >> 32) == want
        ack = ports + struct.pack(
            ">IIBBHHH", seq + 1 & 0xFFFFFFFF, want[0] + 1 & 0xFFFFFFFF, 5 << 4, 16, 0, 0, 0
        )

        def checked(
            when: int, ack: bytes = ack, ip: bytes = ip, network: pf.Network = network
        ) -> int:
            return cookie(ours(program, engine, network=network, time_ns=when), ip, ack)[1]

        minute = now // MINUTE * MINUTE
        assert [checked(minute + n * MINUTE) for n in (0, 1)] == [0, 0]
        assert [checked(minute + n * MINUTE) for n in (2, 3, 255)] == [-13, -13, -13]
        assert checked(minute - 1 if minute else 5 * MINUTE) == -13
        assert checked(minute, network=pf.Network(syncookie_key=r.randbytes(32))) == -13
    assert cookie(ours(program, engine), bytes(40)[: len(ip)], bytes(20), 24)[0] == -22


# ---- a router, replayed ----


def ethernet(to: str, number: int) -> bytes:
    target = bytes(map(int, to.split(".")))
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 28, number, 0, 64, 17, 0, bytes([10, 0, 0, 77]), target
    )
    return bytes(12) + b"\x08\x00" + ip + bytes(26)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_replay_through_a_router(tmp_path: Path, engine: str, workers: int) -> None:
    targets = ["8.8.8.8", "192.0.2.129", "192.0.2.5", "198.51.100.1"] * 25
    capture = tmp_path / "in.pcap"
    capture.write_bytes(commandline.pcap(ethernet(to, n) for n, to in enumerate(targets)))
    net = tmp_path / "net.json"
    net.write_text(json.dumps(WORLD))
    command = ["replay", ROUTER, capture, "--engine", engine, "--workers", workers, "--json"]
    done = commandline.run(*command, "--network", net)
    assert done.json["actions"] == {"aborted": 0, "drop": 25, "pass": 25, "tx": 0, "redirect": 50}
    done = commandline.run(*command)
    assert done.json["actions"]["pass"] == 100, "an empty network forwards nothing"


def test_the_command_line_names_what_is_wrong(tmp_path: Path) -> None:
    net = tmp_path / "net.json"
    net.write_text('{"route": [{"dst": "10.0.0.0/8", "dev": "eth9"}]}')
    done = commandline.run("replay", ROUTER, commandline.DEMO, "--network", net, code=1)
    assert "route[0].dev" in done.error
    done = commandline.run(
        "replay", ROUTER, commandline.DEMO, "--network", tmp_path / "no.json", code=1
    )
    assert "no.json" in done.error


@pytest.mark.parametrize("engine", ENGINES)
def test_the_minute_is_the_captures(
    programs: dict[str, pf.Program], tmp_path: Path, engine: str
) -> None:
    """The compiled loop over packets keeps the clock in a register: the helper must see it all the same."""
    ask = bytes(16) + struct.pack("<qqII", 0, 0, 20, 0) + bytes(range(20))
    ask += bytes(12) + bytes([5 << 4]) + bytes(47)
    capture, out = tmp_path / "in.pcap", tmp_path / "out.pcap"
    capture.write_bytes(commandline.pcap([ask] * 6, step_ns=40_000_000_000))
    hook = pf.Hook("cookies")
    hook.attach(programs["cookie4"])
    key = bytes(range(32))
    pf.replay(capture, hook, write=out, engine=engine, network=pf.Network(syncookie_key=key))
    with out.open("rb") as stream:
        made = [struct.unpack_from("<Q", data, 16)[0] for _, data in dpkt.pcap.Reader(stream)]
    wanted = []
    for n in range(6):
        minute = (1_600_000_000 + 40 * n) // 60
        cookie_, mss = expected(4, key, bytes(range(12, 20)), ask[60:], minute, 536)
        wanted.append(cookie_ | mss << 32)
    assert made == wanted
    assert len(set(made)) == 5
