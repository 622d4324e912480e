"""How many requests of one model may be in flight: the limit as arithmetic, the gate that waits.

A slot belongs to one attempt: it is taken right before an HTTP exchange and given back right after,
never held through a backoff.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import anyio

from batchkit.errors import Signal


class DrainingError(Exception):
    """The run or the model is stopping: no new attempt begins."""


class Limit(Protocol):
    """Decides how many requests may be in flight; it has no clock and waits for nothing."""

    @property
    def slots(self) -> int: ...

    def on_end(self, signal: Signal, *, started_at: float, now: float, in_flight: int) -> None:
        """An attempt that began at `started_at` (monotonic seconds) ended with `signal`."""


class FixedLimit:
    """The number it was given, whatever happens."""

    def __init__(self, slots: int) -> None:
        assert slots >= 1
        self.slots = slots

    def on_end(self, signal: Signal, *, started_at: float, now: float, in_flight: int) -> None:
        pass


class Occupancy:
    """Slot-seconds used and offered while work was pending: slot utilization is their ratio."""

    __slots__ = ("_since", "offered", "used")

    def __init__(self, now: float) -> None:
        self._since = now
        self.used = 0.0
        self.offered = 0.0

    def advance(self, now: float, *, in_flight: int, slots: int, pending: bool) -> None:
        """Account for the time since the last call, during which the given numbers held."""
        if pending:
            self.used += (now - self._since) * min(in_flight, slots)
            self.offered += (now - self._since) * slots
        self._since = now


class Gate:
    """Hands out one model's slots, in order of arrival; a repeated attempt goes before new rows."""

    def __init__(self, limit: Limit, *, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.in_flight = 0
        self.pending = True  # whether there are rows left to send; set by the pool
        self.occupancy = Occupancy(clock())
        self._clock = clock
        self._waiting: deque[anyio.Event] = deque()
        self._closed = False

    async def acquire(self, *, again: bool = False) -> None:
        """Wait for a slot and take it; raises `DrainingError` once the gate is closed."""
        while self._closed or self.in_flight >= self.limit.slots:
            if self._closed:
                raise DrainingError
            turn = anyio.Event()
            (self._waiting.appendleft if again else self._waiting.append)(turn)
            try:
                await turn.wait()
            except BaseException:
                if turn.is_set():  # the wake-up must not be lost with us
                    self._wake()
                else:
                    self._waiting.remove(turn)
                raise
            again = True  # whoever was woken and came too late does not go to the end
        self._account()
        self.in_flight += 1

    def release(self, signal: Signal, *, started_at: float) -> None:
        """Give a slot back, with what its attempt says about the limit."""
        self._account()
        now = self._clock()
        self.limit.on_end(signal, started_at=started_at, now=now, in_flight=self.in_flight)
        self.in_flight -= 1
        assert self.in_flight >= 0
        self._wake()

    def close(self) -> None:
        """Begin no further attempt: every waiter, now and later, gets `DrainingError`."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft().set()

    def settle_pending(self, *, pending: bool) -> None:
        """Say whether rows are still waiting to be sent."""
        if pending is not self.pending:
            self._account()
            self.pending = pending

    def utilization(self) -> float | None:
        """Share of the offered slot-seconds that was used while work was pending."""
        self._account()
        return self.occupancy.used / self.occupancy.offered if self.occupancy.offered else None

    def _account(self) -> None:
        self.occupancy.advance(
            self._clock(),
            in_flight=self.in_flight,
            slots=self.limit.slots,
            pending=self.pending or bool(self._waiting),
        )

    def _wake(self) -> None:
        free = self.limit.slots - self.in_flight
        while free > 0 and self._waiting:
            self._waiting.popleft().set()
            free -= 1
