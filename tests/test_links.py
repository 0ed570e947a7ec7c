"""Links from Python: the order of checks, history and rollback, transactions, states (docs/links.md)."""

from __future__ import annotations

import errno
import gc
import itertools
import pickle
import struct
import threading
import weakref
from datetime import datetime, timezone
from typing import Any

import pytest

import pktfilter as pf
from pktfilter._core.errors import exception
from pktfilter._core.tables import DIAGS


def returns(action: int, name: str = "p", type: str = "xdp") -> pf.Program:
    code = struct.pack("<BBhiQ", 0xB7, 0, 0, action, 0x95)
    return pf.Program.from_bytes(code, type=type, name=name)


@pytest.fixture
def hook() -> pf.Hook:
    return pf.Hook("ingress")


@pytest.fixture
def link(hook: pf.Hook) -> pf.Link:
    return hook.attach(returns(2, "a"))


def state_of(link: pf.Link) -> tuple[Any, ...]:
    datapath = link.hook.datapath
    return (*link.info, link.history, datapath.worlds_live, link.hook.links)


# The rules, in order: each condition that can be wrong, and what it raises.
RULES: list[tuple[str, type[pf.LinkError], int]] = [
    ("detached", pf.LinkDetached, errno.ENOLINK),
    ("program", pf.StaleProgram, errno.EPERM),
    ("generation", pf.StaleGeneration, errno.ESTALE),
    ("new", pf.IncompatibleProgram, errno.EINVAL),
]
ROLLBACK_RULES = [*RULES[:3], ("new", pf.NoSuchGeneration, errno.ENOENT)]


@pytest.mark.parametrize("verb", ["update", "rollback"])
@pytest.mark.parametrize("within", ["alone", "transaction"])
@pytest.mark.parametrize("expecting", ["nothing", "program", "generation", "both"])
@pytest.mark.parametrize(
    "wrong", [tuple(c) for n in range(5) for c in itertools.combinations(range(4), n)]
)
def test_the_first_rule_that_does_not_hold_is_the_error(
    link: pf.Link, wrong: tuple[int, ...], expecting: str, within: str, verb: str
) -> None:
    rules = RULES if verb == "update" else ROLLBACK_RULES
    names = {rules[i][0] for i in wrong}
    current = returns(1, "b")
    link.update(current)
    options: dict[str, Any] = {}
    if expecting in ("program", "both") or "program" in names:
        options["expect"] = returns(1, "b") if "program" in names else current
    if expecting in ("generation", "both") or "generation" in names:
        options["expect_generation"] = 1 if "generation" in names else 2
    if "detached" in names:
        link.detach()
    before = state_of(link)

    def change() -> None:
        if verb == "update":
            link.update(returns(0, "c", "memory" if "new" in names else "xdp"), **options)
        else:
            link.rollback(to=99 if "new" in names else None, **options)

    def run() -> None:
        if within == "alone":
            change()
        else:
            with pf.transaction():
                change()

    if not wrong:
        run()
        assert link.generation == 3
        return
    _, kind, number = rules[wrong[0]]
    with pytest.raises(kind) as caught:
        run()
    assert type(caught.value) is kind
    assert caught.value.errno == number
    assert "link 1" in str(caught.value)
    assert state_of(link) == before


def test_new_is_current_comes_after_every_check(link: pf.Link) -> None:
    current = link.program
    assert current is not None
    with pytest.raises(pf.StaleProgram):
        link.update(current, expect=returns(2))
    with pytest.raises(pf.StaleGeneration):
        link.update(current, expect_generation=2)
    before = state_of(link)
    update = link.update(current, expect=current, expect_generation=1)
    assert (update.published, update.publish_ns, update.grace_ns) == (False, 0, 0)
    assert state_of(link) == before


@pytest.mark.parametrize("generation", [0, -1])
def test_generations_start_at_one(link: pf.Link, generation: int) -> None:
    with pytest.raises(pf.InputError, match="start at 1"):
        link.update(returns(1), expect_generation=generation)
    with pytest.raises(pf.InputError, match="start at 1"):
        link.rollback(to=generation)


