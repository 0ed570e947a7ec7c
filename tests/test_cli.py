"""The commands: usage, refusals, what they print, how they end."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import readers
from commandline import (
    COMMAND,
    DEMO,
    ENVIRONMENT,
    EXAMPLES,
    FIRST_BYTE,
    OUT_OF_BOUNDS,
    PASS,
    PCAPS,
    PORTFW,
    Done,
    assembly,
    check,
    finish,
    pcap,
    program,
    run,
    start,
)  # fmt: skip

VLAN = EXAMPLES / "vlan.o"


# Usage


@pytest.mark.parametrize("command", ["", "replay", "inspect", "disasm", "asm", "generate"])
def test_help(command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.text.startswith("Usage: pktfilter")
    assert not done.err
    assert max(map(len, done.text.splitlines())) <= 100


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("nonsense",), ("replay",), ("replay", PASS), ("replay", PASS, DEMO, "--batch", 0),
        ("replay", PASS, DEMO, "--batch", "many"), ("replay", PASS, DEMO, "--engine", "warp"),
        ("replay", PASS, DEMO, "--write", "some", "-w", "x.pcap"),
        ("replay", PASS, DEMO, "--write", "drop"), ("replay", PASS, DEMO, "--comment"),
        ("replay", PASS, DEMO, "--seed", -1), ("replay", PASS, DEMO, "--swap", "7"),
        ("replay", PASS, DEMO, "--swap", f"-1={PASS}"), ("replay", PASS, DEMO, "--swap", "9="),
        ("replay", PASS, DEMO, "--swap", f"{10**30}={PASS}"), ("replay", VLAN, DEMO),
        ("disasm", VLAN), ("inspect",), ("asm", "x.s"), ("generate", "--nonsense"),
    ],
)  # fmt: skip
def test_usage_errors_exit_2(arguments: tuple[object, ...], tmp_path: Path) -> None:
    run(*arguments, cwd=tmp_path, code=2)
    assert not list(tmp_path.iterdir())


def test_version() -> None:
    assert run("--version").text.startswith("pktfilter")


def test_several_programs_are_listed() -> None:
    done = run("replay", VLAN, DEMO, code=2)
    assert "vlan_push, vlan_pop" in done.error and f"{VLAN}:vlan_push" in done.error
    assert run("replay", f"{VLAN}:vlan_pop", DEMO, "--json").json["packets"] == 2000


@pytest.mark.parametrize(
    ("prog", "words"),
    [
        (f"{VLAN}:absent", "no program named 'absent', expected one of: vlan_push, vlan_pop"),
        ("absent.o", "absent.o: object cannot be read: No such file"),
        ("absent.s", "absent.s: assembly cannot be read: No such file"),
        (".", "directory"),
        ("/bin/true", "expected EM_BPF"),
        (str(DEMO), "not an ELF object"),
        ("/dev/null", "/dev/null"),
    ],
)
def test_programs_that_are_none(prog: str, words: str) -> None:
    error = run("replay", prog, DEMO, code=1).error
    assert words in error
    assert error.startswith("pktfilter: ") and error.count("\n") == 1


def test_damaged_objects(tmp_path: Path) -> None:
    whole = PORTFW.read_bytes()
    path = tmp_path / "cut.o"
    for size in (1, 63, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:size])
        assert "cut.o" in run("replay", path, DEMO, code=1).error


def test_assembly_errors_name_the_line(tmp_path: Path) -> None:
    path = program(tmp_path, assembly("p", "r0 = 2\nr1 = bogus +\nexit\n"))
    for command in (
        ("replay", path, DEMO),
        ("disasm", path),
        ("asm", path, "-o", tmp_path / "x.o"),
    ):
        error = run(*command, code=1).error
        assert f"{path}: line 6" in error
    assert not (tmp_path / "x.o").exists()
    path.write_bytes(os.urandom(300))
    assert "not UTF-8" in run("replay", path, DEMO, code=1).error


def test_engines(tmp_path: Path) -> None:
    """Verified programs run without checks unless asked; a short run ends before compiled code."""
    for engine, ran in (("auto", "interp"), ("interp", "interp"), ("checked", "checked")):
        result = run("replay", PASS, DEMO, "--engine", engine, "--json").json
        assert result["engine_packets"] == {"checked": 0, "interp": 0, "jit": 0} | {ran: 2000}
    path = program(tmp_path, OUT_OF_BOUNDS)
    error = run("replay", path, DEMO, "--unverified", "--engine", "interp", code=1).error
    assert "verified programs only" in error


def test_a_refused_program_is_explained(tmp_path: Path) -> None:
    error = run("replay", program(tmp_path, OUT_OF_BOUNDS), DEMO, code=1).error
    assert "r3 = *(u64 *)(r2 +0)" in error
    assert "p.s: program 'oob', instruction 1: " in error.splitlines()[-1]


# What it prints


def test_the_summary() -> None:
    lines = run("replay", PORTFW, DEMO).text.splitlines()
    assert lines[0].split() == ["action", "packets", "share", "bytes", "share"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:7]}
    assert list(rows) == ["ABORTED", "DROP", "PASS", "TX", "REDIRECT", "all"]
    assert rows["all"] == ["2,000", "165,808"]
    assert int(rows["PASS"][0].replace(",", "")) + int(rows["DROP"][0]) == 2000
    assert any(re.fullmatch(r"[\d.]+ s, [\d.]+ .?packet/s, \d+ ns/packet", line) for line in lines)


def test_faults_are_counted_and_told(tmp_path: Path) -> None:
    path = program(tmp_path, OUT_OF_BOUNDS)
    text = run("replay", path, DEMO, "--unverified").text
    assert "2,000 runs were stopped" in text and "ABORTED" in text
    assert "packet 0: program 'oob': instruction 1: load of 8 bytes" in text
    result = run("replay", path, DEMO, "--unverified", "--json").json
    assert result["faults"] == result["actions"]["aborted"] == 2000
    assert "instruction 1" in result["first_fault"]


def test_unknown_actions_are_aborted_and_no_fault(tmp_path: Path) -> None:
    capture = tmp_path / "in.pcap"
    capture.write_bytes(pcap(bytes([n]) * 60 for n in (0, 1, 2, 3, 4, 5, 255)))
    result = run("replay", program(tmp_path, FIRST_BYTE), capture, "--json").json
    assert result["actions"] == {"aborted": 3, "drop": 1, "pass": 1, "tx": 1, "redirect": 1}
    assert result["faults"] == 0


def test_json_schema(tmp_path: Path) -> None:
    out = tmp_path / "o.pcap"
    result = run("replay", PASS, DEMO, "--swap", f"9={PORTFW}", "-w", out, "--json").json
    number = (int, float)
    shape: dict[str, object] = {
        "packets": int, "bytes": int, "actions": dict, "uncovered": int, "elapsed_s": number,
        "startup_s": number, "verify_s": number, "compile_s": number, "read_s": number,
        "engine_packets": dict, "workers": int, "batch": int, "batches": int, "seed": int,
        "tier_ups": int, "written": dict, "swaps": list, "inputs": list,
    }  # fmt: skip
    for name, kind in shape.items():
        assert isinstance(result[name], kind), name  # type: ignore[arg-type]
        assert not isinstance(result[name], bool)
    assert list(result["actions"]) == ["aborted", "drop", "pass", "tx", "redirect"]
    assert list(result["engine_packets"]) == ["checked", "interp", "jit"]
    assert result["written"] == {str(out): result["actions"]["pass"]}
    (swap,) = result["swaps"]
    assert {k: swap[k] for k in ("generation", "program", "first_packet")} == {
        "generation": 2, "program": "portfw", "first_packet": 9,
    }  # fmt: skip
    assert swap["publish_ns"] >= 0 and swap["grace_ns"] >= 0
    assert result["inputs"] == [
        {"path": str(DEMO), "packets": 2000, "truncated": False, "error": None}
    ]
    assert 0 < result["elapsed_s"] < 10 and 0 < result["startup_s"] < 10
    assert 0 < result["read_s"] <= result["elapsed_s"]


def test_inspect() -> None:
    text = run("inspect", EXAMPLES / "stats.o").text
    for word in ("stats", "xdp", "map_lookup_elem", "percpu_hash", "array_of_maps", "hash_of_maps"):
        assert word in text
    assert "…" not in text
    described = run("inspect", EXAMPLES / "stats.o", "--json").json
    assert [p["name"] for p in described["programs"]] == ["stats"]
    assert {m["name"] for m in described["maps"]} >= {"protocols", "classes", "tenants", "sizes"}


@pytest.mark.parametrize("prog", ["filter64.o", "tailcall.o:check_tcp"])
def test_disasm_is_what_asm_reads(prog: str, tmp_path: Path) -> None:
    text = run("disasm", EXAMPLES / prog).text
    back = tmp_path / "back.o"
    run("asm", program(tmp_path, text), "-o", back)
    assert "\n; " in text
    plain = run("disasm", EXAMPLES / prog, "--no-source").text
    assert run("disasm", back).text.splitlines() == plain.splitlines()
    want = run("replay", EXAMPLES / prog, DEMO, "--json").json["actions"]
    assert run("replay", back, DEMO, "--json").json["actions"] == want


def test_generate(tmp_path: Path) -> None:
    for out in ("a.pcap", "b.pcap"):
        text = run(
            "generate", out, "-n", 1000, "--profile", "imix_simple", "--seed", 3, cwd=tmp_path
        ).text
        assert text.startswith(f"{out}: 1,000 packets")
    assert (tmp_path / "a.pcap").read_bytes() == (tmp_path / "b.pcap").read_bytes()
    assert len(readers.walk(tmp_path / "a.pcap").records) == 1000
    run("generate", "c.pcap", "--flows", "wrong", cwd=tmp_path, code=2)
    assert "No such file" in run("generate", tmp_path / "no" / "c.pcap", code=1).error


@pytest.mark.parametrize(
    "name", [b"a[bold][red]:smile:.pcap", b"\xff\xfe.pcap", "ü µ.pcap".encode()]
)
def test_odd_file_names(name: bytes, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    Path(os.fsdecode(path)).write_bytes(DEMO.read_bytes())
    done = run("replay", PASS, os.fsdecode(path), "-w", os.fsdecode(path + b".out"))
    assert b"packets written to" in done.out
    assert run("replay", PASS, os.fsdecode(path), "--json").json["packets"] == 2000
    Path(os.fsdecode(path)).write_bytes(b"damaged")
    assert run("replay", PASS, os.fsdecode(path), code=1).error.count("\n") == 1


# How it ends


def on_terminal(*arguments: object) -> tuple[int, str]:
    """Runs a command whose three streams are a terminal; exit status and what was shown."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100"},
        stdin=child, stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    shown = b""
    while select.select([parent], [], [], 60)[0]:
        try:
            data = os.read(parent, 65536)
        except OSError:  # the other side has gone
            break
        shown += data
        if not data:
            break
    os.close(parent)
    done = check(Done(process.wait(timeout=30), shown, b"on the terminal"))
    return done.code, shown.decode(errors="replace")


