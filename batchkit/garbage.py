"""When the garbage collector looks for cycles in a process that keeps thousands of tasks."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_COLLECT = (100_000, 50, 1000)  # net new objects, and multiples of that for older generations


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let the garbage collector look for cycles less often.

    Thousands of workers are alive all the time and leave no cycles behind; to look through them
    again and again took a third of the processor's time at 3,000 requests in flight.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECT)
    try:
        yield
    finally:
        gc.set_threshold(*before)
