"""CPU ids: leased by the process, one per worker, and no program comes to a map without a value for one.

The verifier takes a lookup with a constant key in a per-CPU array for one that cannot fail
(csrc/hook/hook.h, W7).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commandline import DEMO, EXAMPLES, FIRST_BYTE, pcap, run

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.handles.cpus import default_cpus, leased

TOO_FEW = "has 1 values per key, 2 or more are needed"
TALLY = """
  *(u32 *)(r10 -4) = 0
  r1 = map[{map}]
  r2 = r10
  r2 += -4
  call bpf_map_lookup_elem
{inner}
  r1 = *(u64 *)(r0 +0)
  r1 += 1
  *(u64 *)(r0 +0) = r1
  r0 = 2
  exit
"""
INNER = """
  r1 = r0
  *(u32 *)(r10 -4) = 0
  r2 = r10
  r2 += -4
  call bpf_map_lookup_elem
"""


def program(text: str, **maps: pf.Map) -> pf.Program:
    (made,) = assemble(text, "p.s")
    numbers = {number: maps[name] for number, name in made.map_refs.items()}
    return pf.Program.from_bytes(made.insns, name=made.name, maps=numbers)


def hook_of(text: str) -> tuple[pf.Hook, pf.Link]:
    hook = pf.Hook()
    return hook, hook.attach(program(text))


def counting(cpus: int) -> pf.Program:
    """Counts without a test for NULL: the key is a constant, so the verifier asks for none."""
    counts = pf.Map(pf.MapSpec("percpu_array", 4, 8, 1), cpus=cpus, name="counts")
    text = ".map counts percpu_array 4 8 1" + TALLY.format(map="counts", inner="")
    return program(text, counts=counts)


def calling(array: pf.Map) -> pf.Program:
    text = """.map progs prog_array 4 4 1
      r2 = map[progs]
      r3 = 0
      call bpf_tail_call
      r0 = 2
      exit
    """
    return program(text, progs=array)


def reached_by_a_tail_call() -> pf.Hook:
    array = pf.Map(pf.MapSpec("prog_array", 4, 4, 1))
    array[0] = counting(1)
    hook = pf.Hook()
    hook.attach(calling(array))
    return hook


def reached_through_a_map_of_maps() -> pf.Hook:
    shape = pf.MapSpec("percpu_array", 4, 8, 1)
    outer = pf.Map(pf.MapSpec("array_of_maps", 4, 4, 1, inner=shape))
    outer[0] = pf.Map(shape, cpus=1, name="small")
    text = ".map outer array_of_maps 4 4 1 inner percpu_array 4 8 1" + TALLY.format(
        map="outer", inner="if r0 == 0 goto out" + INNER
    ).replace("  r0 = 2\n", "out:\n  r0 = 2\n")
    hook = pf.Hook()
    hook.attach(program(text, outer=outer))
    return hook


def reached_by_a_shadow() -> pf.Hook:
    hook, link = hook_of(FIRST_BYTE)
    link.shadow(counting(1))
    return hook


def reached_by_a_canary() -> pf.Hook:
    hook, link = hook_of(FIRST_BYTE)
    link.canary(counting(1), fraction=0.9)
    return hook


@pytest.mark.parametrize(
    "made",
    [
        reached_by_a_tail_call,
        reached_through_a_map_of_maps,
        reached_by_a_shadow,
        reached_by_a_canary,
    ],
)
def test_maps_for_fewer_cpus_are_refused_wherever_they_are(made: Callable[[], pf.Hook]) -> None:
    hook = made()
    for engine in ("interp", "jit"):
        with pytest.raises(pf.InputError, match=TOO_FEW):
            pf.replay(DEMO, hook, workers=2, engine=engine)
        assert pf.replay(DEMO, hook, workers=1, engine=engine).packets == 2000


def test_maps_for_fewer_cpus_are_refused_before_a_swap(tmp_path: Path) -> None:
    hook, link = hook_of(FIRST_BYTE)
    out = tmp_path / "o.pcap"
    with pytest.raises(pf.InputError, match="has 1 values per key"):
        pf.replay(DEMO, hook, workers=2, swaps=[(1000, link, counting(1))], write=out)
    assert not out.exists()


def test_test_runs_look_at_all_that_can_be_reached() -> None:
    array = pf.Map(pf.MapSpec("prog_array", 4, 4, 1))
    array[0] = counting(1)
    for checked in (counting(1), calling(array)):
        with pytest.raises(pf.InputError, match="has 1 values per key, 4 or more"):
            checked.test_run(bytes(60), cpu=3)
        assert checked.test_run(bytes(60), cpu=0).retval == 2


def test_maps_for_fewer_cpus_are_refused(tmp_path: Path) -> None:
    obj = pf.load(EXAMPLES / "stats.o", cpus=2)
    hook = pf.Hook()
    hook.attach(next(iter(obj.programs.values())))
    out = tmp_path / "out.pcap"
    with pytest.raises(pf.InputError, match="has 2 values per key, 3 or more are needed"):
        pf.replay(DEMO, hook, workers=3, write=out)
    assert not out.exists()
    assert hook.stats.packets == 0
    assert pf.replay(DEMO, hook, workers=2).packets == 2000


def test_the_command_line_loads_maps_for_its_workers() -> None:
    one = run("replay", EXAMPLES / "stats.o", DEMO, "--json").json
    many = run("replay", EXAMPLES / "stats.o", DEMO, "--json", "--workers", 8, "--unordered").json
    assert many["workers"] == 8
    assert {k: many[k] for k in ("packets", "bytes", "actions")} == {
        k: one[k] for k in ("packets", "bytes", "actions")
    }
    run("replay", EXAMPLES / "stats.o", DEMO, "--workers", 65, code=2)


def test_cpu_ids_are_leased_by_the_process() -> None:
    with leased(2) as first, leased(3) as second:
        assert first == [0, 1]
        assert second == [2, 3, 4]
        assert default_cpus() >= 5
        with pytest.raises(pf.InputError, match="not so many workers"), leased(60):
            pass
    with leased(1) as again:
        assert again == [0]


@contextmanager
def running(hook: pf.Hook) -> Iterator[None]:
    """A replay with two workers that ran some packets and waits for more; at the end it has run all."""
    data = pcap([bytes([n & 1]) + bytes(59) for n in range(300)])
    read_fd, write_fd = os.pipe()
    results: list[pf.ReplayResult] = []
    thread = threading.Thread(
        target=lambda: results.append(pf.replay(f"/dev/fd/{read_fd}", hook, workers=2))
    )
    thread.start()
    try:
        os.write(write_fd, data[:10_000])
        deadline = time.monotonic() + 20
        while hook.stats.packets == 0:
            assert time.monotonic() < deadline, "the replay never began"
            time.sleep(0.01)
        yield
        os.write(write_fd, data[10_000:])
    finally:
        os.close(write_fd)
        thread.join(30)
        os.close(read_fd)
    assert results[0].packets == 300


def test_a_program_for_fewer_cpus_does_not_come_under_running_workers() -> None:
    """By an update, a new link, a trial or a rollback."""
    hook, link = hook_of(FIRST_BYTE)
    small = counting(1)
    link.update(small)
    link.update(program("r0 = 2\nexit\n"))
    link.keep(2)
    with running(hook):
        for change in (
            lambda: link.update(small),
            link.rollback,
            lambda: hook.attach(small),
            lambda: link.shadow(small),
            lambda: link.canary(small, fraction=0.5),
        ):
            with pytest.raises(pf.InputError, match=TOO_FEW):
                change()
    link.update(small)


def test_a_prog_array_does_not_come_to_a_program_for_fewer_cpus() -> None:
    """While workers run; the slot is as it was, and so is what they run."""
    array = pf.Map(pf.MapSpec("prog_array", 4, 4, 1))
    hook = pf.Hook()
    hook.attach(calling(array))
    with running(hook):
        with pytest.raises(pf.InputError, match=TOO_FEW):
            array[0] = counting(1)
        assert not list(array.items())
        array[0] = counting(2)
    array[0] = counting(1)  # nobody runs
