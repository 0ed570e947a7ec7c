"""Traces, coverage and profiles: counts against paths known by other means, and an observer that changes nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from commandline import DEMO, EXAMPLES, PORTFW, assembly, finish, pcap, program, run, start
from pktfilter._core.observe import Observer

import pktfilter as pf
from pktfilter.insight.coverage import cover
from pktfilter.insight.places import Edges, Places
from pktfilter.insight.profile import profile
from pktfilter.insight.steps import Insn
from pktfilter.insight.trace import trace

LOOP = assembly(
    "main",
    """r1 = *(u32 *)(r1 +0)
r6 = *(u8 *)(r1 +0)
r0 = 2
again:
if r6 == 0 goto out
r6 += -1
goto again
out:
exit
""",
)


def packets(count: int = 60) -> list[bytes]:
    raw, at, found = DEMO.read_bytes(), 24, []
    while len(found) < count:
        length = int.from_bytes(raw[at + 8 : at + 12], "little")
        found.append(raw[at + 16 : at + 16 + length])
        at += 16 + length
    return found


def unverified(tmp_path: Path, text: str) -> pf.Program:
    from pktfilter.cli.programs import load_program

    return load_program(str(program(tmp_path, text)), verify=False)[1]


@pytest.mark.parametrize("rounds", [0, 1, 7])
def test_a_loop_is_told_step_by_step(tmp_path: Path, rounds: int) -> None:
    """The path follows from the packet's first byte alone."""
    found = trace(unverified(tmp_path, LOOP), bytes([rounds]) + bytes(20))
    slots = [step.insn for step in found.steps]
    assert slots == [0, 1, 2] + [3, 4, 5] * rounds + [3, 6]
    assert [step.taken for step in found.steps if step.insn == 3] == [False] * rounds + [True]
    values = [step.changes["r6"][0] for step in found.steps if step.insn == 4]
    assert values == list(range(rounds))[::-1]
    assert found.run is not None and found.run.action == pf.XDP.PASS and not found.lost
    first, second = found.steps[0].access, found.steps[1].access
    assert first is not None and (first.place, first.points_to) == ("ctx", "pkt")
    assert second is not None and (second.place, second.size, second.value) == ("pkt", 1, rounds)


def test_what_is_not_kept_is_counted(tmp_path: Path) -> None:
    found = trace(unverified(tmp_path, LOOP), bytes([200]) + bytes(20), limit=10)
    assert len(found.steps) == 10 and found.lost == 3 + 600 + 2 - 10
    assert "595 more steps were not kept" in str(found)
    with pytest.raises(pf.InputError, match="limit of steps"):
        trace(unverified(tmp_path, LOOP), bytes(20), limit=0)


def test_a_run_that_is_stopped_says_where(tmp_path: Path) -> None:
    text = LOOP.replace("*(u8 *)(r1 +0)", "*(u8 *)(r1 +4000)")
    found = trace(unverified(tmp_path, text), bytes(20))
    assert [step.insn for step in found.steps] == [0, 1]
    assert found.run is None and "instruction 1" in str(found.error)
    file = program(tmp_path, text)
    done = run("trace", "--unverified", file, bytes(20).hex(), code=1)
    assert "stopped: " in done.text and "instruction 1" in done.error


def loaded(name: str) -> list[pf.Program]:
    return list(pf.load(EXAMPLES / f"{name}.o").programs.values())


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.o")))
def test_an_observer_changes_nothing_and_counts_what_it_tells(name: str) -> None:
    """Results are those of a run without one; counting and recording, which are apart, agree."""
    for plain, watched in zip(loaded(name), loaded(name), strict=True):
        if plain.spec is not None and plain.spec.attach:
            continue
        for number, packet in enumerate(packets()):
            options: dict[str, Any] = {"time_ns": 5_000 + number, "seed": 3}
            before = plain.test_run(packet, engine="checked", **options)
            observer = Observer(steps=20_000, memory=1 << 20, timed=True)
            after = watched.test_run(packet, engine="checked", observer=observer, **options)
            same = ("retval", "data", "data_meta", "trace", "redirect", "events")
            assert [getattr(before, each) for each in same] == [
                getattr(after, each) for each in same
            ]
            steps = observer.steps()
            assert observer.lost == 0
            told = Counter((step[0], step[1]) for step in steps)
            for index, (ref, ran, taken, took) in enumerate(observer.programs()):
                counts = memoryview(ran).cast("Q")
                assert {slot: n for slot, n in enumerate(counts) if n} == {
                    slot: n for (which, slot), n in told.items() if which == index
                }
                jumps = Counter(
                    a[1] for a, b in pairwise(steps)
                    if a[0] == b[0] == index and a[2] == b[2] and b[1] != a[1] + 1
                    and Insn.at(ref.insns, a[1]).conditional
                )  # fmt: skip
                assert {slot: n for slot, n in enumerate(memoryview(taken).cast("Q")) if n} == jumps
                assert all(counts[slot] for slot, n in enumerate(memoryview(took).cast("Q")) if n)
        for first, second in zip(plain.maps.values(), watched.maps.values(), strict=True):
            if not first.holds_objects and first.key_size:
                assert dict(first.items()) == dict(second.items())


