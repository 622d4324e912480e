"""A limit that finds how many requests in flight an account is really allowed.

Arithmetic alone: it has no clock and no randomness, and waits for nothing. It was chosen by
simulation, see `benchmarks/README.md`. Its rules:

1. A refusal says how many were let in: those in flight when the first of a burst came back, less
   every other of that burst. That number is the *wall*; the limit falls to nine tenths of it.
2. One cut per round trip: what was sent before the last cut does not cut again, it only lowers the
   wall it was part of.
3. Only answers that came while the limit was what held us back let it grow: half of the way back to
   the wall per round trip, then none for a while, then past the wall by 1, 2, 4, … slots per round
   trip. A round trip is as many answers as there are slots.
4. Each time the wall is met again where it was, the while is doubled, up to `_LONGEST_REST`.
5. Trouble of the platform takes a tenth of a slot each time and leaves the wall where it is.
6. A slot whose attempt failed for load stays shut for a moment; for longer, the longer nobody has
   been answered.
"""

from __future__ import annotations

import math

from batchkit.errors import Signal

_KEPT = 0.9  # of the wall, after a cut
_STRAIN = 0.05  # slots per failure of the platform's: a round trip of nothing else takes a tenth
_BINDING = 0.8  # share of the limit from which on it counts as what holds us back
_TOLERATED = 0.04
_SHARE_OVER = 64.0
_AT_WALL = 0.95
_SHORTEST_REST, _LONGEST_REST = 2.0, 10.0  # round trips at the wall before going past it
_REST_ANSWERS = 100.0  # a look past the wall may cost a refusal: at most one in so many answers …
_LONGEST_REST_OF_FEW = 24.0  # … unless that means more round trips than this
_PAUSE_S = {Signal.REFUSED: 0.5, Signal.STRAINED: 0.25}
_LONGEST_PAUSE_S = 2.0


class AdaptiveLimit:
    """Between 1 and `ceiling` slots; begins at `start`, such as what an earlier run has learned."""

    def __init__(self, ceiling: int, *, start: int | None = None) -> None:
        assert ceiling >= 1
        assert start is None or start >= 1
        self.ceiling = ceiling
        self._limit = float(min(ceiling, start or ceiling))
        self._known = self._limit  # let in, as far as is known: the wall, or what went past it
        self._wall = 0.0  # where a refusal last put it; 0: nobody was refused yet
        self._rest = _SHORTEST_REST  # round trips
        self._resting = _SHORTEST_REST * self._known  # answers still to come before going past it
        self._step = 1.0  # slots per round trip, past the wall
        self._cut_at = -math.inf
        self._refused_share = 0.0
        self._last_good: float | None = None

    @property
    def slots(self) -> int:
        """How many requests may be in flight."""
        return int(self._limit)

    @property
    def learned(self) -> int:
        """What the account lets in as far as is known: where the next run should start."""
        return int(self._known)

    def on_end(
        self, signal: Signal, *, started_at: float, now: float, in_flight: int
    ) -> float | None:
        """An attempt ended; returns for how long after its beginning its slot should stay shut.

        `in_flight` counts the ended attempt too.
        """
        if self._last_good is None:
            self._last_good = started_at  # silence is counted from the first attempt
        if signal is Signal.NEUTRAL:
            return None
        if signal is Signal.GOOD:
            self._last_good = now
            self._refused_share -= self._refused_share / _SHARE_OVER
            if in_flight >= _BINDING * self.slots:
                self._grow()
            return None
        if signal is Signal.STRAINED:
            self._limit = max(1.0, self._limit - _STRAIN)
        else:
            self._refused_share += (1 - self._refused_share) / _SHARE_OVER
            self._hear_refusal(started_at, now, let_in=in_flight - 1)
        return min(_LONGEST_PAUSE_S, max(_PAUSE_S[signal], (now - self._last_good) / 2))

    def _hear_refusal(self, started_at: float, now: float, *, let_in: int) -> None:
        if started_at <= self._cut_at:
            self._wall -= 1  # it was counted among those let in
        elif 0 < self._wall < self.slots:
            self._wall = max(self._wall, let_in)
            self._rest = min(_LONGEST_REST, 2 * self._rest)
            self._resting = self._rest_answers()
        elif self._refused_share > _TOLERATED:
            self._wall = let_in
            self._rest = _SHORTEST_REST
            self._resting = self._rest_answers()
        elif self._limit < _AT_WALL * self._wall or self._wall == 0:
            return
        self._cut(now)

    def _cut(self, now: float) -> None:
        self._cut_at = now
        self._wall = max(1.0, self._wall)
        self._known = min(self._known, self._wall)
        self._limit = max(1.0, min(self._limit, _KEPT * self._wall))
        self._step = 1.0

    def _rest_answers(self) -> float:
        answers = self._rest * self._wall
        if self._rest == _LONGEST_REST:
            return min(_LONGEST_REST_OF_FEW * self._wall, max(answers, _REST_ANSWERS))
        return answers

    def _grow(self) -> None:
        """Take one answer's share of what a round trip adds."""
        if self._limit < self._known:
            step = min(self._limit, max(1.0, (self._known - self._limit) / 2))
            self._limit = min(self._known, self._limit + step / self._limit)
        elif self._resting > 0:
            self._resting -= 1
        elif self._limit < self.ceiling:
            self._limit = min(float(self.ceiling), self._limit + self._step / self._limit)
            self._step = min(max(1.0, self._limit / 2), self._step * 2 ** (1 / self._limit))
            self._known = self._limit
