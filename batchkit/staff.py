"""How many workers a pool has: as many as wanted, and one more for each that waits elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Staff:
    """One pool's workers; it knows how to begin one, and asks those that are too many to end."""

    def __init__(self, most_lent: int) -> None:
        """`most_lent` bounds the workers that stand in for others."""
        self.away = 0  # workers that wait for something else than a slot
        self._most_lent = most_lent
        self._wanted = 0  # not counting those that stand in
        self._surplus = 0
        self._spawn: Callable[[], None] = lambda: None

    def begin(self, spawn: Callable[[], None], workers: int) -> None:
        """Have so many workers, each begun by calling `spawn`."""
        self._spawn = spawn
        self.want(workers)

    def end(self) -> None:
        """Begin no worker any more."""
        self._spawn = lambda: None

    def want(self, workers: int) -> None:
        """Have as many; whoever is one too many ends when its request has settled."""
        more, self._wanted = workers - self._wanted, workers
        self._surplus -= more
        while self._surplus < 0:
            self._surplus += 1
            self._spawn()

    @contextmanager
    def stood_in_for(self) -> Iterator[None]:
        """Another worker is there while this one waits for something else than a slot."""
        self.away += 1
        is_lent = self.away <= self._most_lent
        if is_lent:
            self._spawn()
        try:
            yield
        finally:
            self.away -= 1
            self._surplus += is_lent

    def lets_go(self) -> bool:
        """Whether the worker that asks is one too many; it ends then."""
        is_surplus = self._surplus > 0
        self._surplus -= is_surplus
        return is_surplus
