"""Which slots are open at a time that is given, and how full they have been."""

from __future__ import annotations

import math

import pytest

from batchkit.errors import Signal
from batchkit.room import START_S, FixedLimit, Occupancy, Room
from tests.fakes import Settable, Strict


def test_more_in_flight_than_slots_uses_no_more_than_all_of_them() -> None:
    """After a cut the limit is below what is still in flight."""
    occupancy = Occupancy(0.0)
    occupancy.advance(2.0, in_flight=10, slots=5, pending=True)
    occupancy.advance(3.0, in_flight=2, slots=5, pending=True)
    occupancy.advance(9.0, in_flight=5, slots=5, pending=False)
    assert (occupancy.used, occupancy.offered) == (12.0, 15.0)


def times_taken(room: Room, *, since: float = 0.0, until: float) -> list[float]:
    """When slots are taken by a client that takes each as soon as it opens."""
    now, taken = since, []
    while (now := room.opens_at(now)) <= until:
        room.begin(now)
        taken.append(now)
    return taken


def test_the_first_attempts_are_spread_over_the_start() -> None:
    taken = times_taken(Room(FixedLimit(3000), start_s=1.0), until=10.0)
    assert taken == pytest.approx([slot / 3000 for slot in range(3000)])


def test_a_few_slots_are_taken_faster_than_over_the_whole_start() -> None:
    taken = times_taken(Room(FixedLimit(5), start_s=1.0), until=10.0)
    assert taken == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04])


def test_without_a_start_all_slots_are_open_at_once() -> None:
    assert times_taken(Room(FixedLimit(300)), until=10.0) == [0.0] * 300


def test_the_start_ends_when_the_limit_falls_below_what_it_has_reached() -> None:
    limit = Settable(300)
    room = Room(limit, start_s=1.0)
    assert len(times_taken(room, until=0.5)) == 151
    limit.slots = 100
    assert room.opens_at(0.5) == math.inf
    for _ in range(100):
        room.end(Signal.GOOD, started_at=0.0, now=0.5, jitter=0.0)
    assert [room.opens_at(0.5), room.opens_at(0.6)] == [0.5, 0.6]


def test_the_slot_of_a_refused_attempt_opens_after_a_pause_with_jitter() -> None:
    room = Room(Strict(2))
    for _ in range(2):
        room.begin(10.0)
    room.end(Signal.REFUSED, started_at=10.0, now=10.1, jitter=0.9)
    assert room.opens_at(10.1) == pytest.approx(12.8)
    room.end(Signal.REFUSED, started_at=10.0, now=10.2, jitter=0.0)
    assert room.opens_at(10.2) == pytest.approx(11.0)
    room.begin(11.0)
    assert room.opens_at(11.0) == pytest.approx(12.8)
    assert room.opens_at(12.8) == 12.8


def test_a_slot_whose_attempt_took_longer_than_the_pause_is_open_at_once() -> None:
    room = Room(Strict(1))
    room.begin(10.0)
    room.end(Signal.REFUSED, started_at=10.0, now=14.0, jitter=0.5)
    assert room.opens_at(14.0) == 14.0


def test_a_slot_in_which_nothing_was_sent_is_not_kept_shut() -> None:
    room = Room(Strict(1))
    room.begin(0.0)
    room.give_back()
    assert (room.in_flight, room.opens_at(0.0)) == (0, 0.0)


def test_slots_that_come_are_spread_and_slots_that_go_are_gone_at_once() -> None:
    limit = Settable(100)
    room = Room(limit, start_s=START_S)
    began = times_taken(room, until=2.0)
    assert len(began) == 100

    def allow(slots: int) -> None:
        limit.slots = slots

    room.change(lambda: allow(150), 10.0)
    later = times_taken(room, since=10.0, until=12.0)
    assert len(later) == 50
    assert later[0] == 10.0
    assert 10.2 < later[-1] < 10.5  # 150 slots are spread over a second
    room.change(lambda: allow(20), 13.0)
    assert room.opens_at(13.0) == math.inf
    room.change(lambda: allow(0), 13.0)
    assert room.opens_at(99.0) == math.inf
