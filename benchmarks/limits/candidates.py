"""The limits that are compared; each gets the ceiling that the client was told.

The peers' are their arithmetic alone, as far as it was read from their source: around it they all
get batchkit's client, which gives a slot back before it backs off and counts no refusal against a
row.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from batchkit.adaptive import AdaptiveLimit
from batchkit.errors import Signal
from batchkit.room import START_S, FixedLimit, Limit, Room

_AT_ONCE_S = 0.1  # a 429 comes at once, a 5xx takes its time


def _is_429(signal: Signal, seconds: float) -> bool:
    """Whether the peers' limits, which branch on the status, hear of it."""
    return signal is Signal.REFUSED or (signal is Signal.STRAINED and seconds < _AT_ONCE_S)


class InspectLimit:
    """AIMD as inspect_ai does it: doubling until the first refusal, then x 0.8 and + 5 %.

    A cut at most every 15 s, growth only if the peak in flight reached 80 %, never below 10.
    """

    _LEAST = 10

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.slots = min(ceiling, self._LEAST)
        self._is_starting = True
        self._cut_at = -math.inf
        self._answers = 0
        self._peak = 0

    def on_end(self, signal: Signal, *, started_at: float, now: float, in_flight: int) -> None:
        self._peak = max(self._peak, in_flight)
        if _is_429(signal, now - started_at):
            self._is_starting = False
            if now - self._cut_at >= 15.0:
                self._cut_at = now
                self.slots = max(min(self.ceiling, self._LEAST), int(0.8 * self.slots))
                self._answers = self._peak = 0
        elif signal is Signal.GOOD:
            self._answers += 1
            if self._answers >= self.slots:
                if self._peak >= 0.8 * self.slots:
                    grown = 2 * self.slots if self._is_starting else math.ceil(1.05 * self.slots)
                    self.slots = min(self.ceiling, grown)
                self._answers = self._peak = 0


class DataDesignerLimit:
    """AIMD as DataDesigner does it: from the ceiling, x 0.75, + 1 per 25 answers."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.slots = ceiling
        self.shut_until = -math.inf
        self._answers = 0

    def on_end(self, signal: Signal, *, started_at: float, now: float, in_flight: int) -> None:
        if _is_429(signal, now - started_at):
            if now >= self.shut_until:
                self.slots = max(1, int(0.75 * self.slots))
            self.shut_until = now + 2.0
            self._answers = 0
        elif signal is Signal.GOOD:
            self._answers += 1
            if self._answers >= 25:
                self._answers = 0
                self.slots = min(self.ceiling, self.slots + 1)


class CooldownRoom(Room):
    """DataDesigner's: a refusal stops the whole model for two seconds."""

    def __init__(self, limit: DataDesignerLimit) -> None:
        super().__init__(limit)
        self._cooling = limit

    def opens_at(self, now: float) -> float:
        return max(super().opens_at(now), self._cooling.shut_until)


class GradientLimit:
    """Gradient2 on seconds per token of the answer; refusals cut by a tenth per round trip."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self._limit = float(min(ceiling, 20))
        self._cut_at = -math.inf
        self._short = self._long = 0.0  # averages over about 1 and 20 round trips
        self._answers = 0

    @property
    def slots(self) -> int:
        return int(self._limit)

    def on_answer(self, seconds: float, tokens: int) -> None:
        pace = seconds / tokens
        self._short += (pace - self._short) * min(1.0, 1 / self._limit if self._short else 1.0)
        self._long += (pace - self._long) * min(1.0, 0.05 / self._limit if self._long else 1.0)

    def on_end(self, signal: Signal, *, started_at: float, now: float, in_flight: int) -> None:
        if signal is Signal.REFUSED and started_at > self._cut_at:
            self._cut_at = now
            self._limit = max(1.0, 0.9 * self._limit)
        elif signal is Signal.GOOD:
            self._answers += 1
            if self._answers >= self._limit and in_flight >= 0.8 * self._limit:
                self._answers = 0
                gradient = min(1.0, max(0.5, 1.5 * self._long / self._short))
                grown = self._limit * gradient + math.sqrt(self._limit)
                self._limit = min(float(self.ceiling), max(1.0, grown))


class PlainAimd:
    """The textbook: from the ceiling, x 0.75 once per round trip, + 1 per round trip."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self._limit = float(ceiling)
        self._cut_at = -math.inf

    @property
    def slots(self) -> int:
        return int(self._limit)

    def on_end(
        self, signal: Signal, *, started_at: float, now: float, in_flight: int
    ) -> float | None:
        if signal is Signal.REFUSED:
            if started_at > self._cut_at:
                self._cut_at = now
                self._limit = max(1.0, 0.75 * self._limit)
            return 0.5
        if signal is Signal.GOOD and in_flight >= 0.8 * self._limit:
            self._limit = min(float(self.ceiling), self._limit + 1 / self._limit)
        return None


def _gradually(limit: Limit) -> Room:
    return Room(limit, start_s=START_S)


CANDIDATES: dict[str, Callable[[int], Room]] = {
    "fixed": lambda ceiling: _gradually(FixedLimit(ceiling)),
    "inspect": lambda ceiling: Room(InspectLimit(ceiling)),
    "datadesigner": lambda ceiling: CooldownRoom(DataDesignerLimit(ceiling)),
    "gradient": lambda ceiling: Room(GradientLimit(ceiling)),
    "plain aimd": lambda ceiling: _gradually(PlainAimd(ceiling)),
    "batchkit": lambda ceiling: _gradually(AdaptiveLimit(ceiling)),
}
