"""The adaptive limit, rule by rule, and its goals in simulated time."""

from __future__ import annotations

from random import Random

import pytest

from batchkit.adaptive import AdaptiveLimit
from batchkit.errors import Signal
from benchmarks.limits.play import play
from benchmarks.limits.scenarios import Job, Scenario
from benchmarks.limits.service import Account, Latency, Phases

GOOD, REFUSED, STRAINED = Signal.GOOD, Signal.REFUSED, Signal.STRAINED


class Line:
    """A limit and the time: each attempt ends a moment after it began, with all slots taken."""

    def __init__(self, ceiling: int, *, start: int | None = None) -> None:
        self.limit = AdaptiveLimit(ceiling, start=start)
        self.now = 0.0

    def end(
        self, signal: Signal, *, in_flight: int | None = None, took_s: float = 0.01
    ) -> float | None:
        self.now += 0.02
        taken = self.limit.slots if in_flight is None else in_flight
        return self.limit.on_end(
            signal, started_at=self.now - took_s, now=self.now, in_flight=taken
        )

    def ends(self, signal: Signal, times: int, *, in_flight: int | None = None) -> None:
        for _ in range(times):
            self.end(signal, in_flight=in_flight)

    def round_trip(self) -> int:
        """As many answers as there are slots; the slots after them."""
        self.ends(GOOD, self.limit.slots)
        return self.limit.slots

    def find_wall(self, let_in: int) -> None:
        """Refused whenever more than `let_in` are in flight, until it has been cut for that."""
        while self.limit.slots > let_in:
            self.end(REFUSED, in_flight=let_in + 1)
        assert (self.limit.slots, self.limit.learned) == (int(0.9 * let_in), let_in)

    def climb(self) -> int:
        """Answers until the limit goes past what it knows; how many that took at the wall."""
        wall, at_wall = self.limit.learned, 0
        while self.limit.slots <= wall:
            at_wall += self.limit.slots == wall
            self.end(GOOD)
        return at_wall


def test_it_begins_at_the_ceiling_or_where_an_earlier_run_ended_but_never_above() -> None:
    begun = [AdaptiveLimit(300), AdaptiveLimit(300, start=40), AdaptiveLimit(30, start=40)]
    assert [(limit.slots, limit.learned) for limit in begun] == [(300, 300), (40, 40), (30, 30)]


def test_many_refusals_cut_to_nine_tenths_of_what_was_let_in() -> None:
    line = Line(300)
    line.ends(REFUSED, 7, in_flight=101)
    assert (line.limit.slots, line.limit.learned) == (300, 300)
    line.end(REFUSED, in_flight=101)
    assert (line.limit.slots, line.limit.learned) == (90, 100)


def test_what_was_sent_before_the_cut_does_not_cut_again_but_was_not_let_in() -> None:
    line = Line(300)
    line.find_wall(100)
    cut_at = line.now
    for late in range(10):
        now = cut_at + 0.01 * late
        line.limit.on_end(REFUSED, started_at=cut_at, now=now, in_flight=105)
    assert (line.limit.learned, line.limit.slots) == (90, 81)


def test_half_of_what_lacks_to_the_wall_comes_back_per_round_trip() -> None:
    line = Line(400)
    line.find_wall(200)
    assert [line.round_trip() for _ in range(5)] == [189, 194, 197, 198, 199]


def test_it_does_not_grow_while_it_is_not_what_holds_us_back() -> None:
    line = Line(400)
    line.find_wall(200)
    line.ends(GOOD, 10_000, in_flight=143)  # 79 % of 180
    assert line.limit.slots == 180
    line.ends(GOOD, 100, in_flight=144)
    assert line.limit.slots > 180


def test_past_the_wall_it_grows_by_1_2_4_slots_per_round_trip_up_to_the_ceiling() -> None:
    line = Line(400)
    line.find_wall(200)
    line.climb()
    assert [line.round_trip() for _ in range(8)] == [203, 208, 217, 235, 269, 331, 400, 400]


