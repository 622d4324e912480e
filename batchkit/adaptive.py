"""A limit that finds how many requests in flight an account is really allowed.

Arithmetic alone: it has no clock and no randomness, and waits for nothing. It was chosen by
simulation, see `benchmarks/README.md`. The *wall* is how many are let in, as refusals tell; a round
trip is as many answers as there are slots. The rules:

1. A refusal says how many were let in: all in flight but itself. The limit falls to nine tenths of
   that, once per round trip: what was sent before the last cut does not cut again, but was not let
   in either, so it takes one off the wall.
2. A refusal counts where one is expected, at the wall or past it, or where refusals are many. A few
   elsewhere are chance, and cutting would not end them. Until one counts, the wall is what we were
   told.
3. Only answers that come while the limit is what holds us back let it grow: by half of what lacks
   to the wall per round trip, then not at all for a while, then past it by 1, 2, 4, … slots per
   round trip. The while is doubled each time this ends in a refusal.
4. Trouble of the platform takes a fraction of a slot each time and leaves the wall where it is.
5. A slot whose attempt failed for load stays shut for a moment; for longer, the longer nobody has
   been answered.
6. The ceiling, and what is believed of the wall, can be set from outside while it goes on: less
   holds at once, more is believed at once too, since whoever says so knows more than was heard
   here (`shares`). What rule 4 took stays taken, in proportion.
"""

from __future__ import annotations

import math

from batchkit.errors import Signal

_KEPT = 0.9  # of what was let in, after a cut
_AT_WALL = 0.95  # share of the wall from which on a refusal is expected
_MANY = 0.2  # share of refusals, above which they are no chance; …
_MANY_OF = 32.0  # … an average over about so many
_DOUBT = 0.03  # a refusal a little below the wall moves it by this share of the distance
_BINDING = 0.8  # share of the limit from which on it is what holds us back
_STRAIN = 0.05  # slots per failure of the platform's: a round trip of nothing else takes 5 %
_SHORTEST_REST, _LONGEST_REST = 2.0, 10.0  # round trips at the wall before going past it
_REST_ANSWERS = 100.0  # a look past the wall costs a refusal: in the long run at most 1 % …
_REST_OF_FEW = 20.0  # … but at least one look in so many round trips
_PAUSE_S = {Signal.REFUSED: 0.5, Signal.STRAINED: 0.25}
_LONGEST_PAUSE_S = 2.0


class AdaptiveLimit:
    """Between 1 and `ceiling` slots; begins at `start`, which an earlier run has `learned`.

    A ceiling of 0, which only `resize` can set, is no slot at all.
    """

    def __init__(self, ceiling: int, *, start: int | None = None) -> None:
        assert ceiling >= 1
        assert start is None or start >= 1
        self.ceiling = ceiling
        self._limit = float(min(ceiling, start or ceiling))
        self._known = self._limit  # the wall, or what went past it since
        self._wall = self._limit
        self._rest = _SHORTEST_REST  # round trips
        self._resting = self._rest_answers()  # answers to come before going past the wall
        self._step = 1.0  # slots per round trip, past the wall
        self._refused_share = 0.0
        self._cut_at = -math.inf
        self._last_good: float | None = None
        self._answers = 0  # with all slots in use, since it was last cut or set

    @property
    def slots(self) -> int:
        """How many requests may be in flight."""
        return min(int(self._limit), self.ceiling)

    @property
    def learned(self) -> int:
        """How many the account lets in, as far as is known: where the next run should start."""
        return int(self._known)

    @property
    def is_walled(self) -> bool:
        """Whether the account is known to let in less than the ceiling."""
        return self.learned < self.ceiling

    @property
    def is_proven(self) -> bool:
        """Whether a round trip of answers has come with the slots there are, or nearly as many."""
        return self._answers >= self._limit

    def resize(self, ceiling: int, known: int) -> None:
        """Set the ceiling, and how many of its slots the account is believed to let in.

        A ceiling of 0 shuts all slots and leaves the belief as it was.
        """
        assert ceiling >= 0
        assert known >= 1
        self.ceiling = ceiling
        known = min(known, ceiling)
        if known in {0, self.learned}:
            return
        self._limit = max(1.0, self._limit * known / self._known)
        self._move_wall(known)
        self._step = 1.0
        self._answers = 0

    def on_end(
        self, signal: Signal, *, started_at: float, now: float, in_flight: int
    ) -> float | None:
        """An attempt ended; returns for how long from its beginning its slot should stay shut.

        Times are seconds of one clock; `in_flight` counts the ended attempt too.
        """
        if self._last_good is None:
            self._last_good = started_at  # silence is counted from the first attempt
        if signal is Signal.NEUTRAL:
            return None
        if signal is Signal.GOOD:
            self._last_good = now
            self._refused_share -= self._refused_share / _MANY_OF
            if in_flight >= _BINDING * self.slots:
                self._answers += 1
                self._grow()
            return None
        if signal is Signal.REFUSED:
            self._refused_share += (1 - self._refused_share) / _MANY_OF
            self._hear_refusal(started_at, now, in_flight)
        else:
            self._limit = max(1.0, self._limit - _STRAIN)
        return min(_LONGEST_PAUSE_S, max(_PAUSE_S[signal], (now - self._last_good) / 2))

    def _hear_refusal(self, started_at: float, now: float, in_flight: int) -> None:
        let_in = in_flight - 1
        if started_at <= self._cut_at:
            self._move_wall(self._wall - 1)
            self._cut_to(self._wall)
        elif self.slots > self._wall:
            self._cut_at = now
            self._rest = min(_LONGEST_REST, 2 * self._rest)
            self._move_wall(max(let_in, _AT_WALL * self._wall))
            self._cut_to(let_in)
        elif self._refused_share > _MANY:
            self._cut_at = now
            self._rest = _SHORTEST_REST
            self._move_wall(let_in)
            self._cut_to(let_in)
        elif self._limit >= _AT_WALL * self._wall and in_flight >= _BINDING * self.slots:
            self._cut_at = now
            self._known = self._wall = max(1.0, self._wall - _DOUBT * (self._wall - let_in))
            self._cut_to(let_in)

    def _move_wall(self, let_in: float) -> None:
        self._known = self._wall = max(1.0, let_in)
        self._resting = self._rest_answers()

    def _cut_to(self, let_in: float) -> None:
        self._limit = max(1.0, min(self._limit, _KEPT * let_in))
        self._step = 1.0
        self._answers = 0

    def _rest_answers(self) -> float:
        answers = self._rest * self._known
        if self._rest == _LONGEST_REST:
            return min(max(answers, _REST_ANSWERS), _REST_OF_FEW * self._known)
        return answers

    def _grow(self) -> None:
        """Take one answer's share of what a round trip adds."""
        if self._limit < self._known:
            step = min(self._limit, max(1.0, math.log(2) * (self._known - self._limit)))
            self._limit = min(self._known, self._limit + step / self._limit)
        elif self._resting > 0:
            self._resting -= 1
        elif self._limit < self.ceiling:
            self._limit = min(float(self.ceiling), self._limit + self._step / self._limit)
            self._step = min(max(1.0, self._limit / 2), self._step * 2 ** (1 / self._limit))
            self._known = self._limit
