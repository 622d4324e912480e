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


class _Turn:
    """A place in the queue for slots."""

    __slots__ = ("come", "has_slot")

    def __init__(self) -> None:
        self.come = anyio.Event()
        self.has_slot = False


class Gate:
    """Hands out one model's slots in order of arrival; repeated attempts go before new rows.

    A slot that comes free belongs to the first waiter from that moment on, before it runs: whoever
    asks in between, such as the worker that gave the slot back, cannot take it.
    """

    def __init__(self, limit: Limit, *, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.in_flight = 0
        self.pending = True  # whether there are rows left to send; set by the pool
        self.occupancy = Occupancy(clock())
        self._clock = clock
        self._repeated: deque[_Turn] = deque()
        self._new: deque[_Turn] = deque()
        self._closed = False

    async def acquire(self, *, again: bool = False) -> None:
        """Wait for a slot and take it; raises `DrainingError` once the gate is closed."""
        if self._closed:
            raise DrainingError
        self._account()
        if self.in_flight < self.limit.slots and not self._is_awaited():
            self.in_flight += 1
            return
        turn = _Turn()
        waiting = self._repeated if again else self._new
        waiting.append(turn)
        try:
            await turn.come.wait()
        except BaseException:
            self._leave(turn, waiting)
            raise
        if self._closed:
            self._leave(turn, waiting)
            raise DrainingError

    def release(self, signal: Signal, *, started_at: float) -> None:
        """Give a slot back, with what its attempt says about the limit."""
        self._account()
        now = self._clock()
        self.limit.on_end(signal, started_at=started_at, now=now, in_flight=self.in_flight)
        self._free()

    def close(self) -> None:
        """Begin no further attempt: every waiter, now and later, gets `DrainingError`."""
        self._account()
        self._closed = True
        for waiting in (self._repeated, self._new):
            while waiting:
                waiting.popleft().come.set()

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
            pending=self.pending or self._is_awaited(),
        )

    def _is_awaited(self) -> bool:
        return bool(self._repeated or self._new)

    def _leave(self, turn: _Turn, waiting: deque[_Turn]) -> None:
        self._account()
        if turn.has_slot:
            self._free()  # the slot must not be lost with its waiter
        elif not self._closed:
            waiting.remove(turn)

    def _free(self) -> None:
        self.in_flight -= 1
        assert self.in_flight >= 0
        while self.in_flight < self.limit.slots and self._is_awaited():
            turn = (self._repeated or self._new).popleft()
            turn.has_slot = True
            turn.come.set()
            self.in_flight += 1
