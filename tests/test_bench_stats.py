"""Statistics of benchmarks against values counted by hand or by going through every order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktfilter.benchmarks.stats import (
    Interval,
    holm,
    mann_whitney,
    quantile,
    ratio_interval,
    summary,
    verdict,
)


def u_of(a: Sequence[float], b: Sequence[float]) -> float:
    return sum((x > y) + (x == y) / 2 for x in a for y in b)


def every_order(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided p-value by definition: the share of all divisions at least as far from the middle."""
    both, n = [*a, *b], len(a)
    middle = n * len(b) / 2
    seen = abs(u_of(a, b) - middle)
    far = total = 0
    for picked in itertools.combinations(range(len(both)), n):
        left = [both[i] for i in picked]
        right = [v for i, v in enumerate(both) if i not in picked]
        far += abs(u_of(left, right) - middle) >= seen - 1e-9
        total += 1
    return far / total


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1, 2, 3], [4, 5, 6]),
        ([1, 4, 5], [2, 3, 6]),
        ([1, 2, 3, 4, 5], [6, 7, 8, 9]),
        ([1.5, 9, 3, 12], [2, 4, 6, 8, 10]),
        ([5], [1, 2, 3, 4, 6, 7]),
    ],
)
def test_mann_whitney_is_exact_for_small_samples(a: list[float], b: list[float]) -> None:
    assert mann_whitney(a, b) == pytest.approx(every_order(a, b))
    assert mann_whitney(b, a) == pytest.approx(mann_whitney(a, b))


def test_mann_whitney_of_published_table() -> None:
    # Critical value of U for n = m = 10, two-sided 5 %: 23 (Mann and Whitney 1947). With U = 23 the null is
    # rejected, with 24 it is not.
    def samples(u: int) -> tuple[list[float], list[float]]:
        b = [float(10 * (i + 1)) for i in range(10)]
        wins = [u // 10 + (i < u % 10) for i in range(10)]
        return [10.0 * w + 5 + i / 100 for i, w in enumerate(wins)], b

    for u, rejected in ((23, True), (24, False)):
        a, b = samples(u)
        assert u_of(a, b) == u
        assert (mann_whitney(a, b) < 0.05) == rejected


def test_mann_whitney_with_ties_is_near_every_order() -> None:
    a, b = [1, 2, 2, 3, 5, 5], [2, 4, 5, 6, 7, 7]
    assert mann_whitney(a, b) == pytest.approx(every_order(a, b), abs=0.03)
    assert mann_whitney([1, 1, 1], [1, 1, 1]) == 1.0
    assert mann_whitney([], [1.0]) == 1.0


def test_mann_whitney_approximation_meets_the_exact_one() -> None:
    a = [float(3 * i) for i in range(20)]
    b = [3 * i + 10.5 for i in range(20)]
    exact = mann_whitney(a, b)
    # One equal pair makes it the approximation, and changes U by a half.
    near = mann_whitney(a, [9.0, *b[1:]])
    assert near == pytest.approx(exact, abs=0.02)
    big = mann_whitney(a * 4, [v + 0.25 for v in a] * 4)
    assert 0.05 < big <= 1.0


def test_holm_against_a_worked_example() -> None:
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1, each at least the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_only_raises(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(0 <= old <= new <= 1 for old, new in zip(values, adjusted, strict=True))
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert sorted(adjusted) == [adjusted[i] for i in order]


def test_quantiles_and_summary() -> None:
    assert [quantile([4, 1, 3, 2], part) for part in (0, 0.25, 0.5, 1)] == [1, 1.75, 2.5, 4]
    found = summary([10, 12, 11, 30, 9])
    assert (found.count, found.median, found.q1, found.q3) == (5, 11, 10, 12)
    assert (found.least, found.most, found.spread) == (9, 30, pytest.approx(2 / 11))
    with pytest.raises(ValueError, match="needs values"):
        summary([])


def test_ratio_of_pairs_keeps_what_touched_both() -> None:
    # The machine slows down tenfold meanwhile; the ratio within each round is 2 exactly.
    slow = [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 3.0, 1.0, 5.0, 7.0]
    paired = ratio_interval([2 * v for v in slow], slow, paired=True)
    assert paired == Interval(2.0, 2.0, 2.0)
    apart = ratio_interval([2 * v for v in slow], slow, paired=False)
    assert apart is not None
    assert apart.low < 1.5
    assert apart.high > 2.5


def test_ratio_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    import numpy as np

    random = np.random.default_rng(7)
    hits = 0
    for trial in range(100):
        a = random.lognormal(math.log(3), 0.1, 15).tolist()
        b = random.lognormal(0, 0.1, 15).tolist()
        found = ratio_interval(a, b, paired=False, seed=trial)
        assert found is not None
        hits += found.low <= 3 <= found.high
    assert 88 <= hits <= 100


def test_ratio_needs_something_positive() -> None:
    assert ratio_interval([1.0], [0.0], paired=True) is None
    assert ratio_interval([-1.0], [2.0], paired=True) is None
    assert ratio_interval([], [2.0], paired=False) is None
    with pytest.raises(ValueError, match="same number"):
        ratio_interval([1.0], [2.0, 3.0], paired=True)


@pytest.mark.parametrize(
    ("interval", "p", "drift", "says"),
    [
        ((0.80, 0.78, 0.82), 0.001, 0.0, "faster"),
        ((1.25, 1.20, 1.30), 0.001, 0.0, "slower"),
        ((0.80, 0.78, 0.82), 0.20, 0.0, "no change"),  # the test does not say so
        ((0.80, 0.60, 1.02), 0.001, 0.0, "no change"),  # the interval has 1
        ((0.99, 0.985, 0.995), 0.001, 0.0, "no change"),  # too small to mean anything
        ((0.80, 0.78, 0.82), 0.001, 0.30, "no change"),  # the machine changed by more
        ((1.25, 1.20, 1.30), 0.001, 0.30, "no change"),
    ],
)
def test_verdict(interval: tuple[float, float, float], p: float, drift: float, says: str) -> None:
    assert verdict(Interval(*interval), p, drift) == says
    opposite = {"faster": "slower", "slower": "faster"}.get(says, says)
    assert verdict(Interval(*interval), p, drift, higher_is_better=True) == opposite
