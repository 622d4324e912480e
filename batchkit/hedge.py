"""Asking stragglers a second time when slots idle at the end (Dean & Barroso, "The Tail at Scale",
CACM 2013): the first answer wins, the other attempt is broken off and accounted for.

* Only while no row waits for a slot and the feeder has no more, so nothing is held up.
* A straggler has run longer than 95 % of the answers of its class took. Its length explains that
  much; a class is what is known of it: the tokens of its prompt and those it may answer with, each
  up to a factor of two. Of a class of which little was seen nothing is asked twice.
* Never over the limit, never beyond the budget, never while the service refuses or is in trouble.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from batchkit.attempts import Attempts, Ended
from batchkit.errors import Signal
from batchkit.life import Life
from batchkit.records import Completion, Failure, Request

STRAGGLES = 0.95  # of the answers of its class came sooner
SEEN_LEAST, _SEEN_MOST = 20, 1000  # answers of a class that tell something; the last ones count
_QUIET_S = 5.0  # without a refusal or a failure of the service's
_LOOK_EVERY_S = 0.1


class Usual:
    """How long answers take, by what is known of a request before it is sent."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], deque[float]] = {}
        self._longest: dict[tuple[int, int], float] = {}  # until another answer is noted

    def note(self, request: Request, seconds: float) -> None:
        """An answer took so long."""
        kind = _class_of(request)
        self._seen.setdefault(kind, deque(maxlen=_SEEN_MOST)).append(seconds)
        self._longest.pop(kind, None)

    def longest(self, request: Request) -> float | None:
        """Seconds after which `request` straggles; None if too little was seen."""
        kind = _class_of(request)
        seen = self._seen.get(kind, ())
        if len(seen) < SEEN_LEAST:
            return None
        if kind not in self._longest:
            self._longest[kind] = sorted(seen)[int(STRAGGLES * len(seen))]
        return self._longest[kind]


class _Race:
    """One or two attempts of a request that are in flight."""

    def __init__(self, life: Life, began: float) -> None:
        self.life = life
        self.began = began
        self.first_scope = anyio.CancelScope()
        self.second_scope = anyio.CancelScope()
        self.second: Ended | None = None
        self.second_ended: anyio.Event | None = None  # None: nothing was asked twice


class Hedging:
    """Makes attempts, and watches over those that are in flight."""

    def __init__(self, attempts: Attempts, *, is_last: Callable[[], bool]) -> None:
        """`is_last` tells that no rows wait and none are to come."""
        self._attempts = attempts
        self._clock = attempts.clock
        self._is_last = is_last
        self._usual = Usual()
        self._races: dict[Life, _Race] = {}  # in the order in which they began
        self._troubled_at = -_QUIET_S

    async def make(self, life: Life, *, again: bool = False) -> Ended:
        """One attempt, or two of which one won; the other's record is handed over already."""
        reserved = await self._attempts.admit(life.request, again=again)
        life.has_answer = False
        race = self._races[life] = _Race(life, self._clock.now())
        first: Ended | None = None
        try:
            with race.first_scope:
                first = await self._attempts.send(life, reserved)
                self._hear(life, first)
        finally:
            del self._races[life]
        return await self._winner(race, first)

    async def watch(self, group: TaskGroup) -> None:
        """Look for stragglers until cancelled; second attempts run in `group`."""
        while True:
            await anyio.sleep(_LOOK_EVERY_S)
            if self._is_last():
                self._look(group)

    def _look(self, group: TaskGroup) -> None:
        now = self._clock.now()
        if now - self._troubled_at < _QUIET_S:
            return
        for race in self._races.values():  # the oldest first
            request = race.life.request
            longest = self._usual.longest(request)
            if race.second_ended is None and longest is not None and now - race.began > longest:
                reserved = self._attempts.admit_nowait(request)
                if reserved is None:
                    return
                race.second_ended = anyio.Event()
                group.start_soon(self._ask_again, race, reserved, name=f"hedge {request.row}")

    async def _ask_again(self, race: _Race, reserved: int) -> None:
        assert race.second_ended is not None
        try:
            with race.second_scope:
                race.second = await self._attempts.send(race.life, reserved)
                self._hear(race.life, race.second)
                if isinstance(race.second.outcome, Completion):
                    race.life.has_answer = True
                    race.first_scope.cancel()
        finally:
            race.second_ended.set()

    async def _winner(self, race: _Race, first: Ended | None) -> Ended:
        if race.second_ended is None:
            assert first is not None
            return first
        if first is not None and isinstance(first.outcome, Completion):
            race.life.has_answer = True
            race.second_scope.cancel()
        with anyio.CancelScope(shield=True):  # what came is kept; the second is cancelled as well
            await race.second_ended.wait()
        second = race.second
        if first is None:
            assert second is not None
            return second
        if second is None:
            return first
        winner, other = first, second
        if isinstance(first.outcome, Failure) and isinstance(second.outcome, Completion):
            winner, other = second, first
        self._attempts.recorder.put(other.attempt)
        return winner

    def _hear(self, life: Life, ended: Ended) -> None:
        if isinstance(ended.outcome, Completion):
            self._usual.note(life.request, ended.attempt.latency_s)
        elif ended.outcome.verdict.signal in {Signal.REFUSED, Signal.STRAINED}:
            self._troubled_at = self._clock.now()


def _class_of(request: Request) -> tuple[int, int]:
    asked = request.params.get("max_tokens")
    return request.prompt_tokens.bit_length(), asked.bit_length() if isinstance(asked, int) else 0
