"""A budget that is never exceeded: money is reserved before a request is sent, settled after.

What is reserved is the most that an attempt can cost, so the sum of what was spent, what may have
been billed without an answer, and what is in flight stays within the budget at every moment.
"""

from __future__ import annotations

import anyio

from batchkit.accounting import Rates
from batchkit.document import Document
from batchkit.models import Model
from batchkit.records import Request
from batchkit.tokens import OVERHEAD, at_most, texts


class OverBudgetError(Exception):
    """The rest of the budget does not cover another attempt."""


class Purse:
    """One run's budget; amounts are in PICO."""

    def __init__(self, budget: int, spent: int) -> None:
        """`spent` is what earlier starts spent, or may have spent."""
        self.budget = budget
        self.spent = spent
        self.reserved = 0
        self._waiting = 0
        self._changed = anyio.Event()

    async def reserve(self, amount: int) -> None:
        """Set `amount` aside, waiting for attempts in flight to settle if they must.

        Raises `OverBudgetError` when it does not fit and nothing in flight could still make room.
        """
        while self.spent + self.reserved + amount > self.budget:
            if self.reserved == 0:
                raise OverBudgetError
            if self._changed.is_set():
                self._changed = anyio.Event()
            self._waiting += 1
            try:
                await self._changed.wait()
            finally:
                self._waiting -= 1
        self.reserved += amount

    def reserve_nowait(self, amount: int) -> bool:
        """Set `amount` aside if it fits now."""
        fits = self.spent + self.reserved + amount <= self.budget
        self.reserved += amount if fits else 0
        return fits

    @property
    def is_awaited(self) -> bool:
        """Whether an attempt waits for money that others have set aside."""
        return self._waiting > 0

    def settle(self, reserved: int, spent: int) -> None:
        """Give back what `reserve` set aside; `spent` of it is gone."""
        self.reserved -= reserved
        self.spent += spent
        assert self.reserved >= 0
        self._changed.set()


def largest_bound(asked: Request | Document, model: Model, rates: Rates) -> int:
    """The most that one attempt of a row can cost, in PICO, whatever of it is asked."""
    if isinstance(asked, Request):
        return attempt_bound(asked, model, rates)
    chunks = max(attempt_bound(chunk, model, rates) for chunk in asked.chunks)
    if asked.last_tokens is None:
        return chunks
    return max(chunks, rates.bound(model.context, model.max_output or model.context))


def attempt_bound(request: Request, model: Model, rates: Rates) -> int:
    """The most an attempt can cost, in PICO: every byte a token, the whole answer used."""
    prompt = min(model.context, prompt_bound(request))
    asked = request.params.get("max_tokens")
    most = model.max_output or model.context
    return rates.bound(prompt, min(asked, most) if isinstance(asked, int) else most)


def prompt_bound(request: Request) -> int:
    """The most prompt tokens that a request can have: every byte a token."""
    return OVERHEAD + sum(map(at_most, texts(request.messages))) + 8 * len(request.messages)