def test_progress_on_a_terminal_only() -> None:
    many = [DEMO] * 3000
    code, shown = on_terminal("replay", PASS, *many)
    assert code == 0
    assert "packet/s" in shown and "%" in shown and "━" in shown
    assert "6,000,000" in shown
    done = run("replay", PASS, *many[:50])
    assert b"\x1b" not in done.out + done.err and not done.err


def test_no_capture_to_a_terminal() -> None:
    code, shown = on_terminal("replay", PASS, DEMO, "-w", "-")
    assert code == 1
    assert "terminal" in shown and len(shown) < 300


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng"])
def test_interrupted(number: signal.Signals, name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    process = start("replay", PORTFW, *[DEMO] * 10000, "-w", out, "--json")
    while not out.exists() or out.stat().st_size < 1 << 20:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(number)
    done = finish(process)
    assert done.code == 130
    result = done.json
    assert result["interrupted"] and not result["errors"]
    assert 2000 < result["packets"] < 20_000_000
    assert sum(entry["packets"] for entry in result["inputs"]) == result["packets"]
    walked = readers.walk(out)
    assert walked.damage is None
    assert len(walked.records) == result["actions"]["pass"] == result["written"][str(out)]


def test_a_full_disk(tmp_path: Path) -> None:
    error = run("replay", PASS, DEMO, "-w", "/dev/full", code=1).error
    assert "/dev/full: write failed: No space left on device" in error

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    for name in ("out.pcap", "out.pcapng"):
        out = tmp_path / name
        done = run("replay", PASS, DEMO, "-w", out, "--json", code=1, preexec=limit)
        assert f"{out}: write failed: File too large" in done.error
        assert done.error.count("\n") == 1
        walked = readers.walk(out)
        assert walked.damage is None
        assert 90_000 < out.stat().st_size <= 100_000
        assert done.json["written"] == {str(out): len(walked.records)}


@pytest.mark.parametrize("options", [("--json",), ()])
def test_standard_output_that_cannot_be_written(options: tuple[str, ...]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = run("replay", PASS, DEMO, *options, stdout=full, code=1)
    assert "No space left" in done.error
    done = run("inspect", PASS, stdout=full, code=1)
    os.close(full)
    assert done.error == "pktfilter: standard output: No space left on device\n"


def test_closed_standard_output(tmp_path: Path) -> None:
    run("inspect", PASS, preexec=lambda: os.close(1))
    assert "standard output" in run(
        "replay", PASS, DEMO, "-w", "-", code=1, preexec=lambda: os.close(1)
    ).error  # fmt: skip


def test_a_closed_pipe() -> None:
    process = start("replay", PASS, *[DEMO] * 200, "-w", "-")
    assert process.stdout is not None
    assert process.stdout.read(100)[:4] == b"\xd4\xc3\xb2\xa1"
    process.stdout.close()
    process.stdout = None
    done = finish(process)
    assert done.code == 1
    assert "standard output: write failed: Broken pipe" in done.error


def test_capture_on_standard_output() -> None:
    done = run("replay", PORTFW, DEMO, "-w", "-", "--json")
    result = json.loads(done.err)
    walked = readers.walk(done.out)
    assert walked.damage is None
    assert len(walked.records) == result["written"]["-"] == result["actions"]["pass"]


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "in.pcap"
    copy.write_bytes(DEMO.read_bytes())
    (tmp_path / "link.pcap").symlink_to(copy)
    for out in (copy, tmp_path / "link.pcap"):
        assert "also an input" in run("replay", PASS, copy, "-w", out, code=1).error
    with copy.open("rb") as file:
        assert (
            "also an input"
            in run("replay", PASS, "-", "-w", copy, stdin=file.fileno(), code=1).error
        )
    assert copy.read_bytes() == DEMO.read_bytes()
    for out, word in {
        "no/out.pcap": "No such file", ".": "directory", "out.pcap.gz": "compressed",
    }.items():  # fmt: skip
        assert word in run("replay", PASS, copy, "-w", out, cwd=tmp_path, code=1).error
    assert (
        "pcapng"
        in run("replay", PASS, copy, "-w", "o.pcap", "--comment", cwd=tmp_path, code=1).error
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.pcap", "link.pcap"]


@pytest.mark.parametrize("command", ["replay", "verify", "inspect", "disasm"])
def test_a_file_that_is_no_object_is_called_so(command: str, tmp_path: Path) -> None:
    (tmp_path / "empty.o").touch()
    inputs = [DEMO] if command == "replay" else []
    error = run(command, tmp_path / "empty.o", *inputs, code=1).error
    assert "not an ELF object, found an empty file" in error
    swapped = run(command, DEMO, *([PASS] if inputs else []), code=1).error
    assert "not an ELF object, found a file that starts with 0xd4c3b2a1" in swapped
    assert "the program comes first" in swapped
    assert error.count("\n") == swapped.count("\n") == 1


def test_arguments_that_name_no_file(tmp_path: Path) -> None:
    assert "PROG names no file, found :pass" in run("replay", ":pass", DEMO, code=2).error
    assert "name one" in run("generate", "-", "-n", "1", cwd=tmp_path, code=2).error
    source = program(tmp_path, assembly("p", "r0 = 2\nexit\n"))
    assert "name one" in run("asm", source, "-o", "-", cwd=tmp_path, code=2).error
    assert [path.name for path in tmp_path.iterdir()] == ["p.s"]


def test_ctrl_c_before_the_command_line_is_there() -> None:
    early = (
        "import os, signal, sys\n"
        "class Early:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Early())\n"
    )
    command = [*COMMAND[:2], early + COMMAND[2], "--version"]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=PCAPS, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_an_interface_that_is_none_is_the_only_thing_said() -> None:
    error = run("live", "no-such-0", PASS, code=1).error
    assert error.startswith("pktfilter: no-such-0: there is no such network interface")
    assert error.count("\n") == 1


@pytest.mark.parametrize("group", [(), ("link",), ("map",), ("bench",)])
def test_lists_of_commands_are_whole_sentences(group: tuple[str, ...]) -> None:
    """No line of a list of commands is cut short, and all are in one tone: they begin with a verb."""
    listed = run(*group, "--help").text.partition("Commands:\n")[2].splitlines()
    assert listed
    for line in listed:
        text = line.split(maxsplit=1)[1]
        assert text.endswith(".") and not text.endswith("..."), line
        assert not text.split()[0].endswith("s"), line


def test_a_guard_that_saw_too_little_says_so() -> None:
    options = ("--canary", PORTFW, "--fraction", "0.3", "--guard")
    assert "the guard judged faults only" in run("replay", PASS, DEMO, *options).text
    assert "the guard judged" not in run("replay", PASS, DEMO, *options[:-1]).text


def test_the_source_tree_says_that_it_is_not_built(tmp_path: Path) -> None:
    copy = tmp_path / "pktfilter"
    shutil.copytree(
        PCAPS.parent / "pktfilter", copy, ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    done = subprocess.run(
        [sys.executable, "-c", "import pktfilter; pktfilter.load('x.o')"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"ImportError: {copy} is pktfilter's source tree" in done.stderr


def test_the_readme_commands(tmp_path: Path) -> None:
    """Every command line of the README that starts with pktfilter does what it says, in its order."""
    readme = (PCAPS.parent / "README.md").read_text()
    lines = re.findall(r"^pktfilter (.*?)(?:\s+#.*)?$", readme, re.MULTILINE)
    assert len(lines) >= 6
    for folder in ("examples", "pcaps"):
        (tmp_path / folder).symlink_to(PCAPS.parent / folder)
    for line in lines:
        command, _, out = line.replace("-n 10000000", "-n 1000").partition(" > ")
        words = shlex.split(command)
        if words[0] == "live":  # needs interfaces: tests/test_live_filter.py
            continue
        done = run(*words, cwd=tmp_path)
        if out:
            (tmp_path / out).write_bytes(done.out)