def test_each_look_past_the_wall_that_is_refused_doubles_the_rest_before_the_next() -> None:
    line = Line(400)
    line.find_wall(200)
    rests = []
    for _ in range(5):
        rests.append(line.climb())
        line.end(REFUSED, in_flight=201)
        assert (line.limit.slots, line.limit.learned) == (180, 200)
    round_trips = [round(rest / 200) - 1 for rest in rests]  # in the last it grows by a slot
    assert round_trips == [2, 4, 8, 10, 10]


@pytest.mark.parametrize(("let_in", "answers"), [(5, 100), (8, 100), (2, 40), (1, 20)])
def test_looking_costs_a_refusal_in_a_hundred_answers_except_with_very_few_slots(
    let_in: int, answers: int
) -> None:
    """With 2 slots that would mean looking once in 50 round trips."""
    line = Line(50)
    line.ends(REFUSED, 10, in_flight=let_in + 1)
    for _ in range(6):
        line.climb()
        line.end(REFUSED, in_flight=let_in + 1)
    assert line.climb() == pytest.approx(answers, abs=let_in + 2)


def test_a_refusal_with_all_slots_taken_cuts_but_hardly_moves_the_wall() -> None:
    """It may be chance. If it is not, it comes again each time the limit is back."""
    line = Line(100)
    line.ends(GOOD, 50)
    line.end(REFUSED, in_flight=91)
    assert (line.limit.slots, line.limit.learned) == (81, 99)
    for _ in range(10):
        while line.limit.slots < 95:
            line.end(GOOD)
        line.end(REFUSED, in_flight=91)
    assert (line.limit.slots, line.limit.learned) == (81, 97)


def test_a_lone_refusal_far_below_the_wall_is_chance() -> None:
    line = Line(300)
    line.find_wall(100)
    line.ends(GOOD, 40)
    before = line.limit.slots
    assert before < 95
    line.end(REFUSED)
    assert (line.limit.slots, line.limit.learned) == (before, 100)


def test_refusals_far_below_the_wall_that_do_not_end_move_it() -> None:
    line = Line(300, start=100)
    line.ends(REFUSED, 10, in_flight=41)
    assert (line.limit.slots, line.limit.learned) == (36, 40)


def test_a_refusal_while_slots_are_still_being_taken_says_little() -> None:
    """At the start a run that was told 100 has 5 in flight: no reason to go on with 4."""
    line = Line(100)
    line.end(REFUSED, in_flight=79)
    assert (line.limit.slots, line.limit.learned) == (100, 100)


def test_trouble_of_the_platform_shrinks_gently_and_teaches_nothing() -> None:
    line = Line(100)
    line.ends(STRAINED, 100)
    assert (line.limit.slots, line.limit.learned) == (95, 100)
    line.ends(STRAINED, 10_000)
    assert (line.limit.slots, line.limit.learned) == (1, 100)
    round_trips = 0
    while line.limit.slots < 100:
        line.round_trip()
        round_trips += 1
    assert round_trips <= 15


def test_a_fault_that_says_nothing_about_load_changes_nothing() -> None:
    line = Line(10, start=5)
    assert [line.end(Signal.NEUTRAL) for _ in range(100)] == [None] * 100
    assert (line.limit.slots, line.limit.learned) == (5, 5)


def test_when_everybody_is_refused_one_slot_is_left() -> None:
    line = Line(3000)
    for _ in range(500):
        line.end(REFUSED, in_flight=line.limit.slots)
    assert (line.limit.slots, line.limit.learned) == (1, 1)


def test_a_slot_stays_shut_the_longer_the_longer_nobody_was_answered() -> None:
    line = Line(10)
    assert line.end(GOOD) is None
    for silent_s, pauses in (
        (0.1, (0.5, 0.25)),
        (0.9, (0.5, 0.45)),
        (1.5, (0.75, 0.75)),
        (600.0, (2.0, 2.0)),
    ):
        now = line.now + silent_s
        paused = [
            line.limit.on_end(signal, started_at=now, now=now, in_flight=1)
            for signal in (REFUSED, STRAINED)
        ]
        assert paused == pytest.approx(pauses)


def test_silence_is_counted_from_the_first_attempt() -> None:
    limit = AdaptiveLimit(10)
    assert limit.on_end(REFUSED, started_at=100.0, now=100.1, in_flight=1) == 0.5
    assert limit.on_end(STRAINED, started_at=101.0, now=102.0, in_flight=1) == pytest.approx(1.0)


