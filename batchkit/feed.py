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

    def __init__(self, low: int) -> None:
        assert low >= 1
        self._low = low
        self._rows: deque[T] = deque()
        self._filled = anyio.Event()
        self._drained = anyio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_exhausted(self) -> bool:
        """No rows now and none to come."""
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
            self._drained = anyio.Event()
            await self._drained.wait()

    async def next(self) -> T | None:
        """The next row, or None when there are no more."""
        while not self._rows:
            if self._closed:
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

    def clear(self) -> None:
        """Drop the rows that nobody has begun, and close."""
        self._rows.clear()
        self.close()
