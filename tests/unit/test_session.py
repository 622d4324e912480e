"""What a kill may have left unrecorded, reckoned from what was noted before."""

from __future__ import annotations

from batchkit.rows import SettledRows
from batchkit.session import InFlightAtKill, LaneNote, Session, in_flight_at_kill


def test_no_more_rows_than_had_been_handed_out() -> None:
    rows = SettledRows(100, 100)
    for row in range(10):
        rows.add(row)
    session = Session({"m": LaneNote("m", 50, last_row=19, bound=7)}, backlog=50)
    assert in_flight_at_kill(session, rows) == [InFlightAtKill("m", "CNY", 10, 70)]


def test_no_more_attempts_than_slots_and_what_may_be_undurable() -> None:
    session = Session({"m": LaneNote("m", 5, last_row=99, bound=7)}, backlog=16)
    assert in_flight_at_kill(session, SettledRows(100, 100)) == [
        InFlightAtKill("m", "CNY", 21, 147)
    ]


def test_a_row_that_may_be_asked_twice_at_once_counts_twice() -> None:
    session = Session({"m": LaneNote("m", 50, at_once=2, last_row=9, bound=1)}, backlog=50)
    assert in_flight_at_kill(session, SettledRows(100, 100)) == [InFlightAtKill("m", "CNY", 20, 20)]


def test_a_models_lanes_are_told_by_their_model() -> None:
    lanes = {
        "m": LaneNote("m", 3, last_row=9, bound=1),
        "m (long)": LaneNote("m", 1, last_row=9, bound=5),
    }
    found = in_flight_at_kill(Session(lanes), SettledRows(100, 100))
    assert found == [InFlightAtKill("m", "CNY", 3, 3), InFlightAtKill("m", "CNY", 1, 5)]


def test_nothing_after_a_clean_end() -> None:
    session = Session({"m": LaneNote("m", 5, last_row=99)}, is_clean=True)
    assert in_flight_at_kill(session, SettledRows(100, 100)) == []
    assert in_flight_at_kill(None, SettledRows(100, 100)) == []
