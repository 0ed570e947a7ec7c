"""The pytest plugin as projects use it: pytest in a process and a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import DEMO, ENVIRONMENT, EXAMPLES, PORTFW
from hypothesis import given
from hypothesis import strategies as st

from pktfilter.testing.differences import packet_difference

ROOT = EXAMPLES.parent
HEAD = """
import pytest, struct
import pktfilter as pf
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
TELNET = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(dport=23)
"""


class Project:
    """A folder with a test file and portfw.o."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(PORTFW, folder / "portfw.o")
        shutil.copy(DEMO, folder / "demo.pcap")

    def run(
        self, text: str, *arguments: str, code: int = 0, env: dict[str, str] | None = None
    ) -> str:
        (self.folder / "test_it.py").write_text(HEAD + text)
        done = subprocess.run(
            [sys.executable, "-c", "import sys, pytest; sys.exit(pytest.main())", "-p", "pktfilter.pytest_plugin",
             "-p", "no:cacheprovider", "-rs", *arguments],
            cwd=self.folder, capture_output=True, text=True, timeout=120, check=False,
            env={**ENVIRONMENT, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **(env or {})},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_is_right_passes(project: Project) -> None:
    out = project.run("""
def test_a(xdp):
    fw = xdp.load("portfw.o")
    result = fw.run(TELNET).expect("drop", unchanged=True, redirect=None, meta=b"", events=[])
    assert result.packet[TCP].dport == 23 and result.retval == 1
    assert fw.contents("rule_hits")[0]["value"][0]["packets"] == 1

def test_maps_are_fresh(xdp):
    fw = xdp.load("portfw.o")
    assert fw.contents("rule_hits") == []
    assert fw.replay("demo.pcap").packets == 2000
""")
    assert "2 passed" in out


def test_what_is_wrong_is_said(project: Project) -> None:
    out = project.run(
        """
def test_action(xdp):
    xdp.load("portfw.o").run(TELNET).expect("pass")

def test_packet(xdp):
    other = TELNET.copy()
    other[IP].ttl = 63
    xdp.load("portfw.o").run(TELNET).expect(pf.XDP.PASS, packet=other, redirect=3, meta=b"ab", events=[b"x"])

def test_name(xdp):
    xdp.load("portfw.o").run(TELNET).expect("forward")

def test_key(xdp):
    xdp.load("portfw.o").maps["port_rules"][{"prot": 1}]

def test_contents(xdp):
    xdp.load("portfw.o").contents("rules")

def test_text(xdp):
    xdp.load("portfw.o").run("0011")
""",
        code=1,
    )
    assert "6 failed" in out
    assert "portfw over Ether / IP / TCP 10.0.0.1:ftp_data > 10.0.0.2:telnet S" in out
    assert "action is DROP, expected PASS" in out
    assert "IP.ttl is 64, expected 63" in out and "the packet is another:" in out
    assert "redirect goes to None, expected 3" in out
    assert "metadata is empty, expected 6162" in out
    assert "0 events, expected 1" in out
    assert re.search(
        r"to see each step, with fresh maps: pktfilter trace portfw.o:portfw 0200000000010200", out
    )
    assert "no such action, found forward, expected aborted, drop, pass, tx, redirect" in out
    assert "there is no such field" in out
    assert "the object has no such map, found rules" in out
    assert "a packet is bytes, a scapy packet or a captured one, found str" in out


def test_what_cannot_be_loaded_is_one_clear_error(project: Project) -> None:
    (project.folder / "bad.o").write_bytes(b"\x7fELF nothing")
    (project.folder / "unsafe.c").write_text(
        '__attribute__((section("xdp"), used)) int f(int *p) { return p[99]; }\n'
    )
    (project.folder / "wrong.c").write_text("int f( {\n")
    out = project.run(
        """
def test_missing(xdp): xdp.load("none.o")
def test_bad(xdp): xdp.load("bad.o")
def test_program(xdp): xdp.load("portfw.o", "other")
def test_unsafe(xdp): xdp.load("unsafe.c")
def test_wrong(xdp): xdp.load("wrong.c")
""",
        code=1,
    )
    assert "none.o: no such object or source" in out
    assert "bad.o" in out and "no program named 'other'" in out
    if "needs clang" not in out:
        assert "wrong.c:1" in out and "the source does not compile" in out
        assert "VerifierError" in out and "5 failed" in out


def test_sources_are_compiled_once(project: Project) -> None:
    (project.folder / "tag.c").write_text("""
#ifndef TAG
#define TAG 1
#endif
__attribute__((section("xdp"), used)) int tag(void *ctx) { return TAG; }
""")
    out = project.run("""
@pytest.mark.parametrize("n", range(3))
def test_one(xdp, n):
    assert xdp.load("tag.c").run(bytes(60)).action.name == "DROP"
    assert xdp.load("tag.c", flags=("-DTAG=3",)).run(bytes(60)).action.name == "TX"

def test_two(xdp, _xdp_objects):
    xdp.load("tag.c")
    assert len(list(_xdp_objects.glob("*.o"))) == 2
""")
    assert "4 passed" in out or "needs clang" in out
    out = project.run("def test_one(xdp): xdp.load('tag.c')\n", env={"PATH": "/nonexistent"})
    assert "tag.c needs clang to be compiled" in out


def test_captures_make_a_test_of_each_packet(project: Project) -> None:
    out = project.run(
        """
seen = []
@pytest.mark.capture("demo.pcap", first=3, limit=4)
def test_one(xdp, captured):
    seen.append(captured)
    assert xdp.load("portfw.o").run(captured).run.retval in (1, 2)

def test_all():
    raw, at = open("demo.pcap", "rb").read(), 24
    for number in range(7):
        seconds, micros, length = struct.unpack_from("<III", raw, at)
        if number >= 3:
            packet = seen[number - 3]
            assert packet.data == raw[at + 16 : at + 16 + length]
            assert packet.time_ns == seconds * 10**9 + micros * 1000
            assert (packet.index, packet.linktype) == (number, 1)
        at += 16 + length
""",
        "-v",
    )
    assert "test_one[demo.pcap:3]" in out and "test_one[demo.pcap:6]" in out and "5 passed" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@pytest.mark.capture('none.pcap')\ndef test_one(captured): pass", "none.pcap: cannot be opened"),
        ("@pytest.mark.capture('portfw.o')\ndef test_one(captured): pass", "portfw.o"),
        ("@pytest.mark.capture('demo.pcap')\ndef test_one(xdp): pass", "needs the argument 'captured'"),
        ("@pytest.mark.capture(limit=3)\ndef test_one(captured): pass", "takes files"),
        ("@pytest.mark.xdp_engines('fast')\ndef test_one(xdp): pass", "there are checked, interp, jit"),
    ],
)  # fmt: skip
def test_marks_that_mean_nothing_are_refused(project: Project, text: str, words: str) -> None:
    assert words in project.run(text + "\n", code=2)


