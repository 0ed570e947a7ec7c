"""Programs of devmap and cpumap entries: they run once for every copy, with their own context, in the same world."""

from __future__ import annotations

import errno
import gc
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

import port_programs as pp
import pytest
from commandline import pcap

import pktfilter as pf

ENGINES = ("checked", "interp", "jit")


def loaded() -> Any:
    return pp.spec_of(
        pp.router()
        + pp.secondary("xdp/devmap", "egress", 5)
        + pp.secondary("xdp/devmap", "other", 6)
        + pp.secondary("xdp/cpumap", "oncpu", 7)
    ).load()


def replayed(tmp_path: Path, obj: Any, packets: list[bytes], ports: Any, **options: Any) -> Any:
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap(packets))
    got: dict[Any, list[bytes]] = defaultdict(list)
    hook = pf.Hook("ingress")
    hook.attach(obj.programs["route"])
    sinks = {port: (lambda data, ns, p=port: got[p].append(data)) for port in ports}
    return pf.replay(source, hook, ports=sinks, **options), dict(got)


def stamps(data: bytes) -> tuple[int, ...]:
    """(ingress_ifindex, queue, egress_ifindex, tag) as a secondary program wrote them."""
    return struct.unpack_from("<4I", data, 22)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("engine", ENGINES)
