"""One source of time: the event loop's clock, so that tests can run it faster than the world."""

from __future__ import annotations

import time

import anyio


class LoopClock:
    """Monotonic seconds of the running loop, and the same as seconds since the epoch."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time() - anyio.current_time()

    def now(self) -> float:
        """Monotonic seconds."""
        return anyio.current_time()

    def wall(self) -> float:
        """Seconds since the epoch; never goes back while the process lives."""
        return self._offset + anyio.current_time()
