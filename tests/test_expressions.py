"""Expressions as programs: link types, interfaces that come up late, links, trials, the command line."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import pytest
from commandline import DEMO, PASS, pcapng, run
from expression_cases import ETHERNET, NULL, RAW, framed, ipv4

import pktfilter as pf


def replayed(program: pf.Program, file: Path, **options: object) -> pf.ReplayResult:
    hook = pf.Hook()
    hook.attach(program)
    return pf.replay(file, hook, **options)


def mixed(tmp_path: Path, kinds: list[int], ports: list[int]) -> Path:
    """A capture of one interface for each link type, packets in this order."""
    linktypes = sorted(set(kinds))
    packets = [
        (linktypes.index(kind), framed(kind, ipv4(source_port=port)))
        for kind, port in zip(kinds, ports, strict=True)
    ]
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(pcapng(packets, linktypes))
    return path


def test_a_packet_is_judged_by_the_program_for_its_link_type(tmp_path: Path) -> None:
    kinds = [(ETHERNET, NULL, RAW)[i * i % 3] for i in range(700)] + [RAW] * 300
    ports = [53 if i % 7 else 80 for i in range(1000)]
    path = mixed(tmp_path, kinds, ports)
    for workers in (1, 2, 4):
        for engine in ("auto", "checked"):
            program = pf.Program.from_expression("udp port 53", None)
            result = replayed(program, path, workers=workers, engine=engine)
            assert result.packets == 1000 and result.actions["pass"] == ports.count(53)
    assert [kind.linktype for kind in program.members] == [ETHERNET, NULL, RAW]


def test_the_very_packet_where_a_link_type_comes_up(tmp_path: Path) -> None:
    path = mixed(
        tmp_path, [ETHERNET] * 5 + [RAW] + [ETHERNET] * 5, [53, 1, 53, 1, 53, 53] + [1] * 5
    )
    hook = pf.Hook()
    hook.attach(pf.Program.from_expression("port 53"))
    verdicts = [int(v) for batch in pf.batches(path, hook, batch=3) for v in batch.verdicts]
    assert verdicts == [2, 1, 2, 1, 2, 2, 1, 1, 1, 1, 1]
    assert hook.stats.packets == 11 and not hook.stats.uncovered


def test_an_expression_that_does_not_fit_a_later_interface(tmp_path: Path) -> None:
    path = mixed(tmp_path, [ETHERNET] * 4 + [RAW] + [ETHERNET], [53] * 6)
    hook = pf.Hook()
    hook.attach(pf.Program.from_expression("not vlan"))
    with pytest.raises(pf.ExpressionError) as caught:
        pf.replay(path, hook)
    text = str(caught.value)
    assert text.startswith(f"{path}: interface 1: 'not vlan': ")
    assert "101 (RAW)" in text and "no VLAN support for Raw IP" in text
    assert caught.value.result.packets == 4  # what came before it was judged


def test_interfaces_without_packets_do_not_matter_but_the_first(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    packets = [(0, framed(ETHERNET, ipv4()))] * 3
    path.write_bytes(pcapng(packets, [ETHERNET, RAW]))
    assert replayed(pf.Program.from_expression("not vlan"), path).actions["pass"] == 3
    path.write_bytes(pcapng([(1, framed(ETHERNET, ipv4()))], [RAW, ETHERNET]))
    with pytest.raises(pf.ExpressionError, match="interface 0"):
        replayed(pf.Program.from_expression("not vlan", None), path)


def test_the_length_is_that_on_the_wire() -> None:
    packet = framed(ETHERNET, ipv4())
    for expression, lengths in (
        ("greater 100", (100, 5000)),
        ("less 99", (60, 99)),
        ("len = 77", (77,)),
    ):
        program = pf.Program.from_expression(expression)
        for length in lengths:
            assert program.test_run(packet, wire_len=length).action == pf.XDP.PASS
        assert program.test_run(packet, wire_len=101).action == (
            pf.XDP.PASS if expression == "greater 100" else pf.XDP.DROP
        )
    assert pf.Program.from_expression("len = 42").test_run(packet).action == pf.XDP.PASS


def test_all_that_was_captured_is_seen_and_no_more(tmp_path: Path) -> None:
    program = pf.Program.from_expression("ether[9000] = 7")
    long = framed(ETHERNET, ipv4()).ljust(9000, b"\0") + b"\7"
    assert program.test_run(long).action == pf.XDP.PASS
    assert program.test_run(long[:-1], wire_len=9001).action == pf.XDP.DROP
    assert (
        pf.Program.from_expression("not ether[9000] = 7").test_run(long[:-1]).action == pf.XDP.DROP
    )
    path = tmp_path / "x.pcapng"
    path.write_bytes(pcapng([(0, long), (0, long[:-1])], [ETHERNET]))
    hook = pf.Hook()
    hook.attach(pf.load(PASS).program())
    link = hook.attach(program)  # behind an XDP program, which sees Linux's linear part of it
    assert pf.replay(path, hook).actions["pass"] == 1
    link.detach()
    assert pf.replay(path, hook).actions["pass"] == 2


@pytest.mark.parametrize("size", [0, 1, 13, 14, 33])
def test_short_packets_run(size: int) -> None:
    packet = framed(ETHERNET, ipv4())[:size]
    for expression, action in (
        ("", pf.XDP.PASS),
        ("ip", pf.XDP.PASS if size > 13 else pf.XDP.DROP),
    ):
        assert pf.Program.from_expression(expression).test_run(packet).action == action
    assert pf.Program.from_expression("udp").test_run(packet).action == (
        pf.XDP.PASS if size > 23 else pf.XDP.DROP
    )


def test_every_link_type_that_libpcap_has_filters_for() -> None:
    done = 0
    for linktype in range(300):
        try:
            program = pf.Program.from_expression("ip or ip6", linktype)
        except pf.ExpressionError as error:
            assert f"link type {linktype} " in str(error)
            continue
        done += 1
        for packet in (b"", bytes(200), b"\x45" * 200):
            one, other = (
                program.test_run(packet, linktype=linktype, engine=engine).action
                for engine in ("checked", "interp")
            )
            assert one == other
    assert done > 60


def test_other_byte_orders() -> None:
    from pktfilter.expressions import LinkKind

    head = pf.Program.from_expression("ip", None)
    for family in (struct.pack("<I", 2), struct.pack(">I", 2)):
        packet = family + ipv4()
        assert head.prepare(LinkKind(NULL, swapped=True)).test_run(packet).action == pf.XDP.PASS
    swapped = struct.pack(">I", 2) + ipv4()
    assert head.prepare(LinkKind(NULL)).test_run(swapped).action == pf.XDP.DROP
    assert head.prepare(LinkKind(NULL, swapped=True)) is head.prepare(LinkKind(NULL, swapped=True))


def test_links_keep_the_type_of_their_program() -> None:
    xdp, expression = pf.load(PASS).program(), pf.Program.from_expression("tcp")
    for first, second in ((xdp, expression), (expression, xdp)):
        link = pf.Hook().attach(first)
        assert not link.can_update(second)
        with pytest.raises(pf.IncompatibleProgram) as caught:
            link.update(second)
        assert caught.value.field == "type" and link.generation == 1
        with pytest.raises(pf.IncompatibleProgram):
            link.shadow(second)
    with pytest.raises(pf.IncompatibleProgram):
        pf.Hook().attach(pf.Program.from_bytes(b"\x95\0\0\0\0\0\0\0", type="memory", verify=False))


def test_programs_that_come_later_are_ready_for_what_came_before(tmp_path: Path) -> None:
    path = mixed(tmp_path, [RAW, ETHERNET, RAW, NULL, RAW], [53] * 5)
    hook = pf.Hook()
    first = pf.Program.from_expression("udp", None)
    link = hook.attach(first)
    pf.replay(path, hook)
    second = pf.Program.from_expression("tcp", None)
    link.update(second)
    assert len(second.members) == 3
    with pytest.raises(pf.ExpressionError):
        link.update(pf.Program.from_expression("vlan"))
    assert link.program is second
    link.rollback()
    assert link.program is first and pf.replay(path, hook).actions["pass"] == 5


def test_a_rollback_finds_a_program_for_new_link_types(tmp_path: Path) -> None:
    hook = pf.Hook()
    link = hook.attach(pf.Program.from_expression("udp", None))
    link.update(pf.Program.from_expression("tcp", None))
    path = mixed(tmp_path, [RAW, ETHERNET], [53] * 2)
    assert pf.replay(path, hook).actions["drop"] == 2
    link.rollback()
    assert pf.replay(path, hook).actions["pass"] == 2


def test_a_shadow_of_an_expression(tmp_path: Path) -> None:
    path = mixed(tmp_path, [RAW, ETHERNET] * 50, [53, 53, 80, 80] * 25)
    hook = pf.Hook()
    link = hook.attach(pf.Program.from_expression("udp", None))
    trial = link.shadow(pf.Program.from_expression("udp port 53", None))
    result = pf.replay(path, hook)
    assert result.actions["pass"] == 100
    assert trial.report.compared == 100 and trial.report.differing == 50


def test_swaps_at_packets(tmp_path: Path) -> None:
    path = mixed(tmp_path, [ETHERNET] * 6 + [RAW] * 6, [53] * 12)
    for workers in (1, 2):
        hook = pf.Hook()
        link = hook.attach(pf.Program.from_expression("udp", None))
        plan = [(n, link, pf.Program.from_expression(e, None)) for n, e in ((3, "tcp"), (8, "udp"))]
        result = pf.replay(path, hook, swaps=plan, workers=workers)
        assert result.actions["pass"] == 3 + 4 and len(result.swaps) == 2


def test_what_is_no_expression() -> None:
    for text, words in (
        ("foo bar", "syntax error"), ("tcp port 99999", "illegal port"), ("a" * 20000, "too long"),
        ("ip\0", "not text"), ("host 1.2.3.4.5", "1.2.3.4.5"), ("inbound", "savefiles"), ("((((", "syntax"),
        ("\udc80", "not text"), ("ip proto \N{GREEK SMALL LETTER ALPHA}", "syntax"),
        ("ip[0:3] = 1", "data size"), ("1 / 0 = 1", "ivision by zero"),
    ):  # fmt: skip
        with pytest.raises(pf.ExpressionError, match=words):
            pf.Program.from_expression(text)
    with pytest.raises(pf.ExpressionError, match="unknown data link type"):
        pf.Program.from_expression("ip", 9999)


def test_one_that_matches_nothing_is_a_program() -> None:
    program = pf.Program.from_expression("ip and not ip")
    assert program.test_run(framed(ETHERNET, ipv4())).action == pf.XDP.DROP


def test_large_expressions() -> None:
    for count in (50, 360):
        hosts = [f"10.{i >> 8}.{i & 255}.1" for i in range(count)]
        program = pf.Program.from_expression(" or ".join(f"dst host {h}" for h in hosts))
        assert len(program.insns) // 8 > count
        packet = bytearray(framed(ETHERNET, ipv4()))
        for i in (0, count // 2, count - 1, count):
            packet[30:34] = bytes([10, i >> 8, i & 255, 1])
            want = pf.XDP.PASS if i < count else pf.XDP.DROP
            assert program.test_run(bytes(packet)).action == want


def test_large_expressions_of_many_lengths() -> None:
    """Each term proves another number of bytes: the verifier's work must not grow with their square."""
    terms = [f"ip[{i}] + ip[1] = {i & 7}" for i in range(300)]
    program = pf.Program.from_expression(" or ".join(terms))
    assert program.verification is not None and program.verification.insns_processed < 200_000
    packet = bytearray(framed(ETHERNET, ipv4(length=320)))
    assert program.test_run(bytes(packet[:300])).action == pf.XDP.PASS
    packet[15] = 9
    assert program.test_run(bytes(packet[:300])).action == pf.XDP.DROP


