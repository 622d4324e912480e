"""Rows together with the rows right before them, in a scan and under a cursor alike.

What a row's prompt shows of the rows before it must be the same whichever rows are read: a cursor
reads the ones that nobody asked for too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from batchkit.sources.base import Cursor, Raw


def with_rows_before(raws: Iterable[Raw], count: int) -> Iterator[Raw]:
    """Each of `raws`, which are all of a source, with the values of the `count` rows before it."""
    recent: deque[dict[str, Any] | None] = deque(maxlen=count)
    for raw in raws:
        yield msgspec.structs.replace(raw, before=tuple(recent)) if count else raw
        recent.append(raw.values)


class ContextCursor:
    """A cursor that hands out rows with the values of the `count` rows before them."""

    def __init__(self, cursor: Cursor, count: int, offset: Callable[[int], int]) -> None:
        """`offset` tells where a row stands that nobody asked for."""
        self._cursor = cursor
        self._count = count
        self._offset = offset
        self._recent: dict[int, dict[str, Any] | None] = {}  # of the rows read last

    def take(self, wanted: Sequence[tuple[int, int]]) -> list[Raw]:
        offsets = dict(wanted)
        needed = {at for row in offsets for at in self._span(row)} - self._recent.keys()
        rows = sorted(needed | offsets.keys())
        raws = self._cursor.take(
            [(row, offsets[row] if row in offsets else self._offset(row)) for row in rows]
        )
        values = self._recent | {raw.row: raw.values for raw in raws}
        last = max(values, default=0)
        self._recent = {row: values[row] for row in values if row > last - self._count}
        return [
            msgspec.structs.replace(raw, before=tuple(values[at] for at in self._span(raw.row)))
            for raw in raws
            if raw.row in offsets
        ]

    def close(self) -> None:
        self._cursor.close()

    def _span(self, row: int) -> range:
        return range(max(0, row - self._count), row)
