"""An event loop whose clock jumps to the next timer instead of waiting for it.

Only for code without I/O and threads: time jumps whenever no task is ready.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """When nothing is ready, adds the timeout to the clock instead of sleeping."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready if ready or timeout == 0 else super().select(timeout)
        self.skipped_s += timeout
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """`loop.time()` runs as fast as the program allows."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        # Nothing of the real clock: a busy machine must not be seen in a test's seconds.
        return self._jumping.skipped_s
