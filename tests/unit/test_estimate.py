"""An estimate's interval holds what the rows come to, and narrows with what was measured."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.accounting import PICO, Rates
from batchkit.estimate import Interval, Known, Load, Source, Sums, estimate, makespan
from batchkit.models import Model, Price
from batchkit.records import Usage

MODEL = Model(
    name="m",
    concurrency=10,
    max_output=1000,
    price=Price(Decimal(5), Decimal(10), Decimal("2.5"), Decimal("2.5")),
)

Row = tuple[int, Usage, float]


def population(rows: int, seed: int) -> list[Row]:
    """Rows whose prompts are counted a third too long and whose answers differ widely."""
    rng = Random(seed)
    found: list[Row] = []
    for _ in range(rows):
        counted = rng.randint(50, 900)
        prompt = max(1, round(counted * rng.gauss(0.75, 0.05)))
        answer = min(1000, round(rng.lognormvariate(4, 0.8)))
        found.append((counted, Usage(prompt, 0, answer), 0.5 + answer / 60))
    return found


def sums_of(rows: list[Row]) -> Sums:
    sums = Sums()
    for counted, usage, latency_s in rows:
        sums.add(counted, usage, latency_s)
    return sums


def load_of(rows: list[Row]) -> Load:
    return Load(
        rows=len(rows),
        requests=len(rows),
        counted=sum(counted for counted, _, _ in rows),
        room=1000 * len(rows),
        bound=len(rows) * PICO,
    )


def cost_of(rows: list[Row]) -> float:
    rates = Rates.of(MODEL.price)
    return sum(rates.cost(usage) for _, usage, _ in rows) / PICO


def test_a_sample_of_every_row_is_exact() -> None:
    rows = population(300, 1)
    found = estimate(MODEL, load_of(rows), Known(Source.SAMPLE, sums_of(rows)))
    assert found.cost.p10 == pytest.approx(cost_of(rows))
    assert found.cost.p90 == pytest.approx(cost_of(rows))
    assert found.measured_rows == 300


def test_nine_of_ten_samples_hold_the_cost_between_their_percentiles() -> None:
    """A tenth may miss; parts that are taken to err together make it fewer."""
    rows = population(5000, 2)
    cost, load, rng = cost_of(rows), load_of(rows), Random(3)
    held = 0
    for _ in range(300):
        sample = sums_of(rng.sample(rows, 60))
        found = estimate(MODEL, load, Known(Source.SAMPLE, sample)).cost
        held += found.p10 <= cost <= found.p90
    assert held / 300 >= 0.75


def test_more_rows_narrow_the_interval() -> None:
    rows = population(2000, 4)
    widths = [
        (found.p90 - found.p10) / found.p50
        for size in (10, 100, 1000)
        for found in [
            estimate(MODEL, load_of(rows), Known(Source.SAMPLE, sums_of(rows[:size]))).cost
        ]
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 2 * widths[2]


def test_rows_of_an_earlier_run_leave_a_doubt_that_no_number_of_them_removes() -> None:
    rows = population(2000, 5)
    found = estimate(MODEL, load_of(rows), Known(Source.EARLIER, sums_of(rows)))
    assert found.cost.p10 < 0.95 * found.cost.p50
    assert found.cost.p50 == pytest.approx(cost_of(rows))


def test_without_a_measurement_the_interval_is_wide_and_says_so() -> None:
    found = estimate(MODEL, load_of(population(1000, 6)), Known())
    assert found.source is Source.ASSUMED
    assert found.completion_tokens.p90 > 5 * found.completion_tokens.p10


def test_answers_never_pass_the_room_they_have() -> None:
    load = Load(rows=100, requests=100, counted=10_000, room=1600, bound=PICO)
    for known in (Known(), Known(Source.EARLIER, sums_of(population(50, 7)))):
        tokens = estimate(MODEL, load, known).completion_tokens
        assert tokens.p10 <= tokens.p50 <= tokens.p90 <= 1600


def test_what_was_cached_is_expected_to_be_cached_again() -> None:
    sums = Sums()
    for _ in range(10):
        sums.add(100, Usage(100, 80, 0), 1.0)
    load = Load(rows=10, requests=10, counted=1000, room=10, bound=PICO)
    found = estimate(MODEL, load, Known(Source.SAMPLE, sums))
    assert found.cost.p50 == pytest.approx((200 * 5 + 800 * 2.5) / 1e6)
    assert found.batch_cost is not None
    assert found.batch_cost.p50 == pytest.approx(1000 * 2.5 / 1e6)


@given(
    rows=st.integers(0, 10**7),
    counted=st.integers(0, 10**9),
    room=st.integers(0, 10**9),
    measured=st.integers(0, 5),
    source=st.sampled_from(Source),
)
def test_an_interval_is_in_order_and_never_negative(
    rows: int, counted: int, room: int, measured: int, source: Source
) -> None:
    sums = sums_of(population(measured, 8)) if source is not Source.ASSUMED else None
    load = Load(rows=rows, requests=rows, counted=counted, room=room)
    found = estimate(MODEL, load, Known(source, sums))
    seconds = makespan(rows, 10, found.latency_s)
    for one in (found.prompt_tokens, found.completion_tokens, found.cost, seconds):
        assert 0 <= one.p10 <= one.p50 <= one.p90


@pytest.mark.parametrize(
    ("rows", "slots", "seconds"),
    [(0, 5, 0.0), (5, 5, 3.5), (50, 5, 21.5), (40_000_000, 3000, 20_000.5)],
    ids=["nothing", "one round", "ten rounds", "more than a process takes"],
)
def test_time_is_rounds_of_slots_and_a_tail(rows: int, slots: int, seconds: float) -> None:
    assert makespan(rows, slots, Interval(1, 2, 4)).p50 == pytest.approx(seconds, rel=0.35)
