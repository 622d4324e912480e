"""Money adds up: what rows cost is what the tally says, to the last digit."""

from __future__ import annotations

from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.accounting import Rates, from_decimal, to_decimal, to_text
from batchkit.journal import Settled
from batchkit.models import Price
from batchkit.parts import Layout, attempts_batch, results_batch
from batchkit.records import Attempt, Usage
from batchkit.spec import Format
from batchkit.tally import Tally, decode_tally, encode_tally
from tests.samples import new_result
from tests.strategies import attempts, prices, usages

LAYOUT = Layout(Path(), Format.ARROW, None, (), {})


def settle(row: int, tried: list[Attempt]) -> Settled:
    """The row's result after `tried`, the last of which settled it."""
    usage = sum((attempt.usage for attempt in tried), Usage())
    cost = sum(attempt.cost for attempt in tried)
    result = new_result(row, usage=usage, cost=cost, attempts=len(tried))
    return Settled(result, tried[-1] if tried else None)


def costs(batch: pa.RecordBatch) -> list[Decimal]:
    column: list[Any] = batch.column("cost").to_pylist()
    return column


def exact_sum(amounts: list[Decimal]) -> Decimal:
    with localcontext(prec=60):
        return sum(amounts, Decimal(0))


@given(st.integers(0, 10**36))
def test_an_amount_survives_being_written(amount: int) -> None:
    assert from_decimal(to_decimal(amount)) == amount
    text = to_text(amount)
    assert from_decimal(Decimal(text)) == amount
    assert "e" not in text.lower()
    assert text == "0" or not text.endswith("." if "." not in text else "0")


@given(prices(), usages())
def test_a_cost_is_the_formula_in_exact_decimals(price: Price, usage: Usage) -> None:
    cached = price.input if price.cached_input is None else price.cached_input
    with localcontext(prec=60):
        exact = (
            (usage.prompt - usage.cached) * price.input
            + usage.cached * cached
            + usage.completion * price.output
        ) / 10**6
        assert to_decimal(Rates.of(price).cost(usage)) == exact


@given(prices(), usages())
def test_no_attempt_costs_more_than_its_bound(price: Price, usage: Usage) -> None:
    rates = Rates.of(price)
    assert rates.cost(usage) <= rates.bound(usage.prompt, usage.completion)


@settings(max_examples=60)
@given(st.lists(st.tuples(prices(), st.integers(0, 4)), max_size=6), st.data())
def test_rows_attempts_and_tally_agree_to_the_last_digit(
    rows: list[tuple[Price, int]], draw: st.DataObject
) -> None:
    tally = Tally()
    settled: list[Settled] = []
    tried: list[Attempt] = []
    for row, (price, count) in enumerate(rows):
        own = [draw.draw(attempts(Rates.of(price), row)) for _ in range(count)]
        settled.append(settle(row, own))
        tried += own
    for attempt in tried:
        tally.of("glm-4-plus", "CNY").add_attempt(attempt)
    for one in settled:
        tally.of("glm-4-plus", "CNY").add_result(one.result)
    total = decode_tally(encode_tally(tally)).total()
    assert total.cost == sum(one.result.cost for one in settled)
    assert total.usage == sum((one.result.usage for one in settled), Usage())
    in_results = exact_sum(costs(results_batch(LAYOUT, settled)))
    in_attempts = exact_sum(costs(attempts_batch(LAYOUT, tried)))
    assert in_results == in_attempts == Decimal(to_text(total.cost))


@given(st.lists(st.integers(0, 10**24 - 1), max_size=5))
def test_the_money_column_holds_every_amount_exactly(amounts: list[int]) -> None:
    settled = [Settled(new_result(cost=amount), None) for amount in amounts]
    column = costs(results_batch(LAYOUT, settled))
    assert [from_decimal(cost) for cost in column] == amounts
