"""Connection tracking: what programs get of the table, and the verifier's verdicts, compared with the kernel's."""

from __future__ import annotations

import errno
import random
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import ct_programs as ct
import kernel
import kernel_kfuncs
import live_net
import pytest

import pktfilter as pf
from pktfilter.insight.trace import trace
from pktfilter.objects import ObjectSpec
from pktfilter.objects.btf_types import Struct
from pktfilter.objects.conn_types import conn_types
from pktfilter.objects.target_btf import read_target

ENGINES = ("checked", "interp", "jit")
SECOND = 10**9
BEGIN = ct.BEGIN
CASES = {
    "found_and_released": ct.ask("lookup") + ct.FOUND + ct.RELEASE,
    "leaked": ct.ask("lookup"),
    "leaked_when_found": ct.ask("lookup") + "if r7 != 0 goto out\n",
    "released_unchecked": ct.ask("lookup") + ct.RELEASE,
    "released_twice": ct.ask("lookup") + ct.FOUND + ct.RELEASE + ct.RELEASE,
    "read_after_release": ct.ask("lookup") + ct.FOUND + ct.RELEASE + "r0 = *(u32 *)(r7 +168)\n",
    "read_unchecked": ct.ask("lookup") + "r0 = *(u32 *)(r7 +168)\n" + ct.FOUND + ct.RELEASE,
    "not_inserted": ct.ask("alloc") + ct.FOUND,
    "allocated_and_released": ct.ask("alloc") + ct.FOUND + ct.RELEASE,
    "inserted_and_leaked": ct.ask("alloc") + ct.FOUND + ct.INSERT,
    "inserted_unchecked": ct.ask("alloc") + ct.INSERT + ct.FOUND + ct.RELEASE,
    "inserted_twice": ct.ask("alloc") + ct.FOUND + ct.INSERT + ct.FOUND + ct.INSERT + ct.FOUND + ct.RELEASE,
    "inserted_and_allocated_one_used": ct.ask("alloc") + ct.FOUND + "r6 = r7\n" + ct.INSERT
    + "r1 = r6\nr2 = 1\ncall bpf_ct_set_timeout\n" + ct.FOUND + ct.RELEASE,
    "lookup_inserted": ct.ask("lookup") + ct.FOUND + ct.INSERT + ct.FOUND + ct.RELEASE,
    "set_timeout_of_a_found_one": ct.ask("lookup") + ct.FOUND
    + "r1 = r7\nr2 = 1\ncall bpf_ct_set_timeout\n" + ct.RELEASE,
    "set_status_of_a_found_one": ct.ask("lookup") + ct.FOUND + "r1 = r7\nr2 = 1\ncall bpf_ct_set_status\n" + ct.RELEASE,
    "change_timeout_of_an_allocated_one": ct.ask("alloc") + ct.FOUND
    + "r1 = r7\nr2 = 1\ncall bpf_ct_change_timeout\n" + ct.INSERT + ct.FOUND + ct.RELEASE,
    "change_status_of_an_allocated_one": ct.ask("alloc") + ct.FOUND
    + "r1 = r7\nr2 = 1\ncall bpf_ct_change_status\n" + ct.INSERT + ct.FOUND + ct.RELEASE,
    "change_with_a_pointer": ct.ask("lookup") + ct.FOUND
    + "r1 = r7\nr2 = r10\ncall bpf_ct_change_timeout\n" + ct.RELEASE,
    "release_of_ctx": "r1 = r9\ncall bpf_ct_release\n",
    "release_of_zero": "r1 = 0\ncall bpf_ct_release\n",
    "release_of_stack": "r1 = r10\nr1 += -8\ncall bpf_ct_release\n",
    "released_as_a_socket": ct.ask("lookup") + ct.FOUND + "r1 = r7\ncall bpf_sk_release\n",
    "spilled": ct.ask("lookup") + "*(u64 *)(r10 -64) = r7\n" + ct.FOUND + "r7 = *(u64 *)(r10 -64)\n" + ct.RELEASE,
    "spilled_and_read_after_release": ct.ask("lookup") + "*(u64 *)(r10 -64) = r7\n" + ct.FOUND + ct.RELEASE
    + "r7 = *(u64 *)(r10 -64)\nr0 = *(u32 *)(r7 +168)\n",
    "two_kinds_at_one_load": "r6 = *(u32 *)(r9 +16)\nif r6 == 1 goto other\n" + ct.ask("alloc") + ct.FOUND + ct.INSERT
    + "goto have\nother:\n" + ct.ask("lookup") + "have:\n" + ct.FOUND + "r0 = *(u32 *)(r7 +168)\n" + ct.RELEASE,
    "in_a_loop": "r6 = 4\nagain:\n" + ct.ask("lookup") + "if r7 == 0 goto next\n" + ct.RELEASE
    + "next: r6 += -1\nif r6 != 0 goto again\n",
    "returned": ct.ask("lookup") + "r0 = r7\nexit\n",
    "passed_to_a_subprogram": ct.ask("lookup") + ct.FOUND + "r1 = r7\ncall put\ngoto out\n"
    "put: call bpf_ct_release\nr0 = 0\nexit\n",
    "result_of_release_is_read": ct.ask("lookup") + ct.FOUND + ct.RELEASE + "r1 = r0\n",
    "no_options": ct.ask("lookup", size=0, zero=(False, True)) + ct.FOUND + ct.RELEASE,
    "no_options_of_a_size": ct.ask("lookup", zero=(False, True)) + ct.FOUND + ct.RELEASE,
    "no_tuple_of_a_size": ct.ask("lookup", zero=(True, False)) + ct.FOUND + ct.RELEASE,
    "tuple_beyond_the_stack": ct.ask("lookup", 57) + ct.FOUND + ct.RELEASE,
    "options_beyond_the_stack": ct.ask("lookup", size=17) + ct.FOUND + ct.RELEASE,
    "size_from_a_packet": "r6 = *(u32 *)(r8 +72)\n" + ct.ask("lookup").replace("r3 = 12", "r3 = r6")
    + ct.FOUND + ct.RELEASE,
    "size_bounded": "r6 = *(u32 *)(r8 +72)\nr6 &= 31\n" + ct.ask("lookup").replace("r3 = 12", "r3 = r6")
    + ct.FOUND + ct.RELEASE,
    "packet_as_memory": "r1 = r9\nr2 = r8\nr2 += 32\nr3 = 12\nr4 = r8\nr4 += 14\nr5 = 16\ncall bpf_xdp_ct_lookup\n"
    "r7 = r0\n" + ct.FOUND + ct.RELEASE,
    "options_unwritten": "r1 = r9\nr2 = r10\nr2 += -56\nr3 = 12\nr4 = r10\nr4 += -16\nr5 = 16\n"
    "call bpf_xdp_ct_lookup\nr7 = r0\n" + ct.FOUND + ct.RELEASE,
    "another_context": ct.ask("lookup").replace("r1 = r9", "r1 = r10") + ct.FOUND + ct.RELEASE,
    "dead_after_a_call": ct.ask("lookup") + ct.FOUND + "r6 = r7\n" + ct.RELEASE + "r6 += 1\n",
}  # fmt: skip
STRICTER = {
    "moved": ct.ask("lookup")
    + ct.FOUND
    + "r6 = r7\nr6 += 168\nr0 = *(u32 *)(r6 +0)\n"
    + ct.RELEASE,
}
"""What Linux takes and the engine refuses, with a sentence that says so."""


