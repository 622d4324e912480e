"""Counts over log-spaced values and over time: exact sums, bounded size, no order."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from batchkit.report.bins import GROWTH, MOST_SLICES, Slice, Slices, Spread

seconds = st.floats(0.002, 9e5)


def spread_of(values: list[float]) -> Spread:
    spread = Spread()
    for value in values:
        spread.add(math.floor(math.log(value) / math.log(GROWTH)), 1)
    return spread


@given(st.lists(seconds, min_size=1, max_size=50), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent(values: list[float], share: float) -> None:
    exact = sorted(values)[math.floor(share * (len(values) - 1))]
    found = spread_of(values).quantile(share)
    assert found is not None
    assert abs(found / exact - 1) < 0.0101


def test_no_values_have_no_quantile_and_no_bars() -> None:
    assert (Spread().quantile(0.5), Spread().coarse(60)) == (None, [])


@given(st.lists(seconds, min_size=1, max_size=50), st.integers(5, 80))
def test_bars_join_and_hold_every_value_once(values: list[float], bars: int) -> None:
    found = spread_of(values).coarse(bars)
    assert len(found) <= bars + 1
    assert sum(count for _, _, count in found) == len(values)
    assert [high for _, high, _ in found[:-1]] == [low for low, _, _ in found[1:]]
    assert found[0][0] <= min(values) * 1.0001
    assert found[-1][1] >= max(values) * 0.9999


times = st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**9)), max_size=40)


def slices_of(attempts: list[tuple[int, int]]) -> Slices:
    """Slices of attempts (begin, length), each in microseconds."""
    slices = Slices()
    for begin, length in attempts:
        number, offset = divmod(begin, slices.width_us)
        slices.at(number, "m").add(Slice(begun=1, begun_us=offset), 0)
        number, offset = divmod(begin + length, slices.width_us)
        slices.at(number, "m").add(Slice(ended=1, ended_us=offset), 0)
        slices.settle()
    return slices


@given(times, st.integers(0, 20))
def test_joining_slices_loses_no_count_and_no_time(
    attempts: list[tuple[int, int]], times_: int
) -> None:
    slices = slices_of(attempts)
    for _ in range(times_):
        slices.join()
    width = slices.width_us
    found = [(number, one) for number, models in slices for one in models.values()]
    assert sum(one.begun for _, one in found) == len(attempts)
    begun = sum(number * width * one.begun + one.begun_us for number, one in found)
    ended = sum(number * width * one.ended + one.ended_us for number, one in found)
    assert begun == sum(begin for begin, _ in attempts)
    assert ended - begun == sum(length for _, length in attempts)


def test_there_are_never_more_slices_than_may_be() -> None:
    slices = slices_of([(n * 10**6, 0) for n in range(3 * MOST_SLICES)])
    assert len(slices.by_number) <= MOST_SLICES


@given(times)
def test_the_order_of_attempts_changes_nothing(attempts: list[tuple[int, int]]) -> None:
    assert slices_of(attempts).by_number == slices_of(attempts[::-1]).by_number
