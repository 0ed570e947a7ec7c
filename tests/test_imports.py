"""What short commands import: packages that take longer to import than the work must wait until used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commandline import COMMAND, DEMO, ENVIRONMENT, EXAMPLES, PASS

#: None of them is needed to run packets: each costs from 3 ms (uuid) to over 100 ms (numpy, scapy).
HEAVY = (
    "numpy", "scapy", "llvmlite", "matplotlib", "rich", "elftools", "zstandard", "lz4", "lzma",
    "socket", "pathlib", "json", "email", "asyncio", "importlib.metadata",
    "pktfilter.jit.llvm", "pktfilter.session.live", "pktfilter.session.batches", "pktfilter.control",
    "pktfilter.handles.trial_report", "pktfilter.diagnostics", "pktfilter.assembler",
)  # fmt: skip


def imported(*arguments: object) -> set[str]:
    """The modules in memory when the command has ended."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('imported:', *sys.modules, file=sys.stderr))\n"
    ) + COMMAND[-1]
    done = subprocess.run(
        [*COMMAND[:-1], code, *map(str, arguments)], env=ENVIRONMENT, capture_output=True,
        text=True, timeout=60, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("program", [PASS, EXAMPLES / "filter64.o"], ids=lambda p: p.name)
def test_a_plain_replay(program: Path) -> None:
    modules = imported("replay", program, DEMO)
    assert "pktfilter.session.replay" in modules, "the list is of the command's process"
    assert [name for name in HEAVY if name in modules] == []
    assert "_hashlib" not in modules, "tags of programs are made when asked for"


def test_a_replay_that_prints_json_and_writes(tmp_path: Path) -> None:
    modules = imported("replay", PASS, DEMO, "--json", "-w", tmp_path / "o.pcap")
    assert [name for name in HEAVY if name in modules and name != "json"] == []


def test_compiled_code_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM is for what is compiled anew."""
    pytest.importorskip("llvmlite", reason="the first run compiles with it")
    monkeypatch.setitem(ENVIRONMENT, "PKTFILTER_CACHE", str(tmp_path / "cache"))
    command = ("replay", EXAMPLES / "filter64.o", DEMO, "--engine", "jit")
    assert "llvmlite" in imported(*command)
    again = imported(*command)
    assert [name for name in HEAVY if name in again] == []
    assert "pktfilter.jit.cache" in again and "pktfilter.jit.translate" not in again


def test_the_package_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import pktfilter, sys; print(*sys.modules)"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True, cwd="/",
    )  # fmt: skip
    modules = set(done.stdout.split())
    assert {name for name in modules if name.startswith("pktfilter")} == {"pktfilter"}
