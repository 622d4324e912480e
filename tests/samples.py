"""Records as tests need them: a field that is not named has a plain value."""

from __future__ import annotations

from typing import Any

import msgspec

from batchkit.errors import Billing
from batchkit.journal import Settled
from batchkit.plan import Plan, PlanWriter
from batchkit.records import Attempt, Result, Usage

NOON = 1_790_000_000.25  # seconds since the epoch


def new_attempt(row: int = 0, number: int = 1, **fields: Any) -> Attempt:
    """An attempt that was answered and cost something, unless `fields` say otherwise."""
    plain = Attempt(
        row=row,
        custom_id=f"id-{row}",
        attempt=number,
        model="glm-4-plus",
        started_at=NOON,
        latency_s=0.5,
        in_flight=3,
        limit=50,
        http_status=200,
        usage=Usage(10, 4, 5),
        cost=65_000_000,
        billing=Billing.BILLED,
    )
    return msgspec.structs.replace(plain, **fields)


def new_result(row: int = 0, **fields: Any) -> Result:
    """A result that is ok, unless `fields` say otherwise."""
    plain = Result(
        row=row,
        custom_id=f"id-{row}",
        model="glm-4-plus",
        status="ok",
        content="yes",
        finish_reason="stop",
        tool_calls=None,
        output=None,
        usage=Usage(10, 4, 5),
        cost=65_000_000,
        currency="CNY",
        attempts=1,
        latency_s=0.5,
        total_s=0.75,
        finished_at=NOON + 1,
        http_status=200,
        response_id="r-1",
        response_model="glm-4-plus",
    )
    return msgspec.structs.replace(plain, **fields)


def plan_of(writer: PlanWriter, part_rows: int, **fields: Any) -> Plan:
    """The plan of a writer that has finished."""
    plain = Plan(
        rows=writer.rows,
        invalid=writer.invalid,
        models=writer.models,
        shares=writer.shares,
        asks={},
        input={},
        limit=None,
        part_rows=part_rows,
        format="arrow",
        keep="",
    )
    return msgspec.structs.replace(plain, **fields)


def new_settled(row: int = 0, **fields: Any) -> Settled:
    """A settled row with the attempt that settled it; `fields` go to the result."""
    return Settled(new_result(row, **fields), new_attempt(row))