def linux_takes(insns: bytes) -> tuple[bool, str]:
    try:
        with kernel.KernelProgram.load(kernel_kfuncs.resolved(insns)) as loaded:
            return True, loaded.log
    except kernel.KernelError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES, errno.E2BIG, errno.EPERM):
            raise
        return False, error.log


def engine_or_skip(engine: str) -> None:
    if engine == "jit":
        pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")


# ---- what the verifier takes ----


@kernel.requires_kernel()
@pytest.mark.parametrize("name", CASES)
def test_verdict_is_linux_s(name: str) -> None:
    insns = ct.code(BEGIN + CASES[name] + ct.END)
    takes, log = linux_takes(insns)
    ours = pf.verify(insns)
    assert ours.ok == takes, log + str(ours.diagnostics)


@kernel.requires_kernel()
@pytest.mark.parametrize("name", STRICTER)
def test_what_is_refused_here_alone(name: str) -> None:
    insns = ct.code(BEGIN + STRICTER[name] + ct.END)
    assert linux_takes(insns)[0]
    ours = pf.verify(insns)
    assert not ours.ok
    assert "connection" in str(ours.diagnostics[0])


def _access(at: int, text: str, function: str = "lookup") -> bytes:
    after = ct.INSERT + ct.FOUND if function == "alloc" else ""
    body = ct.ask(function) + ct.FOUND + text.format(f"(r7 +{at})") + after
    return ct.code(BEGIN + body + ct.RELEASE + ct.END)


