"""Results and attempts as a run of short answers has them."""

from __future__ import annotations

from random import Random
from typing import Any

from batchkit.errors import Billing
from batchkit.journal import Settled
from batchkit.records import Attempt, Result, Usage

MODEL = "glm-4-plus"
_WORDS = [f"{number:x}" for number in range(0x1000, 0x8000, 7)]  # compress about as words do
_ANSWER_WORDS = 240  # 1.2 KB


def answer(row: int, words: int = _ANSWER_WORDS) -> str:
    """The text of an answer, the same for the same row."""
    return " ".join(Random(row).choices(_WORDS, k=words))


def settled_row(row: int, content: str | None = None, keep: list[Any] | None = None) -> Settled:
    """A row that was answered at its first attempt, with `content` or else with `answer(row)`."""
    usage, now = Usage(40, 0, 200), 1.79e9 + row
    attempt = Attempt(
        row=row,
        custom_id=f"q-{row}",
        attempt=1,
        model=MODEL,
        started_at=now,
        latency_s=1.5,
        in_flight=50,
        limit=50,
        http_status=200,
        usage=usage,
        cost=1_200_000_000,
        billing=Billing.BILLED,
    )
    result = Result(
        row=row,
        custom_id=f"q-{row}",
        model=MODEL,
        status="ok",
        content=answer(row) if content is None else content,
        finish_reason="stop",
        tool_calls=None,
        output=None,
        usage=usage,
        cost=1_200_000_000,
        currency="CNY",
        attempts=1,
        latency_s=1.5,
        total_s=1.5,
        finished_at=now + 1.5,
        http_status=200,
        response_id=f"{row:032}",
        response_model=MODEL,
        keep=keep,
    )
    return Settled(result, attempt)
