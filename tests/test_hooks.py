"""Links from Python: the order of checks, compare-and-swap, generations, detach, bindings."""

from __future__ import annotations

import errno
import gc
import struct

import pytest

import pktfilter as pf


def returns(action: int, name: str = "p", type: str = "xdp") -> pf.Program:
    code = struct.pack("<BBhiQ", 0xB7, 0, 0, action, 0x95)
    return pf.Program.from_bytes(code, type=type, name=name)


def run(hook: pf.Hook, capture: str) -> dict[str, int]:
    return pf.replay(capture, hook).actions


@pytest.fixture
def link() -> pf.Link:
    return pf.Hook("ingress").attach(returns(2, "first"))


def test_update_returns_what_changed(link: pf.Link) -> None:
    first, second = link.program, returns(1, "second")
    old, new, generation = update = link.update(second)
    assert (old, new) == (first, second)
    assert generation == update.generation == link.generation == 2
    assert link.program is second
    assert link.hook.datapath.worlds_live == 1
    assert update.publish_ns < 1_000_000_000


def test_same_program_publishes_nothing(link: pf.Link) -> None:
    before = link.hook.datapath.revision
    current = link.program
    assert current is not None
    assert link.update(current).generation == 1
    assert link.hook.datapath.revision == before


def test_identity_compare_and_swap(link: pf.Link) -> None:
    current, new = link.program, returns(1)
    assert current is not None
    twin = pf.Program.from_bytes(current.insns)
    with pytest.raises(pf.StaleProgram) as caught:
        link.update(new, expect=twin)
    assert caught.value.errno == errno.EPERM
    link.update(new, expect=current)
    with pytest.raises(pf.StaleProgram):
        link.update(new, expect=current)  # even though new is current already
    assert link.generation == 2


def test_generation_compare_and_swap_closes_the_aba_hole(link: pf.Link) -> None:
    a, b = link.program, returns(1)
    assert a is not None
    seen = link.generation
    link.update(b)
    link.update(a)
    link.update(b, expect=a)  # identity alone is fooled
    link.update(a)
    with pytest.raises(pf.StaleGeneration) as caught:
        link.update(b, expect=a, expect_generation=seen)
    assert caught.value.errno == errno.ESTALE


def test_wrong_type_changes_nothing(link: pf.Link) -> None:
    before = (link.program, link.generation, link.hook.datapath.revision)
    with pytest.raises(pf.IncompatibleProgram) as caught:
        link.update(returns(1, type="memory"))
    assert caught.value.errno == errno.EINVAL
    assert caught.value.field == "type"
    assert (link.program, link.generation, link.hook.datapath.revision) == before


def test_detached_comes_first(link: pf.Link) -> None:
    link.detach()
    link.detach()
    assert link.detached
    assert link.program is None
    with pytest.raises(pf.LinkDetached) as caught:
        link.update(returns(1, type="memory"), expect=returns(1), expect_generation=99)
    assert caught.value.errno == errno.ENOLINK


def test_empty_hook_passes_uncovered(demo: str) -> None:
    hook = pf.Hook()
    result = pf.replay(demo, hook)
    assert result.uncovered == result.packets == result.actions["pass"] > 0
    assert hook.stats.uncovered == result.packets


def test_chain_by_priority_and_continue_on(demo: str) -> None:
    hook = pf.Hook()
    hook.attach(returns(1, "drop"), priority=60)
    first = hook.attach(returns(2, "pass"), priority=10)
    assert run(hook, demo)["drop"] > 0  # pass goes on to drop
    first.detach()
    hook.attach(returns(3, "tx"), priority=10)
    actions = run(hook, demo)
    assert actions["tx"] > 0
    assert actions["drop"] == 0  # tx does not go on
    assert [link.priority for link in hook.links] == [10, 60]


def test_unknown_action_is_aborted(demo: str) -> None:
    hook = pf.Hook()
    hook.attach(returns(7))
    actions = run(hook, demo)
    assert actions["aborted"] > 0
    assert sum(actions.values()) == actions["aborted"]


def test_dropped_handle_stays_attached(demo: str) -> None:
    hook = pf.Hook()
    hook.attach(returns(1))
    gc.collect()
    assert run(hook, demo)["pass"] == 0


def test_two_hooks_of_one_datapath_are_published_together() -> None:
    datapath = pf.Datapath()
    a, b = datapath.hook("a"), datapath.hook("b")
    assert datapath.hook("a") is a
    link_a, link_b = a.attach(returns(1)), b.attach(returns(2))
    assert link_a.id != link_b.id
    assert datapath.generation == 2
    link_a.update(returns(2))
    assert (link_a.generation, link_b.generation) == (2, 1)


def test_prog_array_write_publishes_a_world_and_no_generation(demo: str) -> None:
    array = pf.Map(pf.MapSpec("prog_array", 4, 4, 2))
    # r2 = array; r3 = 0; tail_call; r0 = PASS; exit
    code = bytes.fromhex(
        "1812000007000000"
        "0000000000000000"
        "b703000000000000"
        "850000000c000000"
        "b700000002000000"
        "9500000000000000"
    )
    hook = pf.Hook()
    link = hook.attach(pf.Program.from_bytes(code, maps={7: array}))
    assert run(hook, demo)["drop"] == 0
    revision = hook.datapath.revision
    array[0] = returns(1, "target")
    assert hook.datapath.revision == revision + 1
    assert link.generation == 1
    assert run(hook, demo)["pass"] == 0
    del array[0]
    assert run(hook, demo)["drop"] == 0


def test_updates_while_batches_run(demo: str) -> None:
    """Between two batches the user's thread may update and wait: no deadlock, every batch one program."""
    hook = pf.Hook()
    programs = [returns(1), returns(2)]
    link = hook.attach(programs[0])
    seen = []
    for i, batch in enumerate(pf.batches(demo, hook, batch=64)):
        assert len(set(batch.verdicts.tolist())) == 1
        seen.append((batch.generation, int(batch.verdicts[0])))
        link.update(programs[(i + 1) % 2])
    assert [generation for generation, _ in seen] == list(range(1, len(seen) + 1))
    assert [action for _, action in seen] == [1 + i % 2 for i in range(len(seen))]
    assert hook.datapath.worlds_live == 1


def test_a_circle_of_program_and_prog_array_is_freed() -> None:
    """A program that tail-calls through an array in which it stands itself."""
    array = pf.Map(pf.MapSpec("prog_array", 4, 4, 2))
    code = bytes.fromhex(
        "1812000007000000" "0000000000000000" "b703000000000000" "850000000c000000"
        "b700000002000000" "9500000000000000"
    )  # fmt: skip
    program = pf.Program.from_bytes(code, maps={7: array})
    array[0] = program
    core = program._ref
    assert core.references > 1
    del array, program
    gc.collect()
    assert core.references == 1
