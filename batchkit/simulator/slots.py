"""Requests in flight against a limit, when one more is refused, and how densely they arrive.

All of it is arithmetic on numbers and times given; times are seconds of any one clock.
"""

from __future__ import annotations

from collections import deque


class Slots:
    """What is in flight of one pool, how full it has been, and how its requests ended."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self.max_in_flight = 0
        self.requests = 0
        self.answered = 0
        self.refused = 0
        self.until_hold: int | None = None  # requests that are answered before all are held
        self._held_s = 0.0
        self._since = 0.0

    def take(self, now: float) -> None:
        """Begin a request."""
        self._held_s = self.held_s(now)
        self._since = now
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def is_held(self) -> bool:
        """Count a request; whether it is to be held without an answer."""
        if self.until_hold is None:
            return False
        if self.until_hold == 0:
            return True
        self.until_hold -= 1
        return False

    def give_back(self, now: float) -> None:
        """End a request."""
        assert self.in_flight > 0
        self._held_s = self.held_s(now)
        self._since = now
        self.in_flight -= 1

    def held_s(self, now: float) -> float:
        """Slot-seconds held until `now`: in flight, integrated over time."""
        return self._held_s + self.in_flight * (now - self._since)


def refusal_probability(in_flight: int, limit: int, softness: float) -> float:
    """How likely one more request is refused when `in_flight` are in processing already.

    With `softness` 0 the limit is exact. Otherwise refusals begin at `limit * (1 - softness)` and
    are certain at `limit * (1 + softness)`, as recorded probes of the service show.
    """
    if softness == 0 or limit == 0:
        return float(in_flight >= limit)
    return min(1.0, max(0.0, (in_flight / limit - 1 + softness) / (2 * softness)))


class Arrivals:
    """The most recent arrivals of a pool: whether they come too densely."""

    def __init__(self, most: int, window_s: float) -> None:
        self._times: deque[float] = deque(maxlen=most)
        self._window_s = window_s

    def is_dense(self, now: float) -> bool:
        """Count an arrival; true when more than `most` fall within the window, refused ones too."""
        dense = len(self._times) == self._times.maxlen and now - self._times[0] < self._window_s
        self._times.append(now)
        return dense
