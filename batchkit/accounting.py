"""Money, exactly: integer units of 10^-12 of a currency, Decimal at the edges.

A price per million tokens has at most six decimals, so one token's price is a whole number of units
and every sum is exact. Cost of an answer (docs.bigmodel.cn, context cache):
`(prompt - cached) * input + cached * cached_input + completion * output`.
"""

from __future__ import annotations

from decimal import Context, Decimal

import msgspec

from batchkit.models import Price
from batchkit.records import Usage

PICO = 10**12  # units in one CNY, USD, …
_EXACT = Context(prec=60)  # digits; the default of 28 would round a sum without a word
_PER_TOKEN = 10**6  # units per token for a price of 1 per million tokens


def to_decimal(amount: int) -> Decimal:
    """`amount` units as a decimal with twelve places."""
    return Decimal(amount).scaleb(-12, _EXACT)


def to_text(amount: int) -> str:
    """`amount` units as the shortest exact decimal: `0.0125`, never in scientific notation."""
    text = f"{to_decimal(amount):.12f}".rstrip("0")
    return text.removesuffix(".") if "." in text else text


def from_decimal(amount: Decimal) -> int:
    """Units of `amount`; raises `ValueError` if it has more than twelve decimals."""
    units = amount.scaleb(12, _EXACT)
    if units != units.to_integral_value(context=_EXACT):
        raise ValueError(f"{amount:f} has more than twelve decimals")
    return int(units)


class Rates(msgspec.Struct, frozen=True):
    """Units per token of one model."""

    input: int
    cached_input: int
    output: int
    currency: str

    @classmethod
    def of(cls, price: Price) -> Rates:
        cached = price.input if price.cached_input is None else price.cached_input
        return cls(
            input=int(price.input * _PER_TOKEN),
            cached_input=int(cached * _PER_TOKEN),
            output=int(price.output * _PER_TOKEN),
            currency=price.currency,
        )

    @property
    def has_cheaper_cache(self) -> bool:
        """Whether a cached prompt token costs less than another."""
        return self.cached_input < self.input

    def cost(self, usage: Usage) -> int:
        """What an answer with `usage` costs, in units."""
        return (
            (usage.prompt - usage.cached) * self.input
            + usage.cached * self.cached_input
            + usage.completion * self.output
        )

    def bound(self, prompt_tokens: int, max_tokens: int) -> int:
        """The most an attempt can cost, in units: no token cached, the whole answer used."""
        return prompt_tokens * max(self.input, self.cached_input) + max_tokens * self.output