def test_a_lower_ceiling_holds_at_once_and_what_was_believed_comes_back_with_a_higher_one() -> None:
    line = Line(200)
    line.find_wall(100)
    line.limit.resize(30, 30)
    assert (line.limit.slots, line.limit.learned, line.limit.is_walled) == (27, 30, False)
    line.limit.resize(200, 100)
    assert (line.limit.slots, line.limit.learned, line.limit.is_walled) == (90, 100, True)


def test_a_ceiling_of_nothing_shuts_all_slots_and_leaves_the_belief() -> None:
    line = Line(200)
    line.find_wall(100)
    line.limit.resize(0, 7)
    assert (line.limit.slots, line.limit.learned) == (0, 100)
    assert line.end(GOOD, in_flight=3) is None
    assert line.limit.slots == 0
    line.limit.resize(200, 100)
    assert (line.limit.slots, line.limit.learned) == (90, 100)


def test_more_is_believed_at_once_and_the_way_past_it_begins_anew() -> None:
    line = Line(400)
    line.find_wall(100)
    line.limit.resize(400, 200)
    assert (line.limit.slots, line.limit.learned) == (180, 200)
    assert 400 <= line.climb() <= 600  # it rests for two round trips


def test_platform_trouble_stays_in_proportion() -> None:
    line = Line(100)
    line.ends(STRAINED, 1000)
    assert line.limit.slots == 50
    line.limit.resize(50, 50)
    assert line.limit.slots == 25


def test_slots_are_proven_by_a_round_trip_of_answers_since_they_were_cut_or_set() -> None:
    line = Line(40)
    proven = []

    def after(signal: Signal, times: int, in_flight: int | None = None) -> None:
        line.ends(signal, times, in_flight=in_flight)
        proven.append(line.limit.is_proven)

    after(GOOD, 39)
    after(GOOD, 1)
    line.limit.resize(20, 20)
    after(GOOD, 20, 15)  # not with all slots in use
    after(GOOD, 20)
    after(REFUSED, 1, 20)
    assert proven == [False, True, False, True, False]


# -- in simulated time, against accounts of `benchmarks.limits` ------------------------------------

SHORT = Latency(0.25, 0.4)


def scenario(told: int, limit: Phases, rows: int, latency: Latency | None = None) -> Scenario:
    account = Account(limit=limit, latency=latency or Latency())
    return Scenario("a test's", (Job(account, told, rows),))


@pytest.mark.parametrize("slots", [50, 300])
def test_an_account_as_told_is_full_at_once(slots: int) -> None:
    (report,) = play(scenario(slots, Phases((slots,)), 50 * slots), "batchkit", seed=1)
    assert (report.refused, report.learned) == (0, slots)
    assert report.utilization >= 0.98
    assert report.stretch <= 1.03


@pytest.mark.parametrize(("told", "true"), [(200, 100), (3000, 150), (200, 5)])
def test_a_limit_below_the_table_is_found_and_kept_full(told: int, true: int) -> None:
    (report,) = play(scenario(told, Phases((true,)), 100 * true), "batchkit", seed=1)
    assert report.found <= 10
    assert report.steady_share <= 0.01
    assert report.utilization >= 0.95
    assert report.learned == pytest.approx(true, rel=0.05)


def test_a_limit_that_doubles_is_full_again_within_30_round_trips() -> None:
    phases = Phases((100, 50, 100), (60.0, 120.0))
    (report,) = play(scenario(200, phases, 18_000), "batchkit", seed=1)
    assert report.recovered <= 30


def test_told_300_at_a_true_limit_of_100() -> None:
    (report,) = play(scenario(300, Phases((100,)), 6_000, SHORT), "batchkit", seed=1)
    assert report.stretch <= 1.15
    assert report.refused < 200


def test_the_same_seed_is_the_same_run() -> None:
    seed = Random().randrange(1000)
    once, twice = (play(scenario(50, Phases((20,)), 500), "batchkit", seed) for _ in range(2))
    assert once == twice, f"seed {seed}"
