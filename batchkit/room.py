"""How many requests of one model may be in flight, and which slots can be taken now: arithmetic.

* The first attempts are spread over a moment, so that neither the service nor the connections see
  all slots taken at once. Slots that come while it goes on are spread like the first ones.
* A slot whose attempt was refused stays shut for a moment: refusals come back at once, and would
  otherwise be asked for as fast as they come.
* Slots that are lent (`leases`) are not taken any more once the loan has run out.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from batchkit.errors import Signal

START_S = 1.0  # over which the first attempts are spread
_SLOWEST_START = 100.0  # attempts per second: fewer slots than this are no burst


class Limit(Protocol):
    """Decides how many requests may be in flight; it has no clock and waits for nothing."""

    @property
    def slots(self) -> int: ...

    def on_end(
        self, signal: Signal, *, started_at: float, now: float, in_flight: int
    ) -> float | None:
        """An attempt that began at `started_at` (monotonic seconds) ended with `signal`.

        `in_flight` counts the ended attempt too. Returns for how many seconds from its beginning
        its slot should stay shut, if at all.
        """


class FixedLimit:
    """The number it was given, whatever happens."""

    def __init__(self, slots: int) -> None:
        assert slots >= 1
        self.slots = slots

    def on_end(self, signal: Signal, *, started_at: float, now: float, in_flight: int) -> None:
        pass


class Room:
    """Which slots can be taken now: the limit, less those kept shut, gradually at the start.

    The caller keeps the time and waits; a simulation can do both.
    """

    __slots__ = ("_began", "_pace", "_shut", "_start_s", "in_flight", "lent_until", "limit")

    def __init__(self, limit: Limit, *, start_s: float = 0.0) -> None:
        self.limit = limit
        self.in_flight = 0
        self.lent_until = float("inf")
        self._start_s = start_s
        self._began: float | None = None
        self._pace = max(_SLOWEST_START, limit.slots / start_s) if start_s else None
        self._shut: list[float] = []  # a heap of the times at which slots open again

    def opens_at(self, now: float) -> float:
        """When one more attempt may begin: `now` for at once, infinity for not before one ends.

        Infinity, too, while there are no slots and once the loan has run out.
        """
        while self._shut and self._shut[0] <= now:
            heappop(self._shut)
        slots = self.limit.slots
        if self.in_flight >= slots or now >= self.lent_until:
            return float("inf")
        if self.in_flight >= slots - len(self._shut):
            return self._shut[0]
        if self._pace is None or self._began is None:
            return now
        if self._began + slots / self._pace <= now:
            self._pace = None
            return now
        return max(now, self._began + self.in_flight / self._pace)

    def change(self, change: Callable[[], None], now: float) -> None:
        """Change the limit by calling `change`; the slots that it has more are spread."""
        before = self.limit.slots
        change()
        slots = self.limit.slots
        if slots > before and self._start_s:
            self._pace = max(_SLOWEST_START, slots / self._start_s)
            self._began = now - self.in_flight / self._pace

    def begin(self, now: float) -> None:
        """Take a slot."""
        if self._began is None:
            self._began = now
        self.in_flight += 1

    def end(self, signal: Signal, *, started_at: float, now: float, jitter: float) -> None:
        """Give a slot back; `jitter` in [0, 1) spreads the times at which shut slots open again."""
        shut_s = self.limit.on_end(signal, started_at=started_at, now=now, in_flight=self.in_flight)
        self.give_back()
        if shut_s is not None and (opens_at := started_at + shut_s * (0.5 + jitter)) > now:
            heappush(self._shut, opens_at)

    def give_back(self) -> None:
        """Give back a slot in which nothing was sent."""
        self.in_flight -= 1
        assert self.in_flight >= 0


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
