"""Rows that follow each other with the same value in one column, as one row.

Rules:

1. Only neighbours are grouped, so memory holds one group: a value that comes again later is
   another group, and as ids must be unique it is noticed.
2. A group's id and its kept columns are those of its first row; `rows` has all of its rows.
3. A row that cannot be read makes its group unreadable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from batchkit.errors import UsageError
from batchkit.sources.base import ENDED, Cursor, FileCursor, FileSource, Raw, Source
from batchkit.wording import shown, shown_names

ROWS = "rows"
ROWS_MOST = 10_000  # of a group; one more, and the column does not tell documents apart


class GroupedSource(Source):
    """The groups of another source's rows."""

    def __init__(self, source: FileSource, by: str, along: Sequence[str]) -> None:
        """`by` is the column that tells groups apart, `along` are those taken from first rows."""
        super().__init__(source.path)
        if source.columns is not None and by not in source.columns:
            raise UsageError(
                f"{source.path}: group.by: there is no column {by!r}; "
                f"the file has {shown_names(source.columns)}"
            )
        self.columns = source.columns
        self.keep_columns = source.keep_columns
        self._source = source
        self._by = by
        self._along = (by, *along)
        if ROWS in self._along:
            raise UsageError(
                f"{source.path}: a group's own name {ROWS!r} is also a column's; rename the column"
            )

    def scan(self) -> Iterator[Raw]:
        raws = self._source.scan()
        row, held = 0, next(raws, None)
        while held is not None:
            group, held = _take_group(held, raws, self._by)
            yield self.grouped(group, row)
            row += 1

    def cursor(self) -> Cursor:
        return GroupedCursor(self, self._source.cursor(), self._by)

    def place(self, raw: Raw) -> str:
        return self._source.place(raw)

    def grouped(self, group: Sequence[Raw], row: int) -> Raw:
        """The group as row `row`; its offset tells a cursor where it begins."""
        first = group[0]
        offset = _place_of(first)
        for raw in group:
            fault = raw.fault if raw.values is None else self._fault_of(raw.values)
            if fault is not None:
                return Raw(row, raw.line, offset, None, fault)
        if len(group) > ROWS_MOST:
            value = shown((first.values or {}).get(self._by))
            fault = f"more than {ROWS_MOST:,} rows in a row have {self._by} {value}"
            return Raw(row, first.line, offset, None, fault)
        values = first.values or {}
        along = {name: values[name] for name in self._along if name in values}
        rows = [raw.values for raw in group]
        return Raw(row, first.line, offset, {**along, ROWS: rows}, None, first.keep)

    def _fault_of(self, values: dict[str, Any]) -> str | None:
        if self._by not in values:
            names = shown_names(list(values))
            return f"group.by: column {shown(self._by)} is missing; the row has {names}"
        return f"group.by: column {shown(self._by)} is null" if values[self._by] is None else None


class GroupedCursor:
    """Chosen groups, each read from its first row on."""

    def __init__(self, source: GroupedSource, rows: FileCursor, by: str) -> None:
        self._source = source
        self._rows = rows
        self._by = by
        self._raws: Iterator[Raw] = iter(())
        self._held: Raw | None = None  # read, and not of the group before

    def take(self, wanted: Sequence[tuple[int, int]]) -> list[Raw]:
        return [self._take(row, offset) for row, offset in wanted]

    def close(self) -> None:
        self._rows.close()

    def _take(self, row: int, offset: int) -> Raw:
        held = self._held
        if held is None or _place_of(held) != offset:
            self._raws = self._rows.read_on(offset)
            held = next(self._raws, None)
        if held is None:
            return Raw(row, 0, offset, None, ENDED)
        group, self._held = _take_group(held, self._raws, self._by)
        return self._source.grouped(group, row)


def _place_of(raw: Raw) -> int:
    """Where `read_on` finds a row: a text file's rows have offsets, a columnar one's numbers."""
    return raw.offset or raw.row


def _take_group(held: Raw, raws: Iterator[Raw], by: str) -> tuple[list[Raw], Raw | None]:
    """The group that begins with `held`, and the row behind it."""
    group = [held]
    value = (held.values or {}).get(by)
    for raw in raws:
        if raw.values is not None and (held.values is None or raw.values.get(by) != value):
            return group, raw
        if len(group) <= ROWS_MOST:
            group.append(raw)
    return group, None
