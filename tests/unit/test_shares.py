"""Shares: fair, never together more than there is, and what was learned is the account's."""

from __future__ import annotations

import msgspec
import pytest

from batchkit.shares import (
    Account,
    Alone,
    Ask,
    Holding,
    Others,
    Share,
    fair_parts,
    share_of,
    wall_after,
)

ASK = Ask(
    account=Account("http://x", "k", "m"), cap=60, most=60, needs=60, holds=0, in_flight=0, knows=0
)


def ask(**changes: int) -> Ask:
    return msgspec.structs.replace(ASK, **changes)


def holding(holds: int, needs: int = 60, in_flight: int | None = None) -> Holding:
    return Holding(needs, holds, holds if in_flight is None else in_flight, holds)


@pytest.mark.parametrize(
    ("whole", "needs", "parts"),
    [
        (60, [60], [60]),
        (60, [60, 60, 60], [20, 20, 20]),
        (50, [60, 60, 60], [17, 17, 16]),
        (60, [10, 60, 60], [10, 25, 25]),
        (60, [5, 10, 99], [5, 10, 45]),
        (60, [5, 10], [5, 10]),
        (2, [9, 9, 9], [1, 1, 0]),
        (0, [9, 9], [0, 0]),
        (60, [0, 60], [0, 60]),
        (60, [], []),
    ],
)
def test_parts_are_equal_and_what_one_cannot_use_the_others_have(
    whole: int, needs: list[int], parts: list[int]
) -> None:
    assert fair_parts(whole, needs) == parts


def test_who_comes_has_nothing_before_others_have_given_back() -> None:
    assert share_of(ASK, None, Others([holding(60)])) == Share(0, 1, 2, 60)
    assert share_of(ASK, None, Others([holding(47, in_flight=47)])) == Share(13, 13, 2, 47)
    assert share_of(ASK, None, Others([holding(30)])) == Share(30, 30, 2, 30)


def test_a_share_falls_to_what_is_fair_at_once() -> None:
    assert share_of(ask(holds=60), None, Others(after=[holding(0)])).ceiling == 30


def test_what_nobody_needs_stays_where_it_is_until_somebody_does() -> None:
    idle = holding(30, needs=5)
    assert share_of(ask(needs=4, holds=30), None, Others([idle])).ceiling == 30
    assert share_of(ask(needs=60, holds=30), None, Others([idle])).ceiling == 30
    assert share_of(ask(needs=5, holds=30), None, Others([holding(30)])).ceiling == 5
    assert share_of(ask(needs=4, most=7), None, Others()).ceiling == 7
    assert share_of(ask(needs=4), 40, Others([idle])) == Share(30, 10, 2, 30)


def test_what_a_killed_run_held_is_nobodys_for_a_while() -> None:
    others = Others([holding(20)], fenced=[holding(20, needs=0)])
    assert share_of(ask(holds=20), None, others) == Share(20, 20, 2, 20)


def test_the_wall_is_shared_like_the_slots_and_as_others_leave_it() -> None:
    assert share_of(ASK, 40, Others([holding(30, in_flight=20)])) == Share(30, 20, 2, 20)
    assert share_of(ASK, 40, Others([holding(30, in_flight=33)])) == Share(30, 7, 2, 33)
    assert share_of(ASK, 40, Others([holding(30, in_flight=44)])) == Share(30, 1, 2, 44)


@pytest.mark.parametrize(
    ("wall", "heard", "knows", "others", "after"),
    [
        (None, 0, 60, [], None),
        (None, -20, 40, [], 40),
        (40, 5, 45, [], 45),
        (40, 25, 60, [], None),
        (40, -100, 1, [], 1),
        (None, -10, 20, [30], 50),  # 30 of its own before, and 30 of another
        (None, -5, 5, [10], 15),  # of 60, nobody had more than 20 in use
    ],
)
def test_what_a_run_hears_moves_the_accounts_wall(
    wall: int | None, heard: int, knows: int, others: list[int], after: int | None
) -> None:
    told = ask(heard=heard, knows=knows)
    idle = [holding(one, in_flight=0) for one in others]
    assert wall_after(wall, told, Others(idle)) == after


def test_what_the_others_have_in_flight_was_let_in() -> None:
    told = ask(heard=-40, knows=10)
    assert wall_after(None, told, Others([holding(20, in_flight=15)])) == 25


def test_alone_a_run_has_what_it_needs_and_remembers_the_wall() -> None:
    alone = Alone()
    asks = [
        ask(start=25),
        msgspec.structs.replace(ask(most=7, needs=7), account=Account("y", "k", "m")),
    ]
    assert alone.exchange(asks, 0.0) == [Share(60, 25, 1, 0), Share(7, 7, 1, 0)]
    asks = [ask(heard=-5, knows=20, holds=60), asks[1]]
    assert alone.exchange(asks, 1.0) == [Share(60, 20, 1, 0), Share(7, 7, 1, 0)]
