"""What a run came to, as values and as lines."""

from __future__ import annotations

from typing import Any

from batchkit.errors import Billing, ErrorKind
from batchkit.records import Usage
from batchkit.summary import RunSummary, as_table, summarize
from batchkit.tally import Tally
from tests.samples import new_attempt, new_result

PLUS, AIR = "glm-4-plus", "glm-4-air-250414"


def tally_of_two() -> Tally:
    """Two rows of one model that are ok, and one of another that failed."""
    tally = Tally(wall_s=2.0)
    plus, air = tally.of(PLUS, "CNY"), tally.of(AIR, "CNY")
    for reason in ("stop", "length"):
        plus.add_attempt(new_attempt())
        plus.add_result(new_result(finish_reason=reason))
    nothing: dict[str, Any] = {"usage": Usage(), "cost": 0}
    air.add_attempt(
        new_attempt(
            error_kind=ErrorKind.CONCURRENCY, error_code="1302", billing=Billing.FREE, **nothing
        )
    )
    air.add_attempt(
        new_attempt(error_kind=ErrorKind.TIMEOUT, billing=Billing.UNKNOWN, bound=10**9, **nothing)
    )
    air.add_result(new_result(status="failed", error_kind=ErrorKind.TIMEOUT))
    plus.used_slot_s, plus.offered_slot_s = 3.0, 4.0
    return tally


def summary_of(tally: Tally, rows: int = 3) -> RunSummary:
    shares = {PLUS: 2, AIR: 1}
    return summarize(tally, rows=shares, total_rows=rows, out="runs/demo", version="1.2")


def test_the_summary_is_the_tally_in_words() -> None:
    summary = summary_of(tally_of_two())
    told = [
        (summary.rows, summary.ok, summary.failed, summary.truncated, summary.complete),
        (summary.attempts, summary.refused, summary.unknown_billing_attempts),
        (summary.prompt_tokens, summary.cached_tokens, summary.completion_tokens),
        (summary.total_tokens, summary.cost, summary.currency, summary.unknown_billing_bound),
        (summary.wall_s, summary.requests_per_s, summary.mean_latency_s),
        (summary.slot_utilization, summary.out, summary.version, summary.costs),
        (summary.errors, summary.failed_rows),
    ]
    assert told == [
        (3, 2, 1, 1, True),
        (4, 1, 1),
        (20, 8, 10),
        (30, "0.00013", "CNY", "0.001"),
        (2.0, 1.5, 0.5),
        (0.75, "runs/demo", "1.2", {"CNY": "0.00013"}),
        ({"concurrency": {"1302": 1}, "timeout": {"": 1}}, {"timeout": {"": 1}}),
    ]


def test_each_model_has_its_own_totals() -> None:
    models = summary_of(tally_of_two()).models
    plus, air = models[PLUS], models[AIR]
    assert (plus.rows, plus.ok, plus.cost, plus.slot_utilization) == (2, 2, "0.00013", 0.75)
    assert (air.rows, air.failed, air.cost, air.slot_utilization) == (1, 1, "0", None)
    assert air.mean_latency_s is None


def test_amounts_of_different_currencies_are_not_added() -> None:
    tally = tally_of_two()
    tally.of("gpt", "USD").add_attempt(new_attempt())
    summary = summary_of(tally)
    assert (summary.cost, summary.currency, summary.unknown_billing_bound) == (None, None, None)
    assert summary.costs == {"CNY": "0.00013", "USD": "0.000065"}
    assert "  0.00013 CNY, 0.000065 USD\n" in as_table(summary)


def test_a_run_that_has_not_begun_has_a_summary() -> None:
    summary = summary_of(Tally())
    assert (summary.ok, summary.cost, summary.costs, summary.models) == (0, "0", {}, {})
    assert (summary.complete, summary.requests_per_s, summary.slot_utilization) == (
        False,
        None,
        None,
    )
    assert summary_of(Tally(), rows=0).complete


def test_only_failed_rows_make_the_exit_code() -> None:
    assert summary_of(tally_of_two()).exit_code == 1
    assert summary_of(Tally()).exit_code == 0


def test_the_table_names_everything_once() -> None:
    assert as_table(summary_of(tally_of_two())).splitlines() == [
        "rows              3",
        "ok                2 (1 truncated)",
        "failed            1 (1 timeout)",
        "attempts          4 (1 refused for load)",
        "tokens            20 prompt (8 cached), 10 completion",
        "cost              0.00013 CNY",
        "unknown           1 attempts may have been billed, at most 0.001 CNY",
        "time              2.0 s, 1.5 requests/s",
        "slots             75.0% used while work was pending",
        "glm-4-plus        2 ok, 0 failed, 0.00013 CNY",
        "glm-4-air-250414  0 ok, 1 failed, 0 CNY",
        "results           runs/demo/results",
    ]


def test_the_table_leaves_out_what_did_not_happen() -> None:
    tally = Tally()
    tally.of(PLUS, "CNY").add_result(new_result())
    assert as_table(summary_of(tally, rows=12_000)).splitlines() == [
        "rows      12,000",
        "ok        1",
        "failed    0",
        "attempts  0 (0 refused for load)",
        "tokens    0 prompt (0 cached), 0 completion",
        "cost      0 CNY",
        "time      0.0 s",
        "results   runs/demo/results",
    ]


def test_the_table_counts_failed_rows_by_kind_with_their_codes() -> None:
    tally = Tally()
    plus = tally.of(PLUS, "CNY")
    for kind, code in (("policy", "1300"), ("timeout", None), ("policy", "1301")):
        plus.add_result(new_result(status="failed", error_kind=ErrorKind(kind), error_code=code))
    assert "failed    3 (2 policy 1300/1301, 1 timeout)" in as_table(summary_of(tally))