def test_engines(project: Project) -> None:
    text = """
def test_any(xdp): assert xdp.load("portfw.o").run(TELNET).action == pf.XDP.DROP
@pytest.mark.xdp_engines("checked", "interp")
def test_two(xdp): assert xdp.engine in ("checked", "interp", "jit")
"""
    assert "3 passed" in project.run(text)
    assert "2 passed" in project.run(text, "--xdp-engine=checked")
    late = "def test_late(request): assert request.getfixturevalue('xdp').load('portfw.o').run(TELNET).retval == 1\n"
    assert "1 passed" in project.run(late, "--xdp-engine=all")
    out = project.run(text, "--xdp-engine=all", "-v")
    assert "5 passed" in out
    assert all(f"test_any[{name}]" in out for name in ("checked", "interp", "jit"))


def test_a_project_that_does_not_use_it_pays_nothing(project: Project) -> None:
    (project.folder / "conftest.py").write_text("")
    (project.folder / "test_it.py").unlink(missing_ok=True)
    (project.folder / "test_other.py").write_text(
        "import sys\ndef test_one():\n"
        "    found = [n for n in sys.modules if n.startswith('pktfilter')]\n"
        "    assert sorted(found) == ['pktfilter', 'pktfilter.pytest_plugin']\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import sys, pytest; sys.exit(pytest.main())", "-p", "pktfilter.pytest_plugin", "-q"],
        cwd=project.folder, capture_output=True, text=True, timeout=60, check=False,
        env={**ENVIRONMENT, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_example_passes(tmp_path: Path) -> None:
    for name in ("examples", "pcaps"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for engine in ("auto", "all"):
        done = subprocess.run(
            [sys.executable, "-c", "import sys, pytest; sys.exit(pytest.main())", "-p", "pktfilter.pytest_plugin",
             "-q", "examples", f"--xdp-engine={engine}"],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
            env={**ENVIRONMENT, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    assert os.path.exists(tmp_path / "examples/test_portfw.py")


def test_the_documented_example_passes(project: Project) -> None:
    """The first block of docs/testing.md, with portfw.o as fw.o."""
    text = (ROOT / "docs/testing.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shutil.copy(PORTFW, project.folder / "fw.o")
    shutil.copy(DEMO, project.folder / "traffic.pcap")
    out = project.run("\n".join(blocks).replace('("PASS", "TX")', '("PASS", "TX", "DROP")'))
    assert "102 passed" in out


@given(st.binary(min_size=0, max_size=80), st.binary(min_size=0, max_size=80))
def test_differences_are_told_where_there_are_any(a: bytes, b: bytes) -> None:
    lines = packet_difference(a, b)
    assert bool(lines) == (a != b)
    found = [line.split("found")[1].strip() for line in lines if "  found " in line]
    rows = [at for at in range(0, max(len(a), len(b)), 16) if a[at : at + 16] != b[at : at + 16]]
    assert [bytes.fromhex(row) for row in found] == [a[at : at + 16] for at in rows]
