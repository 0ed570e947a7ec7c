"""A replay is a function of programs, captures, map contents and seed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import readers
from commandline import CLOCK, DEMO, EXAMPLES, RANDOM, assembly, pcap, run

import pktfilter as pf
from pktfilter.assembler import assemble

BATCHES = (1, 7, 256, 65536)
#: Two random numbers in one run, mixed: the call number counts.
TWICE = assembly(
    "twice",
    "call bpf_get_prandom_u32#7\nr6 = r0\ncall bpf_get_prandom_u32#7\nr6 <<= 1\nr0 ^= r6\nexit\n",
)


def program(text: str) -> pf.Program:
    (made,) = assemble(text, "p.s")
    return pf.Program.from_bytes(made.insns, name=made.name)


def values(text: str, inputs: object, *, batch: int = 256, seed: int = 0) -> list[int]:
    """What the program returned for each packet."""
    hook = pf.Hook()
    hook.attach(program(text))
    found = [b.retvals for b in pf.batches(inputs, hook, batch=batch, seed=seed)]  # type: ignore[arg-type]
    return [int(value) for value in np.concatenate(found)]


@pytest.mark.parametrize("text", [RANDOM, TWICE, CLOCK], ids=["random", "twice", "clock"])
def test_batches_do_not_show(text: str) -> None:
    want = values(text, DEMO)
    assert len(set(want)) > 1000
    for batch in BATCHES:
        assert values(text, DEMO, batch=batch) == want


def test_the_seed_decides() -> None:
    one = values(RANDOM, DEMO, seed=1)
    assert values(RANDOM, DEMO, seed=1, batch=13) == one
    other = values(RANDOM, DEMO, seed=2)
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 5
    assert values(RANDOM, DEMO, seed=(1 << 64) - 1) != one
    # Evenly spread: every bit is set about half of the time.
    for bit in range(32):
        assert 800 < sum(value >> bit & 1 for value in one) < 1200


def test_packets_are_counted_over_all_inputs(tmp_path: Path) -> None:
    """One file or three: the same packet has the same index, so the same numbers."""
    packets = [r.data for r in readers.walk(DEMO).records]
    parts = []
    for n, (first, last) in enumerate(((0, 700), (700, 701), (701, 2000))):
        parts.append(tmp_path / f"{n}.pcap")
        parts[-1].write_bytes(pcap(packets[first:last]))
    assert values(RANDOM, parts) == values(RANDOM, DEMO)


def test_clocks_are_the_running_maximum_of_capture_time(tmp_path: Path) -> None:
    rng = random.Random(3)
    data = bytearray(pcap([bytes(60)] * 500, nano=True))
    times, at = [], 24
    for _ in range(500):
        time = 1_600_000_000 * 10**9 + rng.randrange(10**12)
        times.append(time)
        data[at : at + 8] = (time // 10**9).to_bytes(4, "little") + (time % 10**9).to_bytes(
            4, "little"
        )
        at += 76
    path = tmp_path / "jumps.pcap"
    path.write_bytes(data)
    want = [max(times[: n + 1]) & 0xFFFFFFFF for n in range(500)]
    for batch in BATCHES:
        assert values(CLOCK, path, batch=batch) == want
    parts = [path, DEMO]  # the clock goes on through all inputs
    assert values(CLOCK, parts)[:500] == want


@pytest.mark.parametrize("text", [RANDOM, CLOCK], ids=["random", "clock"])
def test_the_command_line_and_the_api_agree(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.s"
    path.write_text(text)
    want = values(text, DEMO, seed=42)
    out = tmp_path / "out.pcapng"
    for batch in (1, 65536):
        run("replay", path, DEMO, "--seed", 42, "--batch", batch, "--write", "all", "-w", out)
        got = [dict(r.options)[7] for r in readers.walk(out).records]
        assert [int.from_bytes(option[1:], "little") for option in got] == want


@pytest.mark.parametrize("name", ["ratelimit", "portfw", "synscrub", "stats", "l4lb", "tailcall"])
def test_examples_do_not_see_batches(name: str, tmp_path: Path) -> None:
    """Programs with state in maps and clocks: same packets out, same maps afterwards."""
    seen = []
    for batch in BATCHES:
        obj = pf.load(EXAMPLES / f"{name}.o", cpus=2)
        hook = pf.Hook()
        hook.attach(next(iter(obj.programs.values())))
        out = tmp_path / "out.pcapng"
        result = pf.replay(DEMO, hook, batch=batch, seed=5, write=out, write_actions=tuple(pf.XDP))
        maps = {
            key: sorted(m.items(), key=repr)
            for key, m in obj.maps.items()
            if m.spec.inner is None and m.type != "prog_array"
        }
        seen.append((out.read_bytes(), result.actions, maps))
        assert result.faults == 0
    assert all(entry == seen[0] for entry in seen[1:])


def test_two_runs_give_the_same_report() -> None:
    def report() -> dict[str, object]:
        result = run("replay", EXAMPLES / "ratelimit.o", DEMO, "--json").json
        times = {"elapsed_s", "startup_s", "read_s", "verify_s"}
        return {key: value for key, value in result.items() if key not in times}

    assert report() == report()
