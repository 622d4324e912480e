"""Stops a model of which nearly every row fails for the same reason, before it burns more.

Repeated content-filter hits can cost an account its standing (docs.bigmodel.cn, content safety),
and a wrong prompt or endpoint need not be paid for ten thousand times.
"""

from __future__ import annotations

from collections import deque

from batchkit.errors import ErrorKind

WINDOW = 100  # rows; fewer say too little
_SHARE = 0.95


class Breaker:
    """Looks at the last `WINDOW` settled rows of one model."""

    def __init__(self) -> None:
        self._last: deque[ErrorKind | None] = deque(maxlen=WINDOW)

    def settle(self, kind: ErrorKind | None) -> ErrorKind | None:
        """Note a settled row, None for one that is ok; the kind that nearly all failed for."""
        self._last.append(kind)
        if kind is None or len(self._last) < WINDOW:
            return None
        return kind if self._last.count(kind) >= _SHARE * WINDOW else None