def test_can_update_tells_beforehand(link: pf.Link) -> None:
    assert link.can_update(returns(1))
    answer = link.can_update(returns(1, type="memory"))
    assert not answer
    assert isinstance(answer.error, pf.IncompatibleProgram)
    assert answer.error.field == "type"
    link.detach()
    assert isinstance(link.can_update(returns(1)).error, pf.LinkDetached)


@pytest.mark.parametrize(
    ("name", "err", "kind"),
    [
        ("HOOK_TRIAL", errno.EBUSY, pf.LinkBusy),
        ("HOOK_NO_GENERATION", errno.ENOENT, pf.NoSuchGeneration),
        ("HOOK_NOTHING_BEFORE", errno.ENOENT, pf.NoSuchGeneration),
        ("HOOK_FOREIGN", errno.EINVAL, pf.TransactionError),
        ("HOOK_HISTORY", errno.EINVAL, pf.LinkError),
    ],
)
def test_results_of_the_core_are_typed(name: str, err: int, kind: type[pf.LinkError]) -> None:
    code = [row.name for row in DIAGS].index(name)
    error = exception(err, code, found=3, expected=2)
    assert type(error) is kind
    assert error.errno == kind.default_errno == err
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.errno) == (kind, str(error), err)


def test_history_says_when_what_and_why(link: pf.Link) -> None:
    a = link.program
    b, c = returns(1, "b"), returns(0, "c")
    link.update(b, cause="watch", detail="fw.o changed")
    link.update(c, wait=False)
    link.rollback(detail="drops went up")
    rows = link.history
    assert [row.generation for row in rows] == [1, 2, 3, 4]
    assert [row.program for row in rows] == [a, b, c, b]
    assert [row.cause for row in rows] == ["attach", "watch", "update", "rollback"]
    assert [row.restores for row in rows] == [1, 2, 3, 2]
    assert [row.detail for row in rows] == ["", "fw.o changed", "", "drops went up"]
    assert [row.grace_ns > 0 for row in rows] == [False, True, False, True]
    assert all(row.publish_ns > 0 for row in rows)
    assert [row.when_ns for row in rows] == sorted(row.when_ns for row in rows)
    assert abs((datetime.now(timezone.utc) - rows[0].when).total_seconds()) < 60
    link.detach()
    assert (link.history[-1].cause, link.history[-1].program) == ("detach", None)


def test_cause_is_one_that_the_history_knows(link: pf.Link) -> None:
    with pytest.raises(pf.InputError, match="no such cause"):
        link.update(returns(1), cause="whim")
    link.update(returns(1), detail="x" * 500)
    assert link.history[-1].detail == "x" * 127


def test_rollback_after_a_b_c(link: pf.Link) -> None:
    a = link.program
    b, c = returns(1, "b"), returns(0, "c")
    link.update(b)
    link.update(c)
    old, new, generation = link.rollback()
    assert (old, new, generation) == (c, b, 4)
    assert link.rollback().new is a
    with pytest.raises(pf.NoSuchGeneration):
        link.rollback()
    assert link.rollback(to=3).new is c
    assert link.rollback(to=3).published is False
    assert link.generation == 6


def test_history_is_bounded_and_lets_go() -> None:
    link = pf.Hook().attach(returns(2), history=3)
    seen = []
    for i in range(6):
        program = returns(i % 3)
        seen.append(weakref.ref(program))
        link.update(program)
    del program
    gc.collect()
    assert [ref() is not None for ref in seen] == [False, False, False, True, True, True]
    assert [row.generation for row in link.history] == [5, 6, 7]
    link.keep(1)
    gc.collect()
    assert [ref() is not None for ref in seen] == [False] * 5 + [True]
    assert link.info.history == 1
    for wrong in (0, -1, 1025):
        with pytest.raises(pf.LinkError) as caught:
            link.keep(wrong)
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(pf.LinkError):
        pf.Hook().attach(returns(2), history=0)