def test_devmap_programs_run_on_every_copy(tmp_path: Path, engine: str, workers: int) -> None:
    obj = loaded()
    egress = obj.programs["egress"]
    obj.maps["dev"][0] = (3, egress)
    obj.maps["dev"][1] = pf.DevmapEntry(4)
    obj.maps["dev"][2] = pf.DevmapEntry(5, obj.programs["other"])
    packets = [
        pp.packet(pp.DEV, n % 3, pp.BROADCAST if n % 2 else 0, n, 64 + n % 200, n // 6 % 6)
        for n in range(900)
    ]
    result, got = replayed(
        tmp_path, obj, packets, (3, 4, 5), engine=engine, workers=workers, batch=32
    )
    for key, port, tag in ((0, 3, 5), (1, 4, None), (2, 5, 6)):
        reach = [p for p in packets if p[16] == pp.BROADCAST or p[15] == key]
        # PASS alone sends; a program at a device may neither TX nor REDIRECT nor anything unknown.
        sent = [p for p in reach if tag is None or p[17] == 2]
        assert pp.numbers(got[port]) == pp.numbers(sent)
        want = [
            p if tag is None else p[:22] + struct.pack("<4I", 1, 0, port, tag) + p[38:]
            for p in sent
        ]
        assert got[port] == want
        row = result.redirects[str(port)]
        assert (row.packets, row.dropped) == (len(sent), len(reach) - len(sent))


@pytest.mark.parametrize("engine", ENGINES)
def test_cpumap_programs_pass_redirect_or_drop(tmp_path: Path, engine: str) -> None:
    obj = loaded()
    obj.maps["cpus"][2] = (64, obj.programs["oncpu"])
    obj.maps["cpus"][6] = (64, None)
    obj.maps["dev"][0] = (3, obj.programs["egress"])
    packets = [pp.packet(pp.CPU, 2 + n % 2 * 4, 0, n, 80, n % 6) for n in range(600)]
    result, got = replayed(tmp_path, obj, packets, (3, "cpu:2", "cpu:6"), engine=engine)
    on_two = [p for p in packets if p[15] == 2]
    assert got["cpu:6"] == [p for p in packets if p[15] == 6]
    assert pp.numbers(got["cpu:2"]) == pp.numbers(p for p in on_two if p[17] == 2)
    assert {stamps(p) for p in got["cpu:2"]} == {(1, 0, 0, 7)}
    # REDIRECT goes to dev[0], whose program sees REDIRECT as its action: dropped there.
    redirected = [p for p in on_two if p[17] == 4]
    assert redirected and result.redirects["3"].dropped == len(redirected)
    assert result.redirects["cpu:2"].dropped == sum(p[17] not in (2, 4) for p in on_two)


def asks_mtu(section: str, name: str) -> str:
    """Source of a program of an entry that writes the MTU of interface 9, or 0, at 22."""
    return (
        f".section {section}\n.program {name}\n{name}:\nr6 = r1\n*(u32 *)(r10 - 4) = 0\n"
        "r2 = 9\nr3 = r10\nr3 += -4\nr4 = 0\nr5 = 0\ncall bpf_check_mtu\n"
        "r2 = *(u32 *)(r6 + 0)\nr3 = *(u32 *)(r6 + 4)\nr4 = r2\nr4 += 42\nr0 = 1\n"
        "if r4 > r3 goto out\nr5 = *(u32 *)(r10 - 4)\n*(u32 *)(r2 + 22) = r5\nr0 = 2\nout:\nexit\n"
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_programs_of_entries_ask_the_same_network(tmp_path: Path, engine: str) -> None:
    obj = pp.spec_of(
        pp.router() + asks_mtu("xdp/devmap", "egress") + asks_mtu("xdp/cpumap", "oncpu")
    ).load()
    obj.maps["dev"][0] = (3, obj.programs["egress"])
    obj.maps["cpus"][0] = (64, obj.programs["oncpu"])
    packets = [pp.packet((pp.DEV, pp.CPU)[n % 2], 0, 0, n) for n in range(40)]
    net = pf.Network(link=[{"ifindex": 9, "ifname": "nine", "mtu": 1234}])
    for network, mtu in ((net, 1234), (None, 0)):
        _, got = replayed(tmp_path, obj, packets, (3, "cpu:0"), engine=engine, network=network)
        for port in (3, "cpu:0"):
            assert [struct.unpack_from("<I", p, 22)[0] for p in got[port]] == [mtu] * 20


@pytest.mark.parametrize("name", ["egress", "oncpu"])
def test_a_hook_takes_no_program_of_an_entry(name: str) -> None:
    """As the kernel's interfaces: EINVAL for attach, update and trial, and nothing changes."""
    obj = loaded()
    hook = pf.Hook("ingress")
    with pytest.raises(
        pf.IncompatibleProgram, match=r"made for entries of a (dev|cpu)map"
    ) as caught:
        hook.attach(obj.programs[name])
    assert (caught.value.errno, caught.value.field) == (errno.EINVAL, "attach")
    link = hook.attach(obj.programs["route"])
    before = hook.datapath.revision
    for call in (link.update, link.shadow, link.canary):
        with pytest.raises(pf.IncompatibleProgram):
            call(obj.programs[name])
    assert hook.datapath.revision == before and link.program is obj.programs["route"]


def test_an_update_of_an_entry_is_a_new_world(tmp_path: Path) -> None:
    obj = loaded()
    hook = pf.Hook("ingress")
    hook.attach(obj.programs["route"])
    seen = []
    before = hook.datapath.revision
    for value in ((3, None), (3, obj.programs["egress"]), (4, obj.programs["other"]), 5):
        obj.maps["dev"][0] = value
        seen.append(hook.datapath.revision - before)
    assert seen == [1, 2, 3, 4]
    del obj.maps["dev"][0]
    assert hook.datapath.revision == before + 5 and len(obj.maps["dev"]) == 0
    source = tmp_path / "in.pcap"
    source.write_bytes(pcap([pp.packet(pp.DEV, 0, 0, n, 64, 2) for n in range(100)]))
    got: dict[int, list[bytes]] = defaultdict(list)

    def at_three(data: bytes, ns: int) -> None:
        got[3].append(data)
        if len(got[3]) == 10:  # between two batches: the next one runs with the other entry
            obj.maps["dev"][0] = (4, obj.programs["other"])

    obj.maps["dev"][0] = (3, obj.programs["egress"])
    pf.replay(source, hook, batch=10, ports={3: at_three, 4: lambda data, ns: got[4].append(data)})
    assert pp.numbers(got[3]) == list(range(10)) and {stamps(p)[3] for p in got[3]} == {5}
    assert pp.numbers(got[4]) == list(range(10, 100)) and {stamps(p)[3] for p in got[4]} == {6}


def test_entries_read_back(tmp_path: Path) -> None:
    obj = loaded()
    egress = obj.programs["egress"]
    obj.maps["dev"][0] = (3, egress)
    assert obj.maps["dev"].entry(0) == pf.DevmapEntry(3, egress)
    assert obj.maps["dev"][0] == struct.pack("<II", 3, egress.id)
    obj.maps["dev"][0] = 4
    assert obj.maps["dev"].entry(0) == pf.DevmapEntry(4, None)
    obj.maps["cpus"][1] = (9, obj.programs["oncpu"])
    assert obj.maps["cpus"].entry(1) == pf.CpumapEntry(9, obj.programs["oncpu"])
    with pytest.raises(pf.MapKeyError):
        obj.maps["devh"].entry(7)


def test_a_program_in_its_own_map_goes_with_it() -> None:
    obj = loaded()
    egress = obj.programs["egress"]
    assert obj.maps["dev"] in egress.maps.values()
    obj.maps["dev"][0] = (3, egress)
    ref, before = egress._ref, egress._ref.references
    del obj, egress
    gc.collect()
    assert ref.references < before and ref.references == 1


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("dev", lambda o: (3, o.programs["route"]), pf.IncompatibleProgram),
        ("dev", lambda o: (3, o.programs["oncpu"]), pf.IncompatibleProgram),
        ("cpus", lambda o: (3, o.programs["egress"]), pf.IncompatibleProgram),
        ("cpus", lambda o: pf.DevmapEntry(3), pf.InputError),
        ("dev", lambda o: (-1, None), pf.InputError),
        ("dev", lambda o: (1, 2), pf.InputError),
        ("dev", lambda o: (1, 2, 3), pf.InputError),
        ("devh", lambda o: (0, None), pf.MapError),
        ("cpus", lambda o: (16385, None), pf.MapError),
    ],
)
def test_what_does_not_fit_is_refused(name: str, value: Any, error: type[Exception]) -> None:
    obj = loaded()
    with pytest.raises(error):
        obj.maps[name][1] = value(obj)
    assert len(obj.maps[name]) == 0


def test_only_devmap_programs_read_egress_ifindex() -> None:
    for section, right in (("xdp/devmap", True), ("xdp/cpumap", False), ("xdp", False)):
        spec = pp.spec_of(
            f".section {section}\n.license GPL\n.program p\np:\nr0 = *(u32 *)(r1 + 20)\nexit\n"
        )
        if right:
            spec.load()
        else:
            with pytest.raises(pf.VerifierError, match="egress_ifindex"):
                spec.load()
