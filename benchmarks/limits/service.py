"""The account at the other end: what it lets in, what it refuses, how long an answer takes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from random import Random

import msgspec

from batchkit.errors import Verdict
from batchkit.simulator.slots import Arrivals, refusal_probability
from batchkit.verdicts import BY_CODE

OVER, DENSE, BUSY, BROKEN = BY_CODE["1302"], BY_CODE["1303"], BY_CODE["1305"], BY_CODE["500"]


class Latency(msgspec.Struct, frozen=True):
    """Seconds in processing: lognormal around `median`, or Pareto from it on; some per token."""

    median: float = 0.8
    sigma: float = 0.5
    pareto: float | None = None  # the tail's exponent
    per_token_s: float = 0.0

    def draw(self, rng: Random) -> tuple[float, int]:
        """Seconds, and tokens of the answer."""
        tokens = max(1, round(200 * math.exp(rng.normalvariate(0.0, 0.8))))
        if self.pareto is not None:
            seconds = min(300.0, self.median * rng.paretovariate(self.pareto))
        else:
            seconds = self.median * math.exp(rng.normalvariate(0.0, self.sigma))
        return seconds + self.per_token_s * tokens, tokens


class Phases(msgspec.Struct, frozen=True):
    """A number that changes at given times."""

    values: tuple[int, ...]
    changes: tuple[float, ...] = ()  # seconds; one fewer than values

    def at(self, now: float) -> int:
        return self.values[bisect_right(self.changes, now)]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What one model of an account does."""

    limit: Phases
    softness: float = 0.0  # refusals begin at (1 - softness) limits, are certain at (1 + softness)
    arrivals: int | None = None  # more than these within a second are refused
    overloads: tuple[tuple[float, float, float], ...] = ()  # from, until, probability of 1305
    chance: float = 0.0  # probability of 1302, whatever is in flight
    broken: float = 0.0  # probability that an answer is a 500 after its time
    latency: Latency = Latency()

    def room(self, now: float) -> float:
        """How many requests can be in flight without a refusal."""
        return self.limit.at(now) * (1 - self.softness)


class Service:
    """One model's side of the account."""

    def __init__(self, account: Account, rng: Random) -> None:
        self.account = account
        self.in_flight = 0
        self._rng = rng
        self._arrivals = None if account.arrivals is None else Arrivals(account.arrivals, 1.0)

    def admit(self, now: float) -> Verdict | None:
        """Take the request in, or say with what it is refused."""
        account = self.account
        for since, until, likely in account.overloads:
            if since <= now < until and self._rng.random() < likely:
                return BUSY
        if self._rng.random() < account.chance:
            return OVER
        if self._arrivals is not None and self._arrivals.is_dense(now):
            return DENSE
        likely = refusal_probability(self.in_flight, account.limit.at(now), account.softness)
        if likely == 1 or (likely and self._rng.random() < likely):
            return OVER
        self.in_flight += 1
        return None

    def finish(self) -> Verdict | None:
        """Let the request go, answered or with what broke it."""
        self.in_flight -= 1
        return BROKEN if self._rng.random() < self.account.broken else None


def makespan_bound(seconds: Sequence[float], account: Account) -> float:
    """List scheduling: each request, in order, begins as soon as the account has room for it.

    A bound on what a client can do that knows the limit at each moment; overloads are left out.
    """
    now = ends_at = 0.0
    busy: list[float] = []  # a heap of the times at which requests end
    begun: list[float] = []
    changes = (*account.limit.changes, math.inf)
    for duration in seconds:
        if account.arrivals is not None and len(begun) >= account.arrivals:
            now = max(now, begun[-account.arrivals] + 1.0)
        while True:
            while busy and busy[0] <= now:
                heappop(busy)
            if len(busy) < account.room(now):
                break
            now = min(busy[0] if busy else math.inf, changes[bisect_right(changes, now)])
        begun.append(now)
        heappush(busy, now + duration)
        ends_at = max(ends_at, now + duration)
    return ends_at
