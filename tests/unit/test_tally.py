"""Running totals: each attempt and each result counts once, in the model that it belongs to."""

from __future__ import annotations

from typing import Any

from batchkit.errors import Billing, ErrorKind
from batchkit.records import Usage
from batchkit.tally import ModelTally, Tally, decode_tally, encode_tally
from tests.samples import new_attempt, new_result


def test_an_answered_attempt_counts_its_tokens_money_and_latency() -> None:
    tally = ModelTally()
    tally.add_attempt(new_attempt())
    assert tally == ModelTally(
        attempts=1, answered=1, usage=Usage(10, 4, 5), cost=65_000_000, latency_s=0.5
    )


def test_an_answer_that_was_no_use_is_an_answer_and_an_error() -> None:
    tally = ModelTally()
    tally.add_attempt(new_attempt(error_kind=ErrorKind.INVALID_OUTPUT))
    assert (tally.answered, tally.latency_s, tally.cost) == (1, 0.5, 65_000_000)
    assert tally.errors == {"invalid_output": {"": 1}}


def test_a_refusal_counts_as_refused_and_costs_nothing() -> None:
    tally = ModelTally()
    refused: dict[str, Any] = {
        "usage": Usage(),
        "cost": 0,
        "billing": Billing.FREE,
        "error_code": "1302",
    }
    tally.add_attempt(new_attempt(error_kind=ErrorKind.CONCURRENCY, **refused))
    assert tally == ModelTally(attempts=1, refused=1, errors={"concurrency": {"1302": 1}})


def test_what_may_have_been_billed_is_counted_apart() -> None:
    tally = ModelTally()
    lost: dict[str, Any] = {"usage": Usage(), "cost": 0, "billing": Billing.UNKNOWN, "bound": 7}
    tally.add_attempt(new_attempt(error_kind=ErrorKind.TIMEOUT, **lost))
    assert tally == ModelTally(
        attempts=1, unknown_attempts=1, unknown_bound=7, errors={"timeout": {"": 1}}
    )


def test_results_are_ok_truncated_or_failed_for_a_reason() -> None:
    tally = ModelTally()
    tally.add_result(new_result())
    tally.add_result(new_result(finish_reason="length"))
    kinds = [ErrorKind.ARREARS, ErrorKind.ARREARS, None]
    for kind, code in zip(kinds, ("1113", None, None), strict=True):
        tally.add_result(new_result(status="failed", error_kind=kind, error_code=code))
    assert (tally.ok, tally.truncated, tally.failed, tally.settled) == (2, 1, 3, 5)
    assert tally.failed_rows == {"arrears": {"1113": 1, "": 1}, "unknown": {"": 1}}


def test_the_total_is_all_models_together() -> None:
    tally = Tally()
    for model, currency in (("a", "CNY"), ("b", "USD")):
        of = tally.of(model, currency)
        of.add_attempt(new_attempt(error_kind=ErrorKind.RATE, error_code=model))
        of.add_result(new_result())
    total = tally.total()
    assert (total.attempts, total.ok, total.cost, total.usage) == (
        2,
        2,
        130_000_000,
        Usage(20, 8, 10),
    )
    assert total.errors == {"rate": {"a": 1, "b": 1}}
    assert tally.costs() == {"CNY": 65_000_000, "USD": 65_000_000}
    assert tally.settled == 2


def test_the_total_shares_nothing_with_the_models() -> None:
    tally = Tally()
    tally.of("a", "CNY").add_result(new_result(status="failed", error_kind=ErrorKind.POLICY))
    before = encode_tally(tally)
    tally.total().failed_rows["policy"][""] += 1
    assert encode_tally(tally) == before


def test_a_model_keeps_its_tally() -> None:
    tally = Tally()
    assert tally.of("a", "USD") is tally.of("a", "CNY")
    assert tally.of("b", "CNY") is not tally.of("a", "CNY")
    assert tally.models["a"].currency == "USD"


def test_a_tally_without_models_is_empty() -> None:
    assert (Tally().total(), Tally().costs(), Tally().settled) == (ModelTally(), {}, 0)


def test_what_was_forgotten_was_never_counted() -> None:
    kept, both = ModelTally(), ModelTally()
    lost = new_attempt(billing=Billing.UNKNOWN, bound=9, error_kind=ErrorKind.TIMEOUT)
    failed = new_result(status="failed", error_kind=ErrorKind.TIMEOUT)
    for tally in (kept, both):
        tally.add_attempt(new_attempt())
        tally.add_result(new_result(finish_reason="length"))
    both.add_attempt(lost)
    both.add_result(failed)
    both.forget_attempt(lost)
    both.forget_result(failed)
    assert both == kept


def test_a_tally_is_read_back_as_it_was_written() -> None:
    tally = Tally(wall_s=1.5)
    tally.of("a", "CNY").add_attempt(new_attempt(error_kind=ErrorKind.RATE))
    assert decode_tally(encode_tally(tally)) == tally
