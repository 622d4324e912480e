"""The run over time: exact means, pauses between starts cut out, pauses within them kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.report.bins import Slice, Slices
from batchkit.report.timeline import POINTS_MOST, Timeline, timeline

S = 10**6  # microseconds


def slices_of(attempts: list[tuple[float, float]], limit: int = 10) -> Slices:
    """Slices of answered attempts (begin, length), each in seconds."""
    slices = Slices()
    for begin, length in attempts:
        number, offset = divmod(round(begin * S), slices.width_us)
        begun = Slice(begun=1, begun_us=offset, limit=limit)
        slices.at(number, "m").add(begun, 0)
        number, offset = divmod(round((begin + length) * S), slices.width_us)
        slices.at(number, "m").add(Slice(ended=1, ended_us=offset, answered=1, cost=5), 0)
    return slices


def test_no_attempts_have_no_timeline() -> None:
    assert timeline(Slices(), [0.0], ["m"]) == Timeline()


def test_what_is_in_flight_is_a_mean_over_time() -> None:
    found = timeline(slices_of([(0.0, 1.5), (0.5, 1.0)]), [], ["m"])
    assert found.width_s == 0.125
    by_time = {point.at_s: point.in_flight for point in found.points}
    assert [by_time[at] for at in (0.0, 0.375, 0.5, 1.375)] == [1.0, 1.0, 2.0, 2.0]
    assert sum(by_time.values()) * found.width_s == pytest.approx(2.5)
    assert found.points[-1].cost == 10


def test_a_pause_that_a_start_ended_is_cut_out() -> None:
    attempts = [(n * 0.25, 0.25) for n in range(40)]
    later = [(1000 + begin, length) for begin, length in attempts]
    found = timeline(slices_of(attempts + later), [0.0, 1000.0], ["m"])
    (cut,) = found.cuts
    assert cut.at_s == pytest.approx(10, abs=found.width_s)
    assert cut.seconds == pytest.approx(990, abs=2 * found.width_s)
    assert found.working_s == pytest.approx(20, abs=3 * found.width_s)


def test_a_pause_within_a_start_shows_as_zeros() -> None:
    attempts = [(n * 0.25, 0.25) for n in range(40)]
    later = [(40 + begin, length) for begin, length in attempts]
    found = timeline(slices_of(attempts + later), [0.0], ["m"])
    assert found.cuts == ()
    assert found.working_s == pytest.approx(50, abs=2 * found.width_s)
    assert {p.in_flight for p in found.points if 12 < p.at_s < 38} == {0.0}
    assert {p.limit for p in found.points} == {10.0}


def test_a_start_while_something_is_in_flight_cuts_nothing() -> None:
    """An attempt that a kill left unended has no record; one that has one spans the start."""
    found = timeline(slices_of([(0.0, 20.0), (18.0, 4.0)]), [0.0, 10.0], ["m"])
    assert found.cuts == ()


@given(
    st.lists(st.tuples(st.floats(0, 1e7), st.floats(0, 600)), min_size=1, max_size=60),
    st.lists(st.floats(0, 1e7), max_size=5),
)
def test_points_are_bounded_and_lose_nothing(
    attempts: list[tuple[float, float]], starts: list[float]
) -> None:
    found = timeline(slices_of(attempts), starts, ["m"])
    assert 1 <= len(found.points) <= POINTS_MOST
    assert sum(p.answered for p in found.points) * found.width_s == pytest.approx(len(attempts))
    busy = sum(p.in_flight for p in found.points) * found.width_s
    assert busy == pytest.approx(sum(length for _, length in attempts), rel=1e-6, abs=1e-3)
    assert all(cut.seconds >= 0 for cut in found.cuts)
    assert found.cuts == tuple(sorted(found.cuts, key=lambda cut: cut.at_s))
