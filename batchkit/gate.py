"""The gate of one model: hands out its slots in order of arrival, and waits until one is open.

A slot belongs to one attempt: it is taken right before an HTTP exchange and given back right after,
never held through a backoff. Which slots are open is for `room` to say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random

import anyio

from batchkit.errors import Signal
from batchkit.room import Limit, Occupancy, Room

_SHORTEST_SLEEP_S = 0.001  # what a loop's timers resolve


class DrainingError(Exception):
    """The run or the model is stopping: no new attempt begins."""


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

    def __init__(
        self,
        limit: Limit,
        *,
        clock: Callable[[], float],
        start_s: float = 0.0,
        rng: Random | None = None,
    ) -> None:
        self.limit = limit
        self.pending = True  # whether there are rows left to send; set by the pool
        self.occupancy = Occupancy(clock())
        self._room = Room(limit, start_s=start_s)
        self._clock = clock
        self._rng = rng or Random()  # noqa: S311  # jitter, not secrets
        self._repeated: deque[_Turn] = deque()
        self._new: deque[_Turn] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Slots that are taken."""
        return self._room.in_flight

    @property
    def waiting(self) -> int:
        """Attempts that wait for a slot."""
        return len(self._repeated) + len(self._new)

    @property
    def is_closed(self) -> bool:
        """Whether no further attempt may begin."""
        return self._closed

    async def acquire(self, *, again: bool = False) -> None:
        """Wait for a slot and take it; raises `DrainingError` once the gate is closed."""
        if self._closed:
            raise DrainingError
        if not self.acquire_nowait():
            await self._wait(again=again)

    def acquire_nowait(self) -> bool:
        """Take a slot if one is open and nobody waits for it."""
        now = self._account()
        if self._closed or self._is_awaited() or self._room.opens_at(now) > now:
            return False
        self._room.begin(now)
        return True

    def give_back(self) -> None:
        """Give back a slot in which nothing was sent."""
        now = self._account()
        self._room.give_back()
        self._admit(now)

    def release(self, signal: Signal, *, started_at: float) -> None:
        """Give a slot back, with what its attempt says about the limit."""
        now = self._account()
        self._room.end(signal, started_at=started_at, now=now, jitter=self._rng.random())
        self._admit(now)

    def close(self) -> None:
        """Begin no further attempt: every waiter, now and later, gets `DrainingError`."""
        self._account()
        self._closed = True
        self._silence()
        for waiting in (self._repeated, self._new):
            while waiting:
                waiting.popleft().come.set()

    def change(self, change: Callable[[], None]) -> None:
        """Change the limit by calling `change`; what is in flight stays so."""
        now = self._account()
        self._room.change(change, now)
        self._admit(now)

    def lend(self, until: float) -> None:
        """Hand out slots until then (monotonic seconds), if nothing else is said by then."""
        self._room.lent_until = until
        self._admit(self._clock())

    def settle_pending(self, *, pending: bool) -> None:
        """Say whether rows are still waiting to be sent."""
        if pending is not self.pending:
            self._account()
            self.pending = pending

    def utilization(self) -> float | None:
        """Share of the offered slot-seconds that was used while work was pending."""
        self._account()
        return self.occupancy.used / self.occupancy.offered if self.occupancy.offered else None

    async def _wait(self, *, again: bool) -> None:
        turn = _Turn()
        waiting = self._repeated if again else self._new
        waiting.append(turn)
        self._admit(self._clock())
        try:
            await turn.come.wait()
        except BaseException:
            self._leave(turn, waiting)
            raise
        if self._closed:
            self._leave(turn, waiting)
            raise DrainingError

    def _account(self) -> float:
        """Account for the time until now; returns now."""
        now = self._clock()
        self.occupancy.advance(
            now,
            in_flight=self._room.in_flight,
            slots=self.limit.slots,
            pending=self.pending or self._is_awaited(),
        )
        return now

    def _is_awaited(self) -> bool:
        return bool(self._repeated or self._new)

    def _leave(self, turn: _Turn, waiting: deque[_Turn]) -> None:
        now = self._account()
        if turn.has_slot:
            self._room.give_back()  # the slot must not be lost with its waiter
            self._admit(now)
        elif not self._closed:
            waiting.remove(turn)

    def _admit(self, now: float) -> None:
        """Hand out every slot that is open, and come back when the next one opens by itself."""
        while self._is_awaited():
            opens_at = self._room.opens_at(now)
            if opens_at > now:
                self._wake(opens_at, now)
                return
            turn = (self._repeated or self._new).popleft()
            turn.has_slot = True
            turn.come.set()
            self._room.begin(now)

    def _wake(self, at: float, now: float) -> None:
        if at == float("inf") or (self._alarm is not None and self._alarm_at <= at):
            return
        self._silence()
        self._alarm_at = at
        delay_s = max(at - now, _SHORTEST_SLEEP_S)
        self._alarm = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._admit(self._account())

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