def test_states_and_info(hook: pf.Hook) -> None:
    with pf.transaction():
        link = hook.attach(returns(2, "a"), priority=7, continue_on=(pf.XDP.TX,))
        assert (link.state, link.id, hook.links) == ("initial", 0, ())
    assert link.state == "attached"
    info = link.info
    assert (info.id, info.hook, info.priority, info.continue_on) == (1, "ingress", 7, (pf.XDP.TX,))
    assert (info.generation, info.datapath_generation, info.trial) == (1, 1, False)
    assert info.datapath_revision == hook.datapath.revision
    link.detach()
    link.detach()
    assert (link.state, link.generation, hook.links) == ("detached", 2, ())
    assert link.info.program is None


def test_a_worker_between_batches_holds_nothing_up(demo: str) -> None:
    hook = pf.Hook()
    link = hook.attach(returns(1))
    batches = pf.batches(demo, hook, batch=16)
    next(batches)
    link.detach(wait=False)
    assert link.state == "detached"  # offline: no packet runs it any more
    assert set(next(batches).verdicts.tolist()) == {2}
    batches.close()


def test_transaction_is_one_revision(hook: pf.Hook) -> None:
    one, two = hook.attach(returns(2)), hook.attach(returns(2))
    a, b = returns(1, "a"), returns(0, "b")
    revision, generation = hook.datapath.revision, hook.datapath.generation
    with pf.transaction() as transaction:
        first, second = one.update(a), two.update(b, expect_generation=1)
        third = hook.attach(returns(1), priority=90)
        assert (one.generation, two.generation, len(hook.links)) == (1, 1, 2)
        assert not first.committed
        with pytest.raises(pf.TransactionError):
            _ = first.generation
    assert transaction.updates == (first, second)
    assert hook.datapath.revision == revision + 1
    assert hook.datapath.generation == generation + 1
    assert (one.program, two.program, third.state) == (a, b, "attached")
    assert (first.new, first.generation, tuple(second)[1:]) == (a, 2, (b, 2))
    assert first.publish_ns == second.publish_ns > 0
    assert first.grace_ns > 0
    assert one.history[-1].grace_ns > 0
    assert hook.links == (one, two, third)


@pytest.mark.parametrize("failing", range(4))
def test_transaction_leaves_everything_as_it_was(hook: pf.Hook, failing: int) -> None:
    one, two = hook.attach(returns(2)), hook.attach(returns(2))
    one.update(returns(1))
    before = (state_of(one), state_of(two))

    def fail(step: int) -> None:
        if step == failing:
            raise ZeroDivisionError

    attached: list[pf.Link] = []
    with pytest.raises(ZeroDivisionError), pf.transaction():
        fail(0)
        pending = one.rollback()
        attached.append(hook.attach(returns(0)))
        fail(1)
        two.update(returns(1))
        fail(2)
        two.detach()
        fail(3)
    assert (state_of(one), state_of(two)) == before
    if attached:
        assert not pending.committed
        assert attached[0].state == "initial"
        with pytest.raises(pf.LinkDetached):
            attached[0].update(returns(1))
    one.update(returns(0))  # no transaction is left open
    assert one.generation == 3


def test_refused_change_names_its_place(hook: pf.Hook) -> None:
    one, two = hook.attach(returns(2)), hook.attach(returns(2))
    with (
        pytest.raises(pf.StaleGeneration, match="link 2, change 2 of 3"),
        pf.transaction(),
    ):
        one.update(returns(1))
        two.update(returns(1), expect_generation=9)
        one.detach()
    assert (one.generation, two.generation, one.detached) == (1, 1, False)


def test_later_changes_see_earlier_ones(link: pf.Link) -> None:
    b, c = returns(1, "b"), returns(0, "c")
    with pf.transaction():
        link.update(b)
        link.update(c, expect=b, expect_generation=2)
    assert (link.program, link.generation) == (c, 2)
    assert [row.program for row in link.history][1:] == [c]


def test_transactions_do_not_nest_nor_span_datapaths(hook: pf.Hook, link: pf.Link) -> None:
    other = pf.Hook().attach(returns(2))
    with (
        pytest.raises(pf.TransactionError, match="one datapath") as caught,
        pf.transaction(),
    ):
        link.update(returns(1))
        other.update(returns(1))
    assert caught.value.errno == errno.EINVAL
    assert (link.generation, other.generation) == (1, 1)
    with pytest.raises(pf.TransactionError, match="inside another"), pf.transaction():
        link.update(returns(1))
        with pf.transaction():
            pass
    assert link.generation == 1
    with pf.transaction() as empty:
        pass
    with pytest.raises(pf.TransactionError, match="used once"), empty:
        pass
    link.update(returns(1))
    assert link.generation == 2


