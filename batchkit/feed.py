"""A bounded buffer between one model's feeder and its workers, filled by the batch.

anyio's memory streams pass one object at a time at 5 µs each when the receiver must be woken; a
batch costs that once.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Feed(Generic[T]):
    """Rows waiting for a worker; at most `low` plus one batch of them."""

    def __init__(self, low: int, *, givers: int = 0) -> None:
        """`givers` are the lanes that may pass rows on, besides the feeder."""
        assert low >= 1
        self._low = low
        self._givers = givers
        self._rows: deque[T] = deque()
        self._filled = anyio.Event()
        self._drained = anyio.Event()
        self._closed = False
        self._is_cleared = False

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_exhausted(self) -> bool:
        """No rows now and none to come from the feeder."""
        return self._closed and not self._rows

    @property
    def is_closed(self) -> bool:
        """No rows to come; there may be some now."""
        return self._closed

    async def put(self, batch: list[T]) -> None:
        """Add a batch, and wait until another is wanted; a closed feed drops it."""
        if self._closed:
            return
        self._rows.extend(batch)
        self._filled.set()
        while len(self._rows) >= self._low and not self._closed:
            await self._drain()

    async def pass_on(self, row: T) -> bool:
        """Add a row of another lane, before all others, when there is room for it.

        False if this lane takes no more rows.
        """
        while len(self._rows) >= self._low and not self._is_cleared:
            await self._drain()
        if not self._is_cleared:
            self._rows.appendleft(row)
            self._filled.set()
        return not self._is_cleared

    async def next(self) -> T | None:
        """The next row, or None when there are no more."""
        while not self._rows:
            if self._closed and not self._givers:
                return None
            if self._filled.is_set():
                self._filled = anyio.Event()
            await self._filled.wait()
        row = self._rows.popleft()
        if len(self._rows) < self._low:
            self._drained.set()
        return row

    def close(self) -> None:
        """No more batches will come; rows already here are still handed out."""
        self._closed = True
        self._filled.set()
        self._drained.set()

    def let_go(self) -> None:
        """One of the givers has no rows any more."""
        self._givers -= 1
        self._filled.set()

    def clear(self) -> None:
        """Drop the rows that nobody has begun, close, and take no more."""
        self._rows.clear()
        self._givers = 0
        self._is_cleared = True
        self.close()

    async def _drain(self) -> None:
        if self._drained.is_set():
            self._drained = anyio.Event()
        await self._drained.wait()
