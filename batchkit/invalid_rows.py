"""Rows that cannot be sent, as results."""

from __future__ import annotations

import time

from batchkit.errors import ErrorKind
from batchkit.journal import Settled
from batchkit.plan import Fault
from batchkit.records import Result, Usage
from batchkit.spec import Spec


def invalid_row(fault: Fault, spec: Spec) -> Settled:
    """The result of a row that cannot be sent."""
    model = spec.model or ""
    result = Result(
        row=fault.row,
        custom_id=fault.custom_id,
        model=model,
        status="failed",
        content=None,
        finish_reason=None,
        tool_calls=None,
        output=None,
        usage=Usage(),
        cost=0,
        currency=spec.table[model].price.currency if model else "CNY",
        attempts=0,
        latency_s=None,
        total_s=0.0,
        finished_at=time.time(),
        error_kind=ErrorKind.INVALID_ROW,
        error_message=f"{fault.place}: {fault.reason}",
    )
    return Settled(result, None)
