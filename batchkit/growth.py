"""How far a run's plan goes while rows are sent, and who waits for it to go further.

The event loop changes it; the feeders' threads only read. What a thread reads first is true of what
it reads next: when the plan goes no further, all of its rows are there.
"""

from __future__ import annotations

from collections.abc import Collection

import anyio

from batchkit.plan import Plan


class Growth:
    """The plan of a run whose lanes take the rows of `models`."""

    def __init__(self, plan: Plan, models: Collection[str]) -> None:
        self.plan = plan
        self.is_over = plan.is_whole  # it goes no further in this run
        self._models = frozenset(models)
        self._grown = anyio.Event()

    @property
    def strangers(self) -> list[str]:
        """Models that no lane is for; known when the plan is whole."""
        if not self.plan.is_whole:
            return []
        return [model for model in self.plan.models if model not in self._models]

    def grow(self, later: Plan) -> None:
        """There are more rows."""
        self.plan.become(later)
        self.is_over = later.is_whole
        self._grown.set()

    def end(self) -> None:
        """There will be no more rows, be they all or not."""
        self.is_over = True
        self._grown.set()

    def next(self) -> anyio.Event:
        """An event for the next rows, or the end; call it before looking for rows."""
        if self._grown.is_set() and not self.is_over:
            self._grown = anyio.Event()
        return self._grown
