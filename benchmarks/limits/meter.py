"""What a candidate is judged by, per round trip and in all."""

from __future__ import annotations

import math

import msgspec

from batchkit.errors import Signal
from benchmarks.limits.service import Account

_FOUND = 0.9  # of the room used in one round trip …
_FEW = 0.02  # … with no more refusals than this share of it
_FULL = 0.95  # of the room used in one round trip
_STEADY_AFTER = 20  # round trips
_LEFT = 30  # round trips that must follow a growth of the room for it to be judged


class RoundTrip(msgspec.Struct):
    """What happened within one mean latency."""

    used_s: float = 0.0  # slot-seconds, not counting what is above the room
    offered_s: float = 0.0
    answered: int = 0
    refused: int = 0  # 1302, 1303
    busy: int = 0  # 1305 and 5xx


class Report(msgspec.Struct, frozen=True):
    """One job of one candidate in one scenario."""

    utilization: float  # of the room by attempts that were let in, while rows are waiting
    refused: int
    refused_share: float  # per answered
    steady_share: float  # the same, after the first round trips
    busy: int
    stretch: float  # makespan over the bound
    found: float  # round trips until it is nearly full with few refusals; infinite if never
    recovered: float  # round trips after the room grew, the longest; nan if it never did
    learned: int


class Meter:
    """Integrates a lane's slots over time."""

    def __init__(self, account: Account, round_trip_s: float) -> None:
        self._account = account
        self._round_trip_s = round_trip_s
        self._since = 0.0
        self.rounds = [RoundTrip()]

    def advance(self, now: float, *, let_in: int, pending: bool) -> None:
        """Account for the time since the last call, during which the given numbers held."""
        while self._since < now:
            room = self._account.room(self._since)
            edge = len(self.rounds) * self._round_trip_s
            until = min(now, edge)
            if pending:
                self.rounds[-1].used_s += (until - self._since) * min(let_in, room)
                self.rounds[-1].offered_s += (until - self._since) * room
            self._since = until
            if until == edge:
                self.rounds.append(RoundTrip())

    def credit(self, seconds: float, *, pending: bool) -> None:
        """Account for slot-seconds that turned out to be used."""
        if pending:
            self.rounds[-1].used_s += seconds

    def answered(self, now: float) -> None:
        assert now == self._since
        self.rounds[-1].answered += 1

    def failed(self, now: float, signal: Signal) -> None:
        assert now == self._since
        if signal is Signal.REFUSED:
            self.rounds[-1].refused += 1
        else:
            self.rounds[-1].busy += 1

    def report(self, makespan_s: float, bound_s: float, learned: int) -> Report:
        """What the job came to."""
        rounds, later = self.rounds, self.rounds[_STEADY_AFTER:]
        answered = sum(r.answered for r in rounds)
        refused = sum(r.refused for r in rounds)
        used_s, offered_s = sum(r.used_s for r in rounds), sum(r.offered_s for r in rounds)
        dense = self._account.arrivals is not None  # then slots are not what binds
        return Report(
            utilization=used_s / offered_s if offered_s and not dense else math.nan,
            refused=refused,
            refused_share=refused / answered,
            steady_share=sum(r.refused for r in later) / max(1, sum(r.answered for r in later)),
            busy=sum(r.busy for r in rounds),
            stretch=makespan_s / bound_s,
            found=self._first(0, _FOUND, _FEW),
            recovered=max(
                (self._first(at, _FULL, 1.0) for at in self._growths()), default=math.nan
            ),
            learned=learned,
        )

    def _growths(self) -> list[int]:
        """The round trips in which the room grew."""
        phases = self._account.limit
        ends = (len(self.rounds) - _LEFT) * self._round_trip_s
        return [
            int(at / self._round_trip_s) + 1
            for at, old, new in zip(phases.changes, phases.values, phases.values[1:], strict=False)
            if new > old and at < ends
        ]

    def _first(self, since: int, full: float, few: float) -> float:
        """Round trips from `since` to the end of the first that is full with few refusals."""
        for index, trip in enumerate(self.rounds[since:]):
            room = trip.offered_s / self._round_trip_s
            if trip.used_s >= full * trip.offered_s > 0 and trip.refused <= max(1, few * room):
                return index + 1.0
        return math.inf