@kernel.requires_kernel()
@pytest.mark.parametrize("function", ["lookup", "alloc"])
def test_what_can_be_read_linux_lets_read_too(function: str) -> None:
    """Whole fields; Linux has more of them, which the engine does not keep."""
    taken = 0
    for bits in (8, 16, 32, 64):
        for at in range(0, 180, bits // 8):
            insns = _access(at, f"r0 = *(u{bits} *){{}}\n", function)
            if pf.verify(insns).ok:
                taken += 1
                takes, log = linux_takes(insns)
                assert takes, (bits, at, log)
    assert taken > 60


@kernel.requires_kernel()
@pytest.mark.parametrize("function", ["lookup", "alloc"])
def test_what_can_be_written_is_linux_s(function: str) -> None:
    taken = 0
    for bits in (8, 16, 32, 64):
        for at in [*range(0, 16, bits // 8), *range(120, 180, bits // 8)]:
            insns = _access(at, f"r1 = 1\n*(u{bits} *){{}} = r1\n", function)
            takes, log = linux_takes(insns)
            assert pf.verify(insns).ok == takes, (bits, at, log)
            taken += takes
    assert taken == 3


# ---- fields by CO-RE ----

FIELDS = Path(__file__).parent / "objects" / "ct_fields.o"


def _seen(lookup: Any) -> list[int]:
    return [int.from_bytes(lookup(key.to_bytes(4, "little")), "little") for key in range(13)]


@kernel.requires_kernel()
@pytest.mark.parametrize("target", [None, "system"])
def test_fields_are_where_the_engine_has_them(target: str | None) -> None:
    """Whatever types the user names: a C program with types of its own, run here and in Linux, once to enter the
    connection and once to find it."""
    pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")
    spec = ObjectSpec.from_file(FIELDS)
    del spec.programs["missing"]
    loaded = {engine: pf.load(spec, btf=target) for engine in ENGINES}
    networks = {engine: pf.Network() for engine in ENGINES}
    program = loaded["interp"].programs["fields"]
    assert program.spec is not None

    def compare() -> None:
        with (
            kernel.KernelMap("array", 4, 8, 16) as held,
            kernel.KernelProgram.load(
                kernel_kfuncs.resolved(program.spec.insns),
                maps=dict.fromkeys(program.spec.map_refs, held),
            ) as theirs,
        ):
            for _ in range(2):
                assert theirs.test_run(bytes(60)).retval == pf.XDP.PASS
                want = _seen(held.lookup)
                for engine, obj in loaded.items():
                    run = obj.programs["fields"].test_run(
                        bytes(60), engine=engine, network=networks[engine]
                    )
                    assert run.retval == pf.XDP.PASS
                    assert _seen(obj.maps["seen"].lookup) == want
            assert want[4:7] == [44, 14, 3]

    with live_net.namespace() as net:
        net.call(compare)


def test_a_field_that_is_not_kept_is_named() -> None:
    with pytest.raises(pf.VerifierError, match=r"nf_conn\.no_such_member.*keeps of a connection"):
        pf.load(FIELDS)


@kernel.requires_kernel()
def test_the_layout_is_this_kernel_s() -> None:
    """C1 of csrc/prog/conn.h, by the kernel's own types."""
    theirs = read_target("system")
    assert theirs is not None
    for name, struct_ in (
        (t.name, t) for t in conn_types().types if isinstance(t, Struct) and t.name
    ):
        at = theirs.find(name, Struct)
        assert at is not None, name
        found = theirs.get(at)
        assert isinstance(found, Struct)
        places = {member.name: member.bit_offset for member in found.members}
        assert {m.name: m.bit_offset for m in struct_.members}.items() <= places.items(), name
        assert struct_.size == found.size, name


# ---- what the table answers ----

HOSTS = [
    (f"10.0.0.{a}", p, f"10.0.0.{b}", q)
    for a in (1, 2)
    for b in (1, 2)
    for p in (5, 6)
    for q in (5, 7)
]
TUPLES = [ct.tuple_of(*row) for row in HOSTS]
TUPLES6 = [
    ct.tuple_of(f"2001:db8::{row[0][-1]}", row[1], f"2001:db8::{row[2][-1]}", row[3])
    for row in HOSTS
]


def _some(rng: random.Random, name: str) -> ct.Ask:
    six = "6" in name or rng.random() < 0.1
    status = rng.choice([0, 8, 10, 14, 2, 4, 6, 1, 9, 0x408, 0x400, 0x3FFF, 0xFFFF, 0x20A, 0x1000, 0x2000, 0x800008,
                         rng.getrandbits(32)])  # fmt: skip
    timeout = rng.choice([60_000, 100_000, 2**31, 2**32 - 1, 100_001, 3_600_000])
    return ct.Ask(
        rng.choice(TUPLES6 if six else TUPLES),
        netns=rng.choice([-1] * 12 + [-2, 5, 0]),
        protocol=rng.choice([6] * 6 + [17] * 3 + [1, 0]),
        zone=rng.choice([0, 0, 0, 1, 1, 2]),
        zone_dir=rng.choice([0, 0, 0, 1, 2, 3, 4, 7]),
        reserved=rng.choice([bytes(3)] * 9 + [b"\0\0\1"]),
        numbers=(timeout, status, rng.getrandbits(32)),
    )


def _compare(asks: list[tuple[str, ct.Ask]], networks: dict[str, pf.Network]) -> Counter[str]:
    """Asks the kernel and every engine the same, one after another; how often each script read a connection."""
    scripts = {name: ct.script(name) for name in ct.SCRIPTS}
    ours = {name: pf.Program.from_bytes(insns) for name, insns in scripts.items()}
    theirs = {
        name: kernel.KernelProgram.load(kernel_kfuncs.resolved(insns), log_level=0)
        for name, insns in scripts.items()
    }
    seen: Counter[str] = Counter()
    try:
        for number, (name, ask) in enumerate(asks):
            run = theirs[name].test_run(ask.packet())
            want = ct.Answer.of(run.retval, run.packet)
            for engine, network in networks.items():
                made = ours[name].test_run(ask.packet(), engine=engine, network=network)
                got = ct.Answer.of(made.retval, made.data)
                assert want.agrees(got), (number, name, engine, ask, want, got)
            seen[name] += want.read
            seen["error " + str(struct.unpack_from("<i", want.options, 4)[0])] += 1
    finally:
        for program in theirs.values():
            program.close()
    return seen


@kernel.requires_kernel()
@pytest.mark.parametrize("seed", range(3))
def test_the_table_answers_as_linux_s(seed: int) -> None:
    """Allocating, inserting, finding, changing: IPv4 and IPv6, both ways, zones, wrong options of every kind."""
    pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")
    rng = random.Random(seed)
    names = list(ct.SCRIPTS)
    asks = [(name, _some(rng, name)) for name in rng.choices(names, k=1500)]
    with live_net.namespace() as net:
        seen = net.call(_compare, asks, {engine: pf.Network() for engine in ENGINES})
    for name in ("lookup", "lookup6", "lookup_old", "unconfirmed", "insert", "set", "change_timeout", "change_status",
                 "mark", "mark_half", "mark_added"):  # fmt: skip
        assert seen[name] >= 4, seen
    for number in (errno.EINVAL, errno.EPROTO, errno.ENOENT, errno.EAFNOSUPPORT, errno.ENONET):
        assert seen[f"error {-number}"] >= 10, seen


GIVEN = ct.tuple_of("10.0.0.1", 5, "10.0.0.2", 7)
ROWS: list[dict[str, Any]] = [
    {"proto": "tcp", "src": "10.0.0.1", "sport": 5, "dst": "10.0.0.2", "dport": 7, "mark": 99, "timeout": 600},
    {"proto": "udp", "src": "10.0.0.2", "sport": 5, "dst": "10.0.0.1", "dport": 7, "zone": 1, "status": [],
     "timeout": 700},
    {"proto": "tcp", "src": "2001:db8::1", "sport": 6, "dst": "2001:db8::2", "dport": 5, "zone": 2, "zone_dir": 1,
     "status": ["seen_reply", "fixed_timeout"], "timeout": 800},
    {"proto": "udp", "src": "2001:db8::2", "sport": 6, "dst": "2001:db8::1", "dport": 7, "timeout": 900},
]  # fmt: skip


@kernel.requires_kernel()
def test_a_table_that_was_given_answers_as_linux_s() -> None:
    """Linux's is made by programs: the same connections as the rows, and then the same questions."""
    made = []
    for row in ROWS:
        six = ":" in row["src"]
        status = sum({"seen_reply": 2, "assured": 4, "fixed_timeout": 0x400}[name]
                     for name in row.get("status", ["seen_reply", "assured"]))  # fmt: skip
        ask = ct.Ask(
            ct.tuple_of(row["src"], row["sport"], row["dst"], row["dport"]),
            protocol=6 if row["proto"] == "tcp" else 17,
            zone=row.get("zone", 0),
            zone_dir=row.get("zone_dir", 0),
            numbers=(row["timeout"] * 1000, status, row.get("mark", 0)),
        )
        made.append(("set6" if six else "set", ask))
    rng = random.Random(7)
    names = ["lookup", "lookup6", "lookup_old", "change_timeout", "change_status", "mark", "insert"]
    asks = []
    for name in rng.choices(names, k=1200):
        one = _some(rng, name)
        near = made[rng.choice([2, 3] if "6" in name else [0, 1])][1]
        asks.append(
            (
                name,
                replace(one, tuple=near.tuple, protocol=near.protocol, zone=near.zone)
                if rng.random() < 0.5
                else one,
            )
        )

    def compare() -> Counter[str]:
        for name, ask in made:
            insns = kernel_kfuncs.resolved(ct.script(name))
            with kernel.KernelProgram.load(insns, log_level=0) as program:
                assert program.test_run(ask.packet()).packet[ct.OUT + 8] == 1
        return _compare(asks, {engine: pf.Network(ct=ROWS) for engine in ENGINES[:2]})

    with live_net.namespace() as net:
        seen = net.call(compare)
    assert seen["lookup"] > 10
    assert seen["lookup6"] > 5


@kernel.requires_kernel()
def test_what_has_expired_is_not_found() -> None:
    one = ct.Ask(TUPLES[0], numbers=(0, 8, 1))
    asks = [
        ("insert", one),
        ("lookup", one),
        ("change_timeout", one),
        ("lookup", one),
        ("insert", one),
        ("lookup", one),
    ]
    with live_net.namespace() as net:
        seen = net.call(_compare, asks, {engine: pf.Network() for engine in ENGINES[:2]})
    assert seen["insert"] == 2
    assert seen["lookup"] == 2


# ---- without an oracle: time, size, workers, files ----


def ask(
    name: str, engine: str, network: pf.Network | None, question: ct.Ask, time_ns: int
) -> ct.Answer:
    program = pf.Program.from_bytes(ct.script(name))
    run = program.test_run(question.packet(), engine=engine, network=network, time_ns=time_ns)
    return ct.Answer.of(run.retval, run.data)


def error_of(answer: ct.Answer) -> int:
    return int(struct.unpack_from("<i", answer.options, 4)[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_connections_age_by_the_packets_time(engine: str) -> None:
    """A new one lives 10 seconds unless it is told otherwise; rows that are given age from the first packet on."""
    engine_or_skip(engine)
    network, start = pf.Network(ct=ROWS), 1_700_000_000 * SECOND
    given, new = ct.Ask(GIVEN), ct.Ask(TUPLES[3])
    assert ask("lookup", engine, network, given, start).left == 600 * 250
    assert ask("insert", engine, network, new, start).read
    assert len(network.connections(start)) == 5
    assert ask("lookup", engine, network, new, start + 9 * SECOND).left == 250
    assert error_of(ask("lookup", engine, network, new, start + 10 * SECOND)) == -errno.ENOENT
    assert ask("lookup", engine, network, given, start + 599 * SECOND).left == 250
    assert not ask("lookup", engine, network, given, start + 600 * SECOND).read
    assert [row["proto"] for row in network.connections(start + 650 * SECOND)] == [
        "udp",
        "tcp",
        "udp",
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_table_refuses_until_something_expires(engine: str) -> None:
    """Linux's error, ENOMEM from the allocation; Linux may also throw a connection out that is not assured."""
    engine_or_skip(engine)
    network, start = pf.Network(ct_max=3), 1_700_000_000 * SECOND
    four = [ct.Ask(t) for t in TUPLES[1:8:2]]
    for at, each in enumerate(four[:3]):
        assert ask("insert", engine, network, each, start + at * SECOND).read
    full = ask("insert", engine, network, four[3], start + 9 * SECOND)
    assert (full.read, error_of(full)) == (0, -errno.ENOMEM)
    assert ask("insert", engine, network, four[3], start + 10 * SECOND).read
    assert not ask("lookup", engine, network, four[0], start + 10 * SECOND).read
    assert ask("lookup", engine, network, four[1], start + 10 * SECOND).read


def test_a_table_s_listing_can_be_given_again() -> None:
    network = pf.Network(ct=ROWS)
    listed = network.connections(0)
    assert pf.Network(ct=listed).connections(0) == listed
    first = listed[0]
    assert first["reply"] == {"src": "10.0.0.2", "sport": 7, "dst": "10.0.0.1", "dport": 5}
    assert first["status"] == ["seen_reply", "assured", "confirmed"]
    assert (first["mark"], first["timeout"], first["zone"]) == (99, 600, 0)


def test_connections_of_another_namespace() -> None:
    network = pf.Network(ct=[{**ROWS[0], "netns": 4}])
    for netns, expected in ((4, 77), (-1, -errno.ENOENT), (5, -errno.ENONET)):
        found = ask("lookup", "interp", network, ct.Ask(GIVEN, netns=netns), SECOND)
        assert error_of(found) == expected
        assert found.read == (netns == 4)


def _capture(path: Path, packets: list[bytes]) -> Path:
    out = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    for at, packet in enumerate(packets):
        out += struct.pack("<IIII", 1_700_000_000 + at, 0, len(packet), len(packet)) + packet
    path.write_bytes(out)
    return path


@pytest.mark.parametrize("engine", ENGINES)
def test_a_replay_s_packets_meet_in_one_table(engine: str, tmp_path: Path) -> None:
    """A packet a second enters the same connection, which lives for ten. The expectation is computed here."""
    engine_or_skip(engine)
    packets = [ct.Ask(TUPLES[1]).packet() for _ in range(40)]
    hook = pf.Hook()
    hook.attach(pf.Program.from_bytes(ct.script("insert")))
    capture = _capture(tmp_path / "in.pcap", packets)
    pf.replay(capture, hook, write=tmp_path / "out.pcap", engine=engine, batch=8)
    written = (tmp_path / "out.pcap").read_bytes()[24:]
    size = 16 + len(packets[0])
    reads = [ct.Answer.of(2, written[at * size + 16 : (at + 1) * size]).read for at in range(40)]
    assert reads == [int(at % 10 == 0) for at in range(40)]


def test_several_workers_are_refused(tmp_path: Path) -> None:
    hook = pf.Hook()
    hook.attach(pf.Program.from_bytes(ct.script("lookup"), name="asks"))
    capture = _capture(tmp_path / "in.pcap", [bytes(300)])
    with pytest.raises(
        pf.InputError, match=r"asks.*programs that track connections run in one worker"
    ):
        pf.replay(capture, hook, workers=2)


def test_a_program_with_no_network_has_an_empty_table() -> None:
    for engine in ENGINES[:2]:
        assert ask("insert", engine, None, ct.Ask(TUPLES[1]), SECOND).read == 1
        assert error_of(ask("lookup", engine, None, ct.Ask(TUPLES[1]), SECOND)) == -errno.ENOENT


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"proto": "icmp"}, "ct[0].proto"),
        ({"src": "10.0.0.300"}, "ct[0].src"),
        ({"dst": "::1"}, "ct[0].dst"),
        ({"sport": 65536}, "ct[0].sport"),
        ({"dport": None}, "ct[0].dport"),
        ({"zone": -1}, "ct[0].zone"),
        ({"zone_dir": 4}, "ct[0].zone_dir"),
        ({"netns": -2}, "ct[0].netns"),
        ({"mark": 2**32}, "ct[0].mark"),
        ({"timeout": 0}, "ct[0].timeout"),
        ({"status": ["asleep"]}, "ct[0].status"),
        ({"status": 2**16}, "ct[0].status"),
        ({"reply": 3}, "ct[0].reply"),
        ({"reply": {"src": "10.0.0.1"}}, "ct[0].reply"),
    ],
)  # fmt: skip
def test_what_is_no_connection_is_refused(row: dict[str, Any], place: str) -> None:
    with pytest.raises(pf.InputError) as caught:
        pf.Network.from_json({"ct": [{**ROWS[0], **row}]})
    assert place in str(caught.value)


def test_connections_that_cannot_be_side_by_side() -> None:
    back = {"src": "10.0.0.2", "sport": 7, "dst": "10.0.0.1", "dport": 5}
    for second in (ROWS[0], {**ROWS[0], **back}):
        with pytest.raises(pf.InputError, match=r"ct\[1\].*ct\[0\]"):
            pf.Network(ct=[ROWS[0], second])
    assert pf.Network(ct=[ROWS[0], {**ROWS[0], "zone": 3}]).counts["connections"] == 2


@pytest.mark.parametrize("size", [0, 1, 2**24 + 1, "many", 2.5, True])
def test_a_table_of_no_such_size(size: Any) -> None:
    with pytest.raises(pf.InputError, match="ct_max"):
        pf.Network.from_json({"ct": ROWS[:2], "ct_max": size})


def test_a_trace_names_connections() -> None:
    program = pf.Program.from_bytes(ct.script("set"))
    question = ct.Ask(GIVEN, numbers=(60_000, 2, 9))
    found = trace(program, question.packet(), network=pf.Network())
    calls = {
        step.call.name: (step.call.args, step.call.result) for step in found.steps if step.call
    }
    assert calls["xdp_ct_alloc"][1] == calls["ct_insert_entry"][1] == "conn#1"
    assert calls["ct_set_timeout"][0] == ["conn#1", "60000"]
    written = [
        step.access for step in found.steps if step.access and step.access.place == "conn#1+168"
    ]
    assert written[0].value == 9


# ---- unverified programs ----

MISUSE = {
    "ends while it holds 1 connections": (ct.ask("lookup"), ct.ask("alloc")),
    "of helper ct_release": (
        ct.ask("lookup") + ct.FOUND + ct.RELEASE + ct.RELEASE,
        ct.ask("alloc") + ct.FOUND + ct.RELEASE,
    ),
    "of helper ct_insert_entry": (ct.ask("lookup") + ct.FOUND + ct.INSERT,),
    "of helper ct_change_status": (
        "r1 = r8\nr2 = 8\ncall bpf_ct_change_status\n",
        ct.ask("alloc") + ct.FOUND + "r1 = r7\nr2 = 8\ncall bpf_ct_change_status\n",
    ),
    "outside what the program may read": (
        ct.ask("lookup") + ct.FOUND + "r0 = *(u64 *)(r7 +0)\n" + ct.RELEASE,
        ct.ask("lookup") + ct.FOUND + "r0 = *(u64 *)(r7 +176)\n" + ct.RELEASE,
    ),
    "outside what the program may write": (
        ct.ask("lookup") + ct.FOUND + "r1 = 1\n*(u64 *)(r7 +128) = r1\n" + ct.RELEASE,
    ),
}


@pytest.mark.parametrize("what", MISUSE)
def test_the_checked_interpreter_stops_misuse(what: str) -> None:
    """And gives back what is held: nothing keeps an expired connection's place, or an allocated one's."""
    for body in MISUSE[what]:
        network = pf.Network(ct=ROWS[:1], ct_max=2)
        assert ask("lookup", "interp", network, ct.Ask(GIVEN), SECOND).read
        wrong = pf.Program.from_bytes(ct.code(BEGIN + body + ct.END), verify=False)
        for _ in range(3):
            with pytest.raises(pf.ExecutionFault, match=what):
                wrong.test_run(
                    ct.Ask(GIVEN).packet(), engine="checked", network=network, time_ns=SECOND
                )
        for each in (TUPLES[3], TUPLES[7]):
            assert ask("insert", "interp", network, ct.Ask(each), 602 * SECOND).read
