"""Hypothesis strategies that several property tests share."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from batchkit.accounting import Rates
from batchkit.errors import Billing, ErrorKind
from batchkit.journal import Settled
from batchkit.models import Price
from batchkit.records import Attempt, Result, Usage
from tests.samples import NOON, new_attempt, new_result

ROWS = st.integers(0, 2**40)
TEXTS = st.text(max_size=40) | st.sampled_from(["", "\0", "你好", "😀" * 9, "a\nb"])
WORDS = st.none() | TEXTS
SECONDS = st.floats(0, 1e6)
KINDS = st.none() | st.sampled_from(ErrorKind)
TOKENS = st.integers(0, 10**9)
MONEY = st.integers(0, 2**63)  # PICO of one row

PRICE_AMOUNTS = st.decimals(0, 10**7, places=6)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(TOKENS)
    return Usage(prompt, draw(st.integers(0, prompt)), draw(TOKENS))


@st.composite
def prices(draw: st.DrawFn) -> Price:
    cached: Decimal | None = draw(st.none() | PRICE_AMOUNTS)
    return Price(draw(PRICE_AMOUNTS), draw(PRICE_AMOUNTS), cached)


@st.composite
def attempts(draw: st.DrawFn, rates: Rates | None = None, row: int | None = None) -> Attempt:
    """An attempt that ended somehow; with `rates` it costs what it used."""
    usage, billing = Usage(), draw(st.sampled_from(Billing))
    if billing is Billing.BILLED:
        usage = draw(usages())
    return new_attempt(
        draw(ROWS) if row is None else row,
        draw(st.integers(1, 1000)),
        custom_id=draw(TEXTS),
        started_at=NOON + draw(SECONDS),
        latency_s=draw(SECONDS),
        http_status=draw(st.none() | st.integers(100, 599)),
        error_kind=draw(KINDS),
        error_code=draw(WORDS),
        retry_after_s=draw(st.none() | SECONDS),
        wait_s=draw(st.none() | SECONDS),
        usage=usage,
        cost=rates.cost(usage) if rates is not None else draw(MONEY),
        billing=billing,
        bound=draw(MONEY) if billing is Billing.UNKNOWN else 0,
    )


@st.composite
def results(draw: st.DrawFn, row: int | None = None) -> Result:
    """A result with whatever a provider may have sent."""
    return new_result(
        draw(ROWS) if row is None else row,
        custom_id=draw(TEXTS),
        status=draw(st.sampled_from(["ok", "failed"])),
        content=draw(WORDS),
        finish_reason=draw(WORDS),
        tool_calls=draw(WORDS),
        output=draw(WORDS),
        usage=draw(usages()),
        cost=draw(MONEY),
        attempts=draw(st.integers(0, 2**31 - 1)),
        latency_s=draw(st.none() | SECONDS),
        total_s=draw(SECONDS),
        finished_at=NOON + draw(SECONDS),
        error_kind=draw(KINDS),
        error_message=draw(WORDS),
        metadata=draw(WORDS),
        keep=draw(st.none() | st.lists(st.none() | st.integers(-5, 5) | TEXTS, max_size=3)),
    )


@st.composite
def settled(draw: st.DrawFn, row: int | None = None) -> Settled:
    result = draw(results(row))
    return Settled(result, draw(st.none() | attempts(row=result.row)))
