"""Where the engine gets its time from: the system, or a loop whose time can run faster in tests."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta, timezone

CHINA = timezone(timedelta(hours=8))  # the provider's time: caps and limits go by it


class SystemClock:
    """The system's monotonic clock, and the same as seconds since the epoch.

    uvloop's own `loop.time()` has milliseconds and stands still while a callback runs.
    """

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch; never goes back while the process lives."""
        return self._offset + time.monotonic()


class LoopClock:
    """The running loop's clock, for loops whose time is not the world's."""

    __slots__ = ("_loop", "_offset")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = time.time() - self._loop.time()

    def now(self) -> float:
        """Seconds of the loop."""
        return self._loop.time()

    def wall(self) -> float:
        """Seconds since the epoch, as the loop counts them."""
        return self._offset + self._loop.time()