def test_other_threads_are_not_part_of_a_transaction(link: pf.Link) -> None:
    b = returns(1, "b")
    with pf.transaction():
        thread = threading.Thread(target=link.update, args=(b,))
        thread.start()
        thread.join()
        assert link.program is b
        link.update(returns(0), expect=b)
    assert link.generation == 3


def test_transaction_waits_when_told(link: pf.Link) -> None:
    with pf.transaction(wait=False):
        update = link.update(returns(1))
    assert update.grace_ns == 0
    update.wait(timeout=10)
    assert update.grace_ns == link.history[-1].grace_ns > 0


def test_replay_swaps_not_within_a_transaction(link: pf.Link, demo: str) -> None:
    new = returns(1)
    with pytest.raises(pf.TransactionError), pf.transaction():
        pf.replay(demo, link.hook, swaps=[(5, link, new)])
    result = pf.replay(demo, link.hook, swaps=[(5, link, new)])
    assert [swap.first_packet for swap in result.swaps] == [5]
    assert result.actions["pass"] == 5
    row = link.history[-1]
    assert (row.cause, row.detail) == ("update", "swap at packet 5")
    assert row.grace_ns == result.swaps[0].grace_ns > 0


def test_two_hooks_change_in_one_batch_each(demo: str) -> None:
    """Both hooks of a datapath switch together: no batch runs with one of the two changes."""
    datapath = pf.Datapath()
    links = [datapath.hook(name).attach(returns(1)) for name in ("a", "b")]
    runs = [pf.batches(demo, datapath.hook(name), batch=16) for name in ("a", "b")]
    for step, (one, two) in enumerate(zip(*runs, strict=True)):
        assert one.generation == two.generation
        assert set(one.verdicts.tolist()) == set(two.verdicts.tolist()) == {1 + step % 2}
        with pf.transaction():
            for link in links:
                link.update(returns(1 + (step + 1) % 2))
    assert step > 2


def test_each_compare_and_swap_succeeds_once(link: pf.Link) -> None:
    """Threads race for each generation; exactly one of them gets it."""
    threads, goal = 6, 400
    programs = [returns(i % 5, f"t{i}") for i in range(threads)]
    won: list[list[int]] = [[] for _ in range(threads)]
    lost = [0] * threads
    start = threading.Barrier(threads)

    def race(me: int) -> None:
        start.wait()
        while (seen := link.generation) < goal:
            try:
                update = link.update(programs[me], expect_generation=seen, wait=seen % 3 == 0)
            except pf.StaleGeneration:
                lost[me] += 1
                continue
            if update.published:
                assert update.generation == seen + 1
                won[me].append(update.generation)

    workers = [threading.Thread(target=race, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    reached = link.generation
    assert sorted(itertools.chain(*won)) == list(range(2, reached + 1))
    owner = {generation: me for me, mine in enumerate(won) for generation in mine}
    for row in link.history:
        if row.generation > 1:
            assert row.program is programs[owner[row.generation]]
    assert link.hook.datapath.generation == reached


@pytest.mark.parametrize("wrong", ["examples/pass.o", None, pf.Hook("other")])
def test_what_is_no_program_is_called_so(hook: pf.Hook, link: pf.Link, wrong: Any) -> None:
    before = state_of(link)
    found = f"found {type(wrong).__name__}, expected a Program"
    for call in (hook.attach, link.update, link.shadow, link.canary):
        with pytest.raises(TypeError, match=found):
            call(wrong)
    assert state_of(link) == before


def test_packets_run_at_a_hook(link: pf.Link) -> None:
    for run in (pf.replay, pf.batches, pf.live):
        for wrong in (link, link.program, None):
            with pytest.raises(TypeError, match="expected a Hook"):
                run("nothing.pcap", wrong)  # type: ignore[arg-type]
