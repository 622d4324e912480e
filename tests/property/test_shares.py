"""However runs come, want, use and go: together they never have more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchkit.shares import Account, Ask, Holding, Others, fair_parts, share_of, wall_after

ACCOUNT = Account("http://x", "k", "m")
NEEDS = st.lists(st.integers(0, 100), max_size=8)
MOVES = st.lists(
    st.tuples(
        st.integers(0, 3),  # which run
        st.integers(0, 100),  # slots it could use
        st.floats(0, 1),  # share of what it has that is in flight
        st.integers(-30, 30),  # what it has heard
        st.integers(0, 100),  # slots it would take without needing them
    ),
    max_size=60,
)


@given(st.integers(0, 200), NEEDS)
def test_parts_are_max_min_fair(whole: int, needs: list[int]) -> None:
    parts = fair_parts(whole, needs)
    assert sum(parts) == min(whole, sum(needs))
    assert all(part <= need for part, need in zip(parts, needs, strict=True))
    unmet = [part for part, need in zip(parts, needs, strict=True) if part < need]
    if unmet:  # nobody has more than who has less than it needs
        assert max(parts) <= min(unmet) + 1


@given(st.integers(1, 60), MOVES)
def test_runs_never_have_more_than_the_cap_together(
    cap: int, moves: list[tuple[int, int, float, int, int]]
) -> None:
    told: dict[int, Holding] = {}
    ceilings: dict[int, int] = {}
    in_flight: dict[int, int] = {}
    wall: int | None = None
    for run, needs, share_used, heard, spare in moves:
        others = Others(
            [told[one] for one in sorted(told) if one < run],
            [told[one] for one in sorted(told) if one > run],
        )
        ceiling = ceilings.get(run, 0)
        in_flight[run] = max(
            int(share_used * ceiling), int(share_used * in_flight.get(run, 0))
        )  # what is above the ceiling ends, nothing new is begun there
        asks = Ask(
            account=ACCOUNT,
            cap=cap,
            most=needs + spare,
            needs=needs,
            holds=max(ceiling, in_flight[run]),
            in_flight=in_flight[run],
            knows=ceiling,
            heard=heard if ceiling else 0,
        )
        wall = wall_after(wall, asks, others)
        assert wall is None or 1 <= wall < cap
        share = share_of(asks, wall, others)
        ceilings[run] = share.ceiling
        holds = max(asks.holds, share.ceiling)
        told[run] = Holding(needs, holds, in_flight[run], share.known)
        assert sum(one.holds for one in told.values()) <= cap
        assert sum(max(ceilings[one], in_flight[one]) for one in told) <= cap
        assert 1 <= share.known <= max(1, share.ceiling)