def test_registers_follow_from_the_steps_before() -> None:
    """Between two steps only what is told as changed changes, and stack memory reads as it was written."""
    prog = pf.load(PORTFW).programs["portfw"]
    for packet in packets(20):
        found = trace(prog, packet)
        known: dict[str, int] = {}
        stack: dict[tuple[str, int], int] = {}
        for step in found.steps:
            access = step.access
            if access is not None and access.place.startswith("fp"):
                if access.kind == "write":
                    stack = {k: v for k, v in stack.items() if k[0] != access.place}
                    stack[access.place, access.size] = int(access.value or 0)
                elif (access.place, access.size) in stack:
                    assert access.value == stack[access.place, access.size]
            known |= {name: value for name, (value, _) in step.changes.items()}
        assert found.run is not None
        assert known["r0"] & 0xFFFFFFFF == found.run.retval


def test_calls_are_told_with_keys_and_results() -> None:
    obj = pf.load(PORTFW)
    obj.maps["port_rules"][{"port": 443, "protocol": 6}] = {"id": 1, "action": 1}
    packet = next(p for p in packets() if p[12:14] == b"\x08\x00" and p[23] == 6)
    packet = packet[:36] + (443).to_bytes(2, "big") + packet[38:]
    found = trace(obj.programs["portfw"], packet)
    calls = {step.call.name: step.call for step in found.steps if step.call is not None}
    lookups = [
        s.call for s in found.steps if s.call is not None and s.call.name == "map_lookup_elem"
    ]
    assert calls["xdp_get_buff_len"].result == str(len(packet))
    assert lookups[0].args[0] == "port_rules" and "port: 443" in lookups[0].args[1]
    assert lookups[0].result == f"port_rules[{lookups[0].args[1]}]"
    assert found.run is not None and found.run.action == pf.XDP.DROP
    written = [
        s.access.place for s in found.steps if s.access is not None and s.access.kind == "write"
    ]
    assert any(place.startswith("action_hits[1]") for place in written)


def test_tail_calls_and_subprograms_are_followed() -> None:
    obj = pf.load(EXAMPLES / "tailcall.o")
    for slot, name in enumerate(
        ("check_vlan", "check_ipv4", "check_ipv6", "check_tcp", "check_udp")
    ):
        obj.maps["parsers"][slot] = obj.programs[name]
    seen = set()
    for packet in packets():
        seen |= {step.program for step in trace(obj.programs["dispatch"], packet).steps}
    assert {"dispatch", "check_ipv4"} <= seen
    report = cover(DEMO, obj, "dispatch")
    names = {f.name for each in report.files for f in each.functions}
    assert {"dispatch", "check_vlan", "check_ipv4", "check_ipv6", "check_tcp", "check_udp"} <= names
    steps = [
        s for p in packets() for s in trace(pf.load(EXAMPLES / "subprog.o").program(), p).steps
    ]
    assert max(step.depth for step in steps) >= 1


def test_coverage_is_the_sum_of_traces(tmp_path: Path) -> None:
    chosen = packets(40)
    capture = tmp_path / "in.pcap"
    capture.write_bytes(pcap(chosen))
    obj = pf.load(PORTFW)
    report = cover(capture, obj)
    ran: Counter[tuple[str, int]] = Counter()
    for packet in chosen:
        for step in trace(pf.load(PORTFW).program(), packet).steps:
            assert step.line is not None
            ran[step.line.file.removeprefix("./").removeprefix("./"), step.line.line] += 1
    for each in report.files:
        for line, hits in each.lines.items():
            assert bool(hits) == bool(ran[each.name, line])
            assert hits <= ran[each.name, line]
    costs = profile(capture, pf.load(PORTFW))
    assert {(e.file, e.line): e.instructions for e in costs.lines if e.instructions} == dict(ran)
    assert costs.instructions == report.instructions == sum(ran.values())
    assert report.packets == costs.packets == 40 and costs.ns > 0