def test_wire_len_is_not_for_xdp_programs_and_helpers_not_for_expressions() -> None:
    load = struct.pack("<BBhi", 0x61, 0x10, 24, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    assert pf.Program.from_bytes(load, type="pcap").test_run(b"", wire_len=3).retval == 3
    assert not pf.verify(load, "xdp").ok
    unverified = pf.Program.from_bytes(load, verify=False)
    with pytest.raises(pf.ExecutionFault):
        unverified.test_run(bytes(20))
    meta = struct.pack("<BBhi", 0x61, 0x10, 8, 0) + struct.pack("<BBhi", 0xB7, 0, 0, 0)
    meta += struct.pack("<BBhi", 0x95, 0, 0, 0)
    assert pf.verify(meta, "xdp").ok and not pf.verify(meta, "pcap").ok
    call = struct.pack("<BBhi", 0x85, 0, 0, 7) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    assert pf.verify(call, "xdp").ok and not pf.verify(call, "pcap").ok
    with pytest.raises(pf.ProgramError, match="not available"):
        pf.Program.from_bytes(call, type="pcap")


def test_command_line(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    done = run("replay", "pcap:udp port 53", DEMO, "-w", out, "--json").json
    assert done["actions"]["pass"] == done["written"][str(out)] > 0
    assert done["verify_s"] > 0
    again = run("replay", "pcap:", out, "--json").json
    assert again["actions"]["pass"] == again["packets"] == done["actions"]["pass"]
    assert run("replay", "pcap:not udp port 53", out, "--json").json["actions"]["pass"] == 0
    bad = run("replay", "pcap:foo bar", DEMO, code=1)
    assert "'foo bar'" in bad.error and "syntax error" in bad.error
    swapped = run("replay", "pcap:udp", DEMO, "--swap", "100=pcap:tcp", "--json").json
    assert swapped["swaps"][0]["program"] == "pcap:tcp" and not swapped["errors"]
    refused = run("replay", PASS, DEMO, "--swap", "100=pcap:tcp", code=1)
    assert "pktfilter compile" in refused.error
    assert json_ok(run("verify", "pcap:tcp port 80", "--json").json)
    assert "be16" in run("disasm", "pcap:ip[2:2] > 100").text
    assert "pcap:tcp" in run("inspect", "pcap:tcp").text


def json_ok(result: dict[str, list[dict[str, object]]]) -> bool:
    return [row["ok"] for row in result["programs"]] == [True]


def test_ports_come_in_order() -> None:
    """Of the members only the first packet of a kind waits: compiled once, in the order of the capture."""
    program = pf.Program.from_expression("ip", None)
    counts = [len(program.members)]
    for linktype in (ETHERNET, RAW, RAW, NULL):
        program.test_run(framed(linktype, ipv4()), linktype=linktype)
        counts.append(len(program.members))
    assert counts == [1, 1, 2, 2, 3]
    assert all(a <= b for a, b in pairwise(counts))
