"""Intervals and tests: against what is known in closed form, and whatever the order of the rows."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.scoring.resampling import (
    Numbers,
    Sums,
    Swaps,
    interval,
    mcnemar,
    share_as_extreme,
)


def outcome(key: int) -> Numbers:
    return np.array([1.0, key])


def shares(sums: Numbers) -> Numbers:
    return np.asarray(sums[..., 1] / sums[..., 0])


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    """300 of 1,000: the normal interval is 0.3 ± 1.96·sqrt(0.21 / 1000) = 0.2716 to 0.3284."""
    sums = Sums(2, outcome, draws=4000, seed=1)
    for row in range(1000):
        sums.add(int(row % 10 < 3))
    sums.flush()
    low, high = interval(shares(sums.drawn))
    assert sums.total.tolist() == [1000, 300]
    assert (low, high) == pytest.approx((0.2716, 0.3284), abs=0.003)


def test_rows_of_different_keys_are_weighted_one_by_one() -> None:
    """The mean of 0…1999: its standard error is 577.4 / sqrt(2000) = 12.9, whatever is flushed."""
    sums = Sums(2, outcome, draws=2000, seed=2)
    for row in range(2000):
        sums.add(row)
        if row % 7 == 0:
            sums.flush()
    sums.flush()
    assert float(shares(sums.total)) == 999.5
    assert float(np.std(shares(sums.drawn))) == pytest.approx(12.9, rel=0.1)


def test_the_same_rows_have_the_same_interval() -> None:
    drawn = []
    for _ in range(2):
        sums = Sums(2, outcome, draws=100, seed=3)
        for row in range(50):
            sums.add(row % 3)
        sums.flush()
        drawn.append(sums.drawn.tolist())
    assert drawn[0] == drawn[1]


def test_swapping_answers_keeps_what_both_runs_have_together() -> None:
    def both(key: tuple[int, int]) -> Numbers:
        return np.array([1.0, key[0], 1.0, key[1]])

    swaps = Swaps(4, both, draws=500, seed=4)
    for _ in range(30):
        swaps.add((1, 0))
    for _ in range(10):
        swaps.add((0, 1))
    swaps.flush()
    assert swaps.total.tolist() == [40, 30, 40, 10]
    assert set((swaps.drawn[:, 1] + swaps.drawn[:, 3]).tolist()) == {40.0}
    differences = (swaps.drawn[:, 3] - swaps.drawn[:, 1]) / 40
    assert float(differences.mean()) == pytest.approx(0, abs=0.05)
    assert share_as_extreme(differences, -0.5) == pytest.approx(mcnemar(30, 10), abs=0.005)


def test_an_interval_leaves_out_what_is_not_defined() -> None:
    assert interval(np.array([math.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert all(math.isnan(end) for end in interval(np.array([math.nan])))


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    rows, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(Fraction(math.comb(rows, k), 2**rows) for k in range(fewer + 1))
    assert mcnemar(only_first, only_second) == pytest.approx(float(min(1, 2 * tail)), rel=1e-9)


def test_mcnemar_holds_for_a_million_rows() -> None:
    assert mcnemar(500_000, 500_000) == 1.0
    assert mcnemar(499_000, 501_000) == pytest.approx(0.0456, abs=0.0005)
    assert mcnemar(0, 1_000_000) == 0.0


@given(st.lists(st.floats(-1, 1), min_size=1), st.floats(-1, 1))
def test_a_p_value_is_never_zero_and_at_most_one(differences: list[float], observed: float) -> None:
    p = share_as_extreme(np.array(differences), observed)
    assert 1 / (len(differences) + 1) <= p <= 1