def test_more_packets_cover_more_and_every_branch_adds_up(tmp_path: Path) -> None:
    few = tmp_path / "few.pcap"
    few.write_bytes(pcap(packets(1)))
    small, large = cover(few, pf.load(PORTFW)), cover(DEMO, pf.load(PORTFW))
    for a, b in zip(small.files, large.files, strict=True):
        assert a.lines.keys() == b.lines.keys() and len(a.branches) == len(b.branches)
        assert all(b.lines[line] >= hits for line, hits in a.lines.items())
    assert small.totals.lines_hit < large.totals.lines_hit
    assert small.totals.branches_hit <= len([b for f in small.files for b in f.branches])
    assert large.totals.lines == sum(len(f.lines) for f in large.files)


def read_lcov(text: str) -> dict[str, dict[str, Any]]:
    """An independent reader of tracefiles, by geninfo(1)."""
    files: dict[str, dict[str, Any]] = {}
    now: dict[str, Any] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(":")
        parts = rest.split(",")
        if word == "SF":
            now = files[rest] = {"DA": {}, "BRDA": [], "FN": {}, "FNDA": {}}
        elif word == "DA":
            now["DA"][int(parts[0])] = int(parts[1])
        elif word == "BRDA":
            now["BRDA"].append(parts)
        elif word == "FN":
            now["FN"][parts[1]] = int(parts[0])
        elif word == "FNDA":
            now["FNDA"][parts[1]] = int(parts[0])
        elif word in ("LF", "LH", "BRF", "BRH", "FNF", "FNH"):
            now[word] = int(rest)
    return files


def test_the_tracefile_says_the_same(tmp_path: Path) -> None:
    lcov, html = tmp_path / "out.info", tmp_path / "out.html"
    done = run("cover", PORTFW, DEMO, "--json", "--lcov", lcov, "--html", html)
    files = read_lcov(lcov.read_text())
    assert set(files) == {str(EXAMPLES / name) for name in ("portfw.c", "parse.h")}
    for each in done.json["files"]:
        found = files[each["path"]]
        assert found["DA"] == {int(line): hits for line, hits in each["lines"].items()}
        assert found["LF"] == len(found["DA"]) and found["LH"] == sum(
            map(bool, found["DA"].values())
        )
        ways = [None if w[3] == "-" else int(w[3]) for w in found["BRDA"]]
        assert found["BRF"] == len(ways) and found["BRH"] == sum(bool(n) for n in ways)
        assert [n or 0 for n in ways] == [
            n for b in each["branches"] for n in (b["taken"], b["not_taken"])
        ]
        assert found["FNF"] == len(found["FN"]) == len(found["FNDA"])
    page = html.read_text()
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    source = (EXAMPLES / "portfw.c").read_text().splitlines()
    assert page.count('<td class="line">') >= len(source)
    assert "return default_action" in page or "return action;" in page


def test_a_changed_source_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "portfw.c").write_text("int other;\n" * 300)
    done = run("cover", PORTFW, DEMO, "--source", tmp_path, "--json").json
    shown = {each["file"]: each["path"] for each in done["files"]}
    assert shown["portfw.c"] is None
    assert (
        "is not what the object was compiled from"
        in run("cover", PORTFW, DEMO, "--source", tmp_path).text
    )


