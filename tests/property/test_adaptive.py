"""Whatever ends in whatever way, the limit stays within its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchkit.adaptive import AdaptiveLimit
from batchkit.errors import Signal
from batchkit.room import Room

CEILINGS = st.sampled_from([1, 2, 3, 5, 50, 3000])
STARTS = st.none() | st.integers(1, 4000)
ENDS = st.lists(
    st.tuples(
        st.sampled_from(Signal),
        st.floats(0.0, 1.0),  # share of the ceiling that is in flight
        st.floats(0.0, 10.0),  # seconds since the end before
        st.floats(0.0, 400.0),  # how long it took
        st.integers(1, 300),  # how often in a row
    ),
    max_size=40,
)


@given(CEILINGS, STARTS, ENDS)
def test_it_stays_between_1_and_the_ceiling_and_knows_no_less_than_it_offers(
    ceiling: int, start: int | None, ends: list[tuple[Signal, float, float, float, int]]
) -> None:
    limit, now = AdaptiveLimit(ceiling, start=start), 0.0
    for signal, share, since_s, took_s, times in ends:
        for _ in range(times):
            now += since_s
            before = limit.slots
            pause_s = limit.on_end(
                signal,
                started_at=now - took_s,
                now=now,
                in_flight=1 + int(share * (ceiling - 1)),
            )
            assert 1 <= limit.slots <= limit.learned <= ceiling
            if signal is Signal.GOOD:
                assert limit.slots >= before
            else:
                assert limit.slots <= before
            if signal in {Signal.REFUSED, Signal.STRAINED}:
                assert pause_s is not None
                assert 0.25 <= pause_s <= 2.0
            else:
                assert pause_s is None


@given(
    CEILINGS,
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(1, 400))
        | st.tuples(st.sampled_from(Signal), st.integers(1, 60)),
        max_size=60,
    ),
)
def test_whatever_is_set_from_outside_the_limit_stays_below_it(
    ceiling: int, steps: list[tuple[int, int] | tuple[Signal, int]]
) -> None:
    limit, now = AdaptiveLimit(ceiling), 0.0
    for what, number in steps:
        if isinstance(what, Signal):
            for _ in range(number):
                now += 0.1
                limit.on_end(what, started_at=now - 1, now=now, in_flight=max(1, limit.slots))
        else:
            believed = limit.learned
            limit.resize(what, number)
            ceiling = what
            assert limit.learned == (min(what, number) if what else believed)
        if ceiling:
            assert 1 <= limit.slots <= limit.learned <= ceiling
            assert limit.is_walled is (limit.learned < ceiling)
        else:
            assert limit.slots == 0


@given(
    CEILINGS,
    st.lists(st.tuples(st.sampled_from(Signal), st.floats(0.0, 1.0), st.floats(0, 0.99))),
)
def test_there_is_never_room_beyond_the_limit_and_always_room_again(
    ceiling: int, steps: list[tuple[Signal, float, float]]
) -> None:
    """A client that begins whenever it may, and ends one attempt per step."""
    room, now = Room(AdaptiveLimit(ceiling), start_s=1.0), 0.0
    begun: list[float] = []
    for signal, pass_s, jitter in steps:
        now += pass_s
        for _ in range(20):
            if room.opens_at(now) > now:
                break
            assert room.in_flight < room.limit.slots
            room.begin(now)
            begun.append(now)
        if begun:
            room.end(signal, started_at=begun.pop(0), now=now, jitter=jitter)
        assert room.in_flight == len(begun)
    while begun:
        room.end(Signal.GOOD, started_at=begun.pop(0), now=now, jitter=0.5)
    assert now <= room.opens_at(now) <= now + 3.0
