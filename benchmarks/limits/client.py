"""The client in simulated time: what `batchkit.pool` does with slots, without the requests."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any, Protocol, runtime_checkable

from batchkit.errors import Again, Signal, Verdict
from batchkit.retry import LONGEST_PAUSE_S, backoff
from batchkit.room import Room
from benchmarks.limits.meter import Meter
from benchmarks.limits.service import Service

NET_S = 0.01  # each way


@runtime_checkable
class HearsAnswers(Protocol):
    """A limit that wants to know how long an answer took."""

    def on_answer(self, seconds: float, tokens: int) -> None: ...


class Loop:
    """Calls things at their time, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def call_at(self, at: float, action: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heappush(self._events, (at, self._count, action, arguments))

    def run(self, until: Callable[[], bool]) -> None:
        while self._events and not until():
            self.now, _, action, arguments = heappop(self._events)
            action(*arguments)


class Lane:
    """One model's rows on their way: workers, slots, backoff, free refusals."""

    def __init__(
        self,
        loop: Loop,
        service: Service,
        room: Room,
        *,
        seconds: Sequence[float],
        tokens: Sequence[int],
        workers: int,
        meter: Meter,
        rng: Random,
    ) -> None:
        self.loop = loop
        self.service = service
        self.room = room
        self.meter = meter
        self.answered = 0
        self.ended_at = 0.0
        self._let_in = 0  # attempts in flight that are not going to be refused
        self._seconds = seconds
        self._tokens = tokens
        self._workers = workers
        self._rng = rng
        self._next = 0
        self._again: deque[int] = deque()
        self._backing_off = 0
        self._failures: Counter[tuple[int, Again]] = Counter()
        self._alarm_at = float("inf")
        self._hears = room.limit if isinstance(room.limit, HearsAnswers) else None
        loop.call_at(0.0, self._admit)

    @property
    def is_done(self) -> bool:
        return self.answered == len(self._seconds)

    @property
    def _is_pending(self) -> bool:
        return self._next < len(self._seconds)

    def _has_new(self) -> bool:
        """Whether a worker is free for the next row: a bound on workers bounds who backs off."""
        lent = min(self._backing_off, max(16, self._workers))
        busy = self.room.in_flight + len(self._again) + self._backing_off
        return self._is_pending and busy < self._workers + lent

    def _admit(self) -> None:
        now = self.loop.now
        while self._again or self._has_new():
            opens_at = self.room.opens_at(now)
            if opens_at > now:
                if opens_at < self._alarm_at:
                    self._alarm_at = opens_at
                    self.loop.call_at(opens_at, self._ring, opens_at)
                return
            if self._again:
                row = self._again.popleft()
            else:
                row, self._next = self._next, self._next + 1
            self.room.begin(now)
            self.loop.call_at(now + NET_S, self._arrive, row, now)

    def _ring(self, at: float) -> None:
        if at == self._alarm_at:
            self._alarm_at = float("inf")
        self._admit()

    def _arrive(self, row: int, started_at: float) -> None:
        now = self.loop.now
        verdict = self.service.admit(now)
        if verdict is None:
            self._look()
            self._let_in += 1
            self.meter.credit(NET_S, pending=self._is_pending)  # it was on its way here
            self.loop.call_at(now + self._seconds[row], self._leave, row, started_at)
        else:
            self.loop.call_at(now + NET_S, self._end, row, started_at, verdict)

    def _leave(self, row: int, started_at: float) -> None:
        verdict = self.service.finish()
        self.loop.call_at(self.loop.now + NET_S, self._return, row, started_at, verdict)

    def _return(self, row: int, started_at: float, verdict: Verdict | None) -> None:
        self._look()
        self._let_in -= 1
        self._end(row, started_at, verdict)

    def _end(self, row: int, started_at: float, verdict: Verdict | None) -> None:
        now = self.loop.now
        self._look()
        if verdict is None:
            self.answered += 1
            self.ended_at = now
            self.meter.answered(now)
            if self._hears is not None:
                self._hears.on_answer(now - started_at, self._tokens[row])
        else:
            self.meter.failed(now, verdict.signal)
            self._back_off(row, verdict)
        signal = Signal.GOOD if verdict is None else verdict.signal
        self.room.end(signal, started_at=started_at, now=now, jitter=self._rng.random())
        self._admit()

    def _back_off(self, row: int, verdict: Verdict) -> None:
        self._failures[row, verdict.again] += 1
        pause_s = backoff(
            verdict,
            failures=self._failures[row, verdict.again],
            jitter=self._rng.random(),
            retry_after_s=None,
            longest_s=LONGEST_PAUSE_S,
        )
        self._backing_off += 1
        self.loop.call_at(self.loop.now + pause_s, self._queue_again, row)

    def _queue_again(self, row: int) -> None:
        self._backing_off -= 1
        self._again.append(row)
        self._admit()

    def _look(self) -> None:
        self.meter.advance(self.loop.now, let_in=self._let_in, pending=self._is_pending)