def test_the_commands_print(tmp_path: Path) -> None:
    done = run("trace", PORTFW, f"{DEMO}:0")
    assert "; int portfw(struct xdp_md *ctx)  (portfw.c:108)" in done.text
    assert re.search(r"map_lookup_elem\(port_rules, \{port: \d+", done.text)
    assert re.search(r"^PASS: \d+ instructions, \d+ calls$", done.text, re.MULTILINE)
    as_json = run("trace", PORTFW, f"{DEMO}:0", "--json").json
    assert as_json["action"] == "pass" and as_json["steps"][0]["insn"] == 0
    assert (
        run("trace", PORTFW, packets(1)[0].hex(), "--json").json["steps"][-1]
        == as_json["steps"][-1]
    )
    assert "PASS" in run("trace", "pcap:tcp", f"{DEMO}:0").text
    kept = tmp_path / "state.json"
    run("trace", PORTFW, f"{DEMO}:0", "--dump-maps", kept)
    assert json.loads(kept.read_text())["action_hits"][0]["value"][0]["packets"] == 1
    text = run("profile", PORTFW, DEMO, "--top", 3).text
    assert text.count("%") == 2 * 3 and "instructions a packet" in text
    assert "never ran" in run("cover", PORTFW, DEMO, "--limit", 1).text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("trace", PORTFW, "zz"), 2, "neither bytes in hex"),
        (("trace", PORTFW, "none.pcap:1"), 2, "no such file"),
        (("trace", PORTFW, f"{DEMO}:99999"), 1, "below 2,000"),
        (("trace", PORTFW, "00"), 1, "at least 14"),
        (("trace", PORTFW, f"{PORTFW}:0"), 1, "portfw.o: "),
        (("cover", "pcap:tcp", DEMO), 1, "no source lines"),
        (("cover", PORTFW, "none.pcap"), 1, "cannot be opened"),
        (("cover", PORTFW, DEMO, "--html", "/dev/full"), 1, "No space left"),
        (("profile", PORTFW, "/dev/null"), 1, ""),
        (("profile", PORTFW), 2, "INPUT"),
    ],
)
def test_refusals_are_one_sentence(arguments: tuple[Any, ...], code: int, words: str) -> None:
    done = run(*arguments, code=code)
    assert words in done.error and "Traceback" not in done.error


def test_reports_replace_no_file_of_the_run(tmp_path: Path) -> None:
    capture = tmp_path / "in.pcap"
    capture.write_bytes(DEMO.read_bytes())
    for option in ("--html", "--lcov", "--dump-maps"):
        assert "would replace" in run("cover", PORTFW, capture, option, capture, code=1).error
    assert (
        "would replace"
        in run("trace", PORTFW, f"{capture}:0", "--dump-maps", capture, code=1).error
    )
    assert capture.read_bytes() == DEMO.read_bytes()


def test_damaged_input_is_covered_up_to_the_damage(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(DEMO.read_bytes()[:5000])
    done = run("cover", PORTFW, cut, "--json", code=1)
    assert done.json["packets"] > 10 and "cut.pcap" in done.error


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    import os
    import signal
    import time

    pipe = tmp_path / "in.pcap"
    os.mkfifo(pipe)
    process = start("cover", PORTFW, pipe)
    with pipe.open("wb", buffering=0) as feed:
        feed.write(DEMO.read_bytes()[:5000])
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        done = finish(process)
    assert done.code == 130 and "Traceback" not in done.error


def test_engines_that_cannot_tell_are_refused() -> None:
    prog = pf.load(PORTFW).program()
    with pytest.raises(pf.InputError, match="checked interpreter"):
        trace(prog, bytes(60), engine="interp")
    hook = pf.Hook("ingress")
    hook.attach(prog)
    with pytest.raises(pf.InputError, match="observer is told"):
        pf.replay(DEMO, hook, observer=Observer(), engine="interp")


def test_the_documented_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of docs/insight.md runs as it stands."""
    root = EXAMPLES.parent
    text = (root / "docs/insight.md").read_text()
    for name in ("examples", "pcaps"):
        (tmp_path / name).symlink_to(root / name)
    monkeypatch.chdir(tmp_path)
    block = text.split("```python\n")[1].split("```")[0]
    exec(compile(block, "docs/insight.md", "exec"), {"packet": packets(1)[0]})
    assert (tmp_path / "cover.html").stat().st_size > 1000
    for line in re.findall(r"^pktfilter (.*)$", text, re.MULTILINE):
        run(*line.split(), cwd=tmp_path)


def test_places_are_named() -> None:
    edges = Edges(900, 1000, 1100)
    places = Places(5000, 24, 90_000)
    places.note(7000, 16, "m[1]")
    places.note_object(42_000, "map[m]")
    named = {
        900: "meta", 950: "meta+50", 1000: "pkt", 1014: "pkt+14", 1100: "pkt_end", 5004: "ctx+4",
        7000: "m[1]", 7008: "m[1]+8", 42_000: "map[m]", 89_488: "fp", 89_480: "fp-8",
        89_992: "fp[0]-8", 3: None,
    }  # fmt: skip
    assert {value: places.name(value, edges, 1) for value in named} == named
    assert places.name(90_000, edges, 0) == "fp" and places.name(89_489, edges, 0) == "fp-511"
