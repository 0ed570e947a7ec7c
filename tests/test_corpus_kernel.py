"""A sample of the corpus against the running kernel; `tests/corpus/score.py` scores all of it.

Every source at one of its levels, with few frames. The levels change from source to source, so that
each is met; the whole score is in docs/corpus.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import filling
import kernel
import pytest
import reached
import rewriting
import scored
import scoring

import pktfilter as pf

FRAMES = 40
pytestmark = kernel.requires_kernel()


def sample() -> list[scored.Object]:
    """One level of each source, in turn."""
    chosen = []
    for index, stem in enumerate(scored.stems()):
        level = scored.LEVELS[index % len(scored.LEVELS)]
        chosen.append(scored.Object(stem, "v3" if stem in scored.NOT_V1 else level))
    return chosen


@pytest.fixture(scope="module")
def net() -> Iterator[tuple[pf.Network, scoring.Inside]]:
    with scoring.namespace() as made:
        yield made


@pytest.mark.parametrize("each", sample(), ids=lambda e: f"{e.stem}.{e.level}")
def test_same_verdict_and_results(
    each: scored.Object, net: tuple[pf.Network, scoring.Inside]
) -> None:
    pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")
    assert not scoring.verdicts(each, net[1])
    done = scoring.score(each, scoring.frames(len(each.stem), FRAMES), *net)
    assert not done.differences, "\n".join(done.differences[:3])
    ran = [n for n in each.spec().programs if (each.stem, n) not in scoring.NO_TEST_RUN]
    assert done.runs == len(ran) * len(scoring.STATES) * FRAMES


def test_frames_have_all_sizes() -> None:
    frames = scoring.frames(1)
    sizes = sorted(len(frame) for frame in frames)
    assert len(frames) >= 300
    assert (sizes[0], sizes[-1]) == (14, 9000)
    assert sum(size > kernel.MAX_LINEAR for size in sizes) >= 20
    assert frames == scoring.frames(1)


@pytest.mark.parametrize("tier", scoring.TIERS)
def test_scoring_sees_a_difference(tier: str) -> None:
    """A return value in one tier, then a value in one map of it."""
    pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")
    each = scored.Object("portfw", "v3")
    frames = scoring.frames(3, FRAMES)
    with ExitStack() as stack:
        sides = scoring.Sides(stack, each, filling.contents(each, frames))
        (name,) = sides.theirs
        assert not sides.compare_maps()
        assert not [x for frame in frames for x in sides.run(name, frame, None)]
        key = (0).to_bytes(4, "little")
        counts = sides.engines[tier].maps["action_hits"]
        counts[key] = [bytes(len(counts[key][0]))] * kernel.possible_cpus()
        assert sides.compare_maps() == [f"map action_hits {tier}"]
        other = pf.load(scored.Object("pass", "v3").path)
        sides.engines[tier].programs[name] = other.programs["pass"]
        found = [x for frame in frames for x in sides.run(name, frame, None)]
        assert found
        assert all(x.startswith(f"{name} {tier}: ") for x in found)


def test_filled_maps_are_found_by_the_program() -> None:
    """Keys are the program's own: with them it does what it does not do with empty maps."""
    each = scored.Object("portfw", "v3")
    frames = scoring.frames(3, 120)
    made = filling.contents(each, frames)
    assert len(made.pairs["port_rules"]) > 10
    empty, filled = pf.load(each.path), pf.load(each.path)
    filling.fill_engine(filled, made)
    results = [
        [obj.programs["portfw"].test_run(frame).retval for frame in frames]
        for obj in (empty, filled)
    ]
    assert results[0] != results[1]


def test_shared_answers_are_the_same_every_time() -> None:
    each = scored.Object("trace_drop", "v3")
    spec = each.spec()
    assert rewriting.share_answers(spec) == {"trace_drop"}
    states = []
    for _ in range(2):
        obj = pf.load(spec)
        results = [obj.programs["trace_drop"].test_run(f).retval for f in scoring.frames(3)]
        states.append((results, obj.maps[rewriting.CLOCK][bytes(4)]))
    assert states[0] == states[1]
    assert states[0][1] != rewriting.CLOCK_START


def test_lines_reached() -> None:
    """`pass` runs whole; a program that only sees short frames stays in front of its first check."""
    frames = scoring.frames(3, FRAMES)
    whole = reached.reached(scored.Object("pass", "v3"), frames)
    assert (whole.insns, whole.missed) == (whole.all_insns, ())
    each = scored.Object("portfw", "v3")
    short = reached.reached(each, [bytes(14)])
    longer = reached.reached(each, frames)
    assert 0 < short.insns < longer.insns <= longer.all_insns
    assert 0 < short.lines < longer.lines <= longer.all_lines
