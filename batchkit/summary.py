"""What a run came to: the totals as values for `summary.json` and as a table for a terminal."""

from __future__ import annotations

from typing import Any

import msgspec

from batchkit.accounting import to_text
from batchkit.binding import REMEDIES, Bound, mostly
from batchkit.tally import Counts, ModelTally, Tally


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of one model, or of the run."""

    rows: int
    ok: int
    failed: int
    truncated: int  # ok rows whose answer was cut at max_tokens
    deduplicated: int  # rows that have the answer of an equal one
    attempts: int
    refused: int  # attempts refused for load
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: str | None  # exact; None for a run whose models have different currencies
    currency: str | None
    unknown_billing_attempts: int
    unknown_billing_bound: str | None  # the most that those may have cost
    in_flight_at_kills: int  # at most; attempts that a kill left unrecorded
    in_flight_at_kills_bound: str | None  # the most that those may have cost
    mean_latency_s: float | None
    slot_utilization: float | None
    errors: Counts  # failed exchanges: kind -> provider code -> count
    failed_rows: Counts


class RunSummary(ModelSummary, frozen=True, kw_only=True):
    """The whole run; what `summary.json` holds and `batchkit.run` returns."""

    wall_s: float
    requests_per_s: float | None  # settled rows over the time a process worked on them
    bound_by: Bound | None  # what held the run back most of the time
    costs: dict[str, str]  # per currency
    retired_costs: dict[str, str]  # spent on rows that the results do not have any more
    models: dict[str, ModelSummary]
    all_rows: bool  # false while the input was not checked to its end: `rows` are those so far
    complete: bool
    out: str
    version: str

    @property
    def exit_code(self) -> int:
        return 1 if self.failed else 0


def summarize(
    tally: Tally,
    *,
    rows: dict[str, int],
    total_rows: int,
    all_rows: bool = True,
    out: str,
    version: str,
) -> RunSummary:
    """The summary of `tally`; `rows` is how many rows each model has in the plan.

    Without `all_rows` there may be more than the plan has.
    """
    total = tally.total()
    costs = tally.costs()
    one_currency = len(costs) <= 1
    values = _model_values(total, total_rows)
    if not one_currency:
        values |= {
            "cost": None,
            "currency": None,
            "unknown_billing_bound": None,
            "in_flight_at_kills_bound": None,
        }
    return RunSummary(
        **values,
        wall_s=tally.wall_s,
        requests_per_s=tally.settled / tally.wall_s if tally.wall_s else None,
        bound_by=mostly(tally.looks),
        costs={currency: to_text(cost) for currency, cost in costs.items()},
        retired_costs={currency: to_text(cost) for currency, cost in tally.retired_costs().items()},
        models={
            name: ModelSummary(**_model_values(model, rows.get(name, model.settled)))
            for name, model in tally.models.items()
        },
        all_rows=all_rows,
        complete=all_rows and tally.settled == total_rows,
        out=out,
        version=version,
    )


def _model_values(tally: ModelTally, rows: int) -> dict[str, Any]:
    return {
        "rows": rows,
        "ok": tally.ok,
        "failed": tally.failed,
        "truncated": tally.truncated,
        "deduplicated": tally.deduplicated,
        "attempts": tally.attempts,
        "refused": tally.refused,
        "prompt_tokens": tally.usage.prompt,
        "cached_tokens": tally.usage.cached,
        "completion_tokens": tally.usage.completion,
        "total_tokens": tally.usage.prompt + tally.usage.completion,
        "cost": to_text(tally.cost),
        "currency": tally.currency,
        "unknown_billing_attempts": tally.unknown_attempts,
        "unknown_billing_bound": to_text(tally.unknown_bound),
        "in_flight_at_kills": tally.killed_attempts,
        "in_flight_at_kills_bound": to_text(tally.killed_bound),
        "mean_latency_s": tally.latency_s / tally.answered if tally.answered else None,
        "slot_utilization": tally.used_slot_s / tally.offered_slot_s
        if tally.offered_slot_s
        else None,
        "errors": tally.errors,
        "failed_rows": tally.failed_rows,
    }


def as_table(summary: RunSummary) -> str:
    """The summary as lines for a terminal, labels on the left."""
    lines = as_lines(summary)
    width = max(len(label) for label, _ in lines)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in lines)


def as_lines(summary: RunSummary) -> list[tuple[str, str]]:
    """The summary in words: a label and what there is to say, line by line."""
    lines = [
        ("rows", f"{summary.rows:,}{'' if summary.all_rows else ' so far'}"),
        (
            "ok",
            f"{summary.ok:,}"
            + (f" ({summary.truncated:,} truncated)" if summary.truncated else ""),
        ),
        ("failed", f"{summary.failed:,}{_kinds(summary.failed_rows)}"),
        *(
            [("deduplicated", f"{summary.deduplicated:,} have the answer of an equal row")]
            if summary.deduplicated
            else []
        ),
        ("attempts", f"{summary.attempts:,} ({summary.refused:,} refused for load)"),
        ("tokens", _tokens(summary)),
        (
            "cost",
            ", ".join(f"{cost} {currency}" for currency, cost in summary.costs.items()) or "0",
        ),
    ]
    if any(cost != "0" for cost in summary.retired_costs.values()):
        spent = ", ".join(f"{cost} {currency}" for currency, cost in summary.retired_costs.items())
        lines.append(("retired", f"{spent} spent on rows that are not in the results any more"))
    if summary.unknown_billing_attempts:
        most = _at_most(summary.unknown_billing_bound, summary.currency)
        lines.append(
            ("unknown", f"{summary.unknown_billing_attempts:,} attempts may have been billed{most}")
        )
    if summary.in_flight_at_kills:
        most = _at_most(summary.in_flight_at_kills_bound, summary.currency)
        lines.append(
            ("kills", f"at most {summary.in_flight_at_kills:,} attempts were in flight{most}")
        )
    rate = f", {summary.requests_per_s:,.1f} requests/s" if summary.requests_per_s else ""
    lines.append(("time", f"{summary.wall_s:,.1f} s{rate}"))
    if summary.slot_utilization is not None:
        lines.append(("slots", f"{summary.slot_utilization:.1%} used while work was pending"))
    if summary.bound_by is not None:
        lines.append(("bound", f"{summary.bound_by}: {REMEDIES[summary.bound_by]}"))
    if len(summary.models) > 1:
        lines += [
            (name, f"{m.ok:,} ok, {m.failed:,} failed, {m.cost} {m.currency}")
            for name, m in summary.models.items()
        ]
    lines.append(("results", f"{summary.out}/results"))
    return lines


def _at_most(bound: str | None, currency: str | None) -> str:
    return "" if bound is None else f", at most {bound} {currency}"


def _tokens(summary: RunSummary) -> str:
    prompt = f"{summary.prompt_tokens:,} prompt ({summary.cached_tokens:,} cached)"
    return f"{prompt}, {summary.completion_tokens:,} completion"


def _kinds(counts: Counts) -> str:
    kinds = [
        f"{sum(by_code.values()):,} {kind}{_codes(by_code)}"
        for kind, by_code in sorted(counts.items())
    ]
    return f" ({', '.join(kinds)})" if kinds else ""


def _codes(by_code: dict[str, int]) -> str:
    codes = sorted(code for code in by_code if code)
    return f" {'/'.join(codes)}" if codes else ""
