"""`pktfilter compile`: objects that the kernel takes, and that decide as libpcap does."""

from __future__ import annotations

from pathlib import Path

import kernel
import pytest
from commandline import run
from expression_cases import EXPRESSIONS, packets

import pktfilter as pf
from pktfilter.objects import ObjectSpec

PASS, DROP = 2, 1


def compiled(expression: str, tmp_path: Path) -> tuple[Path, str]:
    """The object, and what was said."""
    path = tmp_path / "f.o"
    return path, run("compile", expression, "-o", path).error


@kernel.requires_kernel()
@pytest.mark.parametrize("expression", ["", "ip", *EXPRESSIONS])
def test_the_kernel_takes_it_and_agrees_with_libpcap(expression: str, tmp_path: Path) -> None:
    cypcap = pytest.importorskip("cypcap")
    path, _ = compiled(expression, tmp_path)
    spec = ObjectSpec.from_file(path)
    program = spec.programs["filter"]
    assert not program.helpers and not spec.maps
    mine = pf.Program.from_bytes(program.insns)
    with cypcap.open_dead(cypcap.DatalinkType.EN10MB, 262144) as capture:
        theirs = capture.compile(expression, True)
    with kernel.KernelProgram.load(program.insns, license=spec.license) as loaded:
        for packet in packets(len(expression) + 1):
            if len(packet) < 14:  # the kernel runs nothing shorter
                continue
            header = cypcap.Pkthdr(0.0, len(packet), len(packet))
            want = PASS if theirs.offline_filter(header, packet) else DROP
            assert loaded.test_run(packet).retval == want, packet.hex()
            assert mine.test_run(packet).retval == want, packet.hex()


def test_it_says_where_len_is_another(tmp_path: Path) -> None:
    for expression in ("greater 100", "len < 60 and ip", "ip and less 99"):
        assert "length" in compiled(expression, tmp_path)[1]
    for expression in ("ip", "ip[2:2] > 100", ""):
        assert not compiled(expression, tmp_path)[1]


def test_what_it_refuses(tmp_path: Path) -> None:
    path = tmp_path / "f.o"
    assert "syntax error" in run("compile", "foo bar", "-o", path, code=1).error
    assert "802.11" in run("compile", "type mgt", "-o", path, code=1).error
    run("compile", "ip", "-o", "-", code=2)
    run("compile", "ip", "-o", path, "--name", "no name", code=2)
    assert not path.exists()
    missing = tmp_path / "missing" / "f.o"
    assert "cannot be written" in run("compile", "ip", "-o", missing, code=1).error


def test_the_object_replays_as_the_expression(tmp_path: Path) -> None:
    demo = Path(__file__).parent.parent / "pcaps" / "demo.pcap"
    for expression in ("tcp", "udp port 53 or icmp", "pcap:vlan", "ip6 and not tcp"):
        path, _ = compiled(expression, tmp_path)
        prog = "pcap:" + expression.removeprefix("pcap:")
        ours = run("replay", prog, demo, "--json").json
        theirs = run("replay", path, demo, "--json").json
        assert ours["actions"] == theirs["actions"] and ours["packets"] > 0
