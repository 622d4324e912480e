"""The model table as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from batchkit.clock import CHINA
from batchkit.learned import Learned
from batchkit.models import Model, ModelTable, Tier
from batchkit.terminal import aligned

_HEAD = (
    "model",
    "context",
    "output",
    "V0",
    "V1",
    "V2",
    "V3",
    "long prompts",
    "input",
    "cached",
    "answer",
    "batch",
    "per 1M",
)


_LEARNED_HEAD = ("learned", "slots", "hour", "day", "key", "endpoint")


def as_text(table: ModelTable) -> str:
    """One line a model: tokens, requests in flight per tier, prices per million tokens."""
    return aligned([_HEAD, *(_cells(model) for model in table.values())])


def learned_text(learned: Sequence[Learned]) -> str:
    """What was learned of accounts' limits, a line each."""
    return aligned([_LEARNED_HEAD, *(_learned_cells(one) for one in learned)])


def _learned_cells(one: Learned) -> tuple[str, ...]:
    day = datetime.fromtimestamp(one.at, CHINA).strftime("%Y-%m-%d")
    return one.model, f"{one.slots:,}", f"{one.hour}:00", day, one.key[:8], one.endpoint


def _cells(model: Model) -> tuple[str, ...]:
    price = model.price
    prices = (price.input, price.cached_input, price.output, price.batch)
    return (
        model.name,
        f"{model.context:,}",
        "-" if model.max_output is None else f"{model.max_output:,}",
        *(_slots(model, tier) for tier in Tier),
        _long_prompts(model),
        *("-" if amount is None else f"{amount.normalize():f}" for amount in prices),
        price.currency,
    )


def _slots(model: Model, tier: Tier) -> str:
    if isinstance(model.concurrency, int):
        return f"{model.concurrency:,}"
    slots = model.concurrency.get(tier)
    return "-" if slots is None else f"{slots:,}"


def _long_prompts(model: Model) -> str:
    """`1% > 8,192`: what share of the requests in flight, above how many tokens."""
    rule = model.long_prompt
    if rule is None:
        return "-"
    if rule.concurrency is None:
        slots = f"{100 * rule.share:f}".rstrip("0").rstrip(".") + "%"
    elif isinstance(rule.concurrency, int):
        slots = f"{rule.concurrency:,}"
    else:
        slots = "/".join(f"{slots:,}" for slots in rule.concurrency.values())
    return f"{slots} > {rule.above:,}"
