"""What a running process is doing, as values: for the terminal, for `status` and for metrics."""

from __future__ import annotations

import msgspec

from batchkit.tally import ModelTally, Tally


class ModelLive(msgspec.Struct, frozen=True):
    """What one lane is doing right now."""

    name: str
    in_flight: int
    limit: int
    backing_off: int
    runs: int = 1  # that share the account, this one included
    rows: int = 0  # of the model in all; 0 for a lane that shares them with another
    rows_per_s: float = 0.0


class Live(msgspec.Struct, frozen=True):
    """What a running process is doing; kept in the journal for `status`."""

    pid: int
    updated_at: float  # seconds since the epoch
    models: list[ModelLive]
    rows_per_s: float
    tokens_per_s: float
    bound_by: str | None = None  # what holds it back, see `binding`
    paused: bool = False
    cpu: float = 0.0  # share of a core
    worker_cpus: tuple[float, ...] = ()  # the same, for each worker process
    seconds_left: float | None = None
    budget: str | None = None  # in the models' one currency
    rows: int = 0  # of the run, so far
    all_rows: bool = True  # no more will be found


class Pace:
    """Rows and tokens per second over the last few looks."""

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._looks: list[tuple[float, int, int]] = []

    def look(self, now: float, tally: Tally) -> tuple[float, float]:
        """Rates up to `now`, in rows/s and tokens/s."""
        tokens = sum(m.usage.prompt + m.usage.completion for m in tally.models.values())
        return self.note(now, tally.settled, tokens)

    def note(self, now: float, rows: int, tokens: int = 0) -> tuple[float, float]:
        """Rates up to `now`, at which so many have been counted."""
        self._looks.append((now, rows, tokens))
        while len(self._looks) > 2 and now - self._looks[0][0] > self._window_s:
            del self._looks[0]
        then, rows_then, tokens_then = self._looks[0]
        if now <= then:
            return 0.0, 0.0
        return (rows - rows_then) / (now - then), (tokens - tokens_then) / (now - then)


def seconds_left(rows: int, slots: int, tally: ModelTally) -> float | None:
    """How long a model's rows will still take with `slots` in flight; None if nothing tells.

    What a row takes is the time of slots that were offered per settled row, retries and idle slots
    included: a limit that changes counts at once, which a rate over the last seconds would not.
    """
    left = rows - tally.settled
    if left <= 0:
        return 0.0
    if not tally.settled or not tally.offered_slot_s or not slots:
        return None
    return left * tally.offered_slot_s / tally.settled / slots
