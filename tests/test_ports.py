"""Ports: every redirected packet reaches its port once, in capture order, and every other one is counted."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import port_programs as pp
import pytest
import readers
from commandline import pcap, run

import pktfilter as pf
from pktfilter.assembler import assemble

ENGINES = ("checked", "interp", "jit")
Arrivals = dict[Any, list[tuple[int, bytes]]]


def loaded() -> Any:
    """The router, with dev {0: 3, 1: 4, 2: 1, 5: 9}, devh {100: 4, 7: 3} and cpus {2, 6}."""
    obj = pp.spec_of(pp.router()).load()
    for name, entries in (
        ("dev", {0: 3, 1: 4, 2: 1, 5: 9}),
        ("devh", {100: 4, 7: 3}),
        ("cpus", {2: 64, 6: 1}),
    ):
        for key, first in entries.items():
            obj.maps[name][key.to_bytes(4, "little")] = first.to_bytes(8, "little")
    return obj


def expected(data: bytes, ports: set[Any]) -> list[Any]:
    """Where the packet goes by the rules of Linux, worked out from its bytes alone."""
    way, key, flags = data[14:17]
    entries = {pp.DEV: {0: 3, 1: 4, 2: 1, 5: 9}, pp.HASH: {7: 3, 100: 4}, pp.CPU: {2: 64, 6: 1}}
    if way == pp.VIA:
        return [key] if flags == 0 and key in ports else []
    if way == pp.ACTION:
        return []
    if flags & ~(3 | (0 if way == pp.CPU else pp.BROADCAST | pp.EXCLUDE)):
        return []
    if way == pp.CPU:
        return [f"cpu:{key}"] if key in entries[way] else []
    if not flags & pp.BROADCAST:
        return [p for k, p in entries[way].items() if k == key and p in ports]
    skip = 1 if flags & pp.EXCLUDE else None
    return [p for _, p in sorted(entries[way].items()) if p in ports and p != skip]


def traffic(count: int, seed: int = 1) -> list[bytes]:
    """Packets of all ways, keys that exist and not, all flags, several flows and sizes."""
    rng = random.Random(seed)
    keys = (0, 1, 2, 3, 4, 5, 6, 7, 9, 100)
    flags = (0, 0, 1, 2, 3, 4, pp.BROADCAST, pp.BROADCAST | pp.EXCLUDE, pp.EXCLUDE, 32)
    return [
        pp.packet(
            rng.randrange(5),
            rng.choice(keys),
            rng.choice(flags),
            n,
            rng.choice((60, 64, 1500, 5000)),
        )
        for n in range(count)
    ]


def replayed(tmp_path: Path, packets: list[bytes], **options: Any) -> tuple[Any, Arrivals]:
    """A replay with callables at ports 1, 3, 4 and cpu:2; what each got."""
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap(packets))
    got: Arrivals = defaultdict(list)
    ports = {
        port: (lambda data, ns, port=port: got[port].append((ns, data)))
        for port in (1, 3, 4, "cpu:2")
    }
    hook = pf.Hook("ingress")
    hook.attach(loaded().programs["route"])
    return pf.replay(source, hook, ports=ports, **options), got


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_copy_reaches_its_port_in_order(tmp_path: Path, engine: str, workers: int) -> None:
    packets = traffic(1500)
    result, got = replayed(tmp_path, packets, engine=engine, workers=workers, batch=64)
    want: dict[Any, list[bytes]] = defaultdict(list)
    for data in packets:
        for port in expected(data, {1, 3, 4}):
            want[port].append(data)
    reached = {port: [data for _, data in rows] for port, rows in got.items()}
    assert reached == {p: rows for p, rows in want.items() if p in (1, 3, 4, "cpu:2")}
    for port, rows in want.items():
        row = result.redirects[str(port)]
        assert (row.packets, row.bytes) == (len(rows), sum(map(len, rows)))


def test_counts_add_up_and_missing_ports_are_errors(tmp_path: Path) -> None:
    packets = (
        [pp.packet(pp.VIA, 77, 0, n) for n in range(5)]  # no such interface
        + [pp.packet(pp.DEV, 5, 0, n) for n in range(3)]  # entry 5 leads to 9, which is no port
        + [pp.packet(pp.ACTION, 4, 0, n) for n in range(2)]  # REDIRECT without a helper
        + [pp.packet(pp.DEV, 3, 1, n) for n in range(4)]  # no entry: the flags' action, DROP
    )
    result, got = replayed(tmp_path, packets)
    assert not got
    assert {port: row.errors for port, row in result.redirects.items()} == {
        "9": 3,
        "77": 5,
        "none": 2,
    }
    assert result.actions["redirect"] == 10 and result.actions["drop"] == 4


def test_broadcast_to_nobody_is_a_drop_without_error(tmp_path: Path) -> None:
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap([pp.packet(pp.DEV, 0, pp.BROADCAST)] * 3))
    hook = pf.Hook("ingress")
    hook.attach(loaded().programs["route"])
    result = pf.replay(source, hook, ports={8: None})
    row = result.redirects["none"]
    assert (row.packets, row.dropped, row.errors) == (0, 3, 0)


def test_modified_packets_leave_as_the_program_left_them(tmp_path: Path) -> None:
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap([pp.packet(pp.VIA, 3, 0, n, 80) for n in range(9)]))
    spec = pp.spec_of(
        ".section xdp\n.license GPL\n.program grow\ngrow:\nr6 = r1\nr2 = -4\ncall bpf_xdp_adjust_head\n"
        "r2 = *(u32 *)(r6 + 0)\nr3 = *(u32 *)(r6 + 4)\nr4 = r2\nr4 += 4\nr0 = 1\nif r4 > r3 goto out\n"
        "r5 = 7\n*(u8 *)(r2 + 0) = r5\nr1 = 3\nr2 = 0\ncall bpf_redirect\nout:\nexit\n"
    )
    for workers in (1, 2):
        hook = pf.Hook("ingress")
        hook.attach(spec.load().programs["grow"])
        out = tmp_path / f"out{workers}.pcap"
        pf.replay(source, hook, ports={3: out}, workers=workers)
        got = [record.data for record in readers.walk(out).records]
        assert pp.numbers(data[4:] for data in got) == list(range(9))
        assert all(len(data) == 84 and data[0] == 7 for data in got)


def test_a_callable_that_raises_ends_the_replay(tmp_path: Path) -> None:
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap([pp.packet(pp.VIA, 3)] * 3))

    def fail(data: bytes, ns: int) -> None:
        raise KeyError("mine")

    hook = pf.Hook("ingress")
    hook.attach(loaded().programs["route"])
    with pytest.raises(KeyError, match="mine"):
        pf.replay(source, hook, ports={3: fail})


@pytest.mark.parametrize(
    "ports",
    [{0: None}, {-1: None}, {"cpu:": None}, {"cpu:9999": None}, {"eth0": None}, {True: None},
     {3: None, "3": None}, {3: "a.pcap", 4: "a.pcap"}],
)  # fmt: skip
def test_bad_ports_are_refused(tmp_path: Path, ports: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.pcap").write_bytes(pcap([pp.packet(pp.VIA, 3)]))
    hook = pf.Hook("ingress")
    hook.attach(loaded().programs["route"])
    with pytest.raises(pf.InputError):
        pf.replay("in.pcap", hook, ports=ports)


def test_command_line(tmp_path: Path) -> None:
    (tmp_path / "r.s").write_text(pp.router())
    (tmp_path / "in.pcap").write_bytes(
        pcap([pp.packet(pp.VIA, 3 + n % 3, 0, n) for n in range(30)])
    )
    out3, out4 = tmp_path / "out3.pcap", tmp_path / "out4.pcapng"
    done = run(
        "replay", tmp_path / "r.s", tmp_path / "in.pcap", "--json",
        "--port", f"3={out3}", "--port", f"4={out4}",
    )  # fmt: skip
    told = json.loads(done.out)
    assert told["redirects"] == {
        "3": {"packets": 10, "bytes": 640, "dropped": 0, "errors": 0},
        "4": {"packets": 10, "bytes": 640, "dropped": 0, "errors": 0},
        "5": {"packets": 0, "bytes": 0, "dropped": 0, "errors": 10},
    }
    assert told["written"] == {str(out3): 10, str(out4): 10}
    text = run("replay", tmp_path / "r.s", tmp_path / "in.pcap", "--port", f"3={out3}").text
    assert "redirected to port 5: 10 dropped: there is no such port" in text


@pytest.mark.parametrize(
    "option", ["3", "=x.pcap", "3=", "x=y.pcap", "cpu:x=y.pcap", "0=y.pcap", "cpu:9999=y.pcap"]
)
def test_bad_options_are_one_sentence(tmp_path: Path, option: str) -> None:
    (tmp_path / "r.s").write_text(pp.router())
    (tmp_path / "in.pcap").write_bytes(pcap([pp.packet(pp.VIA, 3)]))
    given = ("replay", tmp_path / "r.s", tmp_path / "in.pcap", "--port")
    run(*given, option, code=2)
    run(*given, "3=a.pcap", "--port", "03=b.pcap", code=2)
    assert not (tmp_path / "y.pcap").exists()


def test_interfaces_that_do_not_exist_are_counted_in_bounded_memory(tmp_path: Path) -> None:
    """A program can name 2^32 of them: the 256 lowest have rows, whoever ran the packets."""
    (made,) = assemble(
        "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 22\nr0 = 2\n"
        "if r4 > r3 goto out\nr1 = *(u32 *)(r2 + 18)\nr2 = 0\ncall bpf_redirect\nout:\nexit\n",
        "any.s",
    )
    rng = random.Random(6)
    named = [rng.choice((3, rng.randrange(1 << 32), rng.randrange(8, 400))) for _ in range(4000)]
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap([pp.packet(0, 0, 0, number) for number in named]))
    counts = Counter(named)
    sent = counts.pop(3)
    lowest = sorted(counts)[:256]
    assert lowest[-1] < 400 < max(counts)
    for workers in (1, 3):
        hook = pf.Hook("ingress")
        hook.attach(pf.Program.from_bytes(made.insns))
        got = pf.replay(source, hook, ports={3: None}, workers=workers, batch=64).redirects
        assert {key: row.errors for key, row in got.items() if row.errors and key != "none"} == {
            str(number): counts[number] for number in lowest
        }
        assert got["3"].packets == sent
        assert got["none"].errors == sum(counts.values()) - sum(counts[n] for n in lowest)
