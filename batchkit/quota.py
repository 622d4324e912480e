"""Requests and tokens per minute, for providers that count them beside what is in flight.

Turns are handed out strictly in order of arrival: a limiter alone lets small requests overtake a
long prompt for ever (aiolimiter's documentation, "ordering").
"""

from __future__ import annotations

import anyio
from aiolimiter import AsyncLimiter

_BURST_S = 6.0  # a fresh limiter allows this much of a minute at once, not the whole of it


class Quota:
    """One model's allowance; made inside the event loop that uses it."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._requests = _limiter(requests_per_minute)
        self._tokens = _limiter(tokens_per_minute)
        self._turn = anyio.Lock()

    async def acquire(self, tokens: int) -> None:
        """Wait until another request, of `tokens` tokens, is allowed."""
        async with self._turn:
            if self._requests is not None:
                await self._requests.acquire()
            while self._tokens is not None and tokens > 0:
                share = min(float(tokens), self._tokens.max_rate)  # more at once is refused
                await self._tokens.acquire(share)
                tokens -= int(share)


def _limiter(per_minute: int | None) -> AsyncLimiter | None:
    if per_minute is None:
        return None
    burst = max(1.0, per_minute * _BURST_S / 60)
    return AsyncLimiter(burst, burst * 60 / per_minute)
