"""Settled rows against a plain set of them."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batchkit.rows import SettledRows


class SettledRowsMachine(RuleBasedStateMachine):
    """Rows settle one by one or by the part, whatever the sizes."""

    @initialize(rows=st.integers(0, 70), part_rows=st.integers(1, 30), is_whole=st.booleans())
    def begin(self, rows: int, part_rows: int, *, is_whole: bool) -> None:
        self.rows = SettledRows(rows, part_rows, is_whole=is_whole)
        self.settled: set[int] = set()

    def open_rows(self, part: int) -> list[int]:
        """Of a part; those that may still come are open too."""
        first = part * self.rows.part_rows
        rows = self.rows.part(part) if self.rows.is_whole else range(first, first + self.full)
        return [row for row in rows if row not in self.settled]

    @property
    def full(self) -> int:
        return self.rows.part_rows

    @precondition(lambda self: not self.rows.is_whole)
    @rule(more=st.integers(0, 40), is_whole=st.booleans())
    def grow(self, more: int, *, is_whole: bool) -> None:
        before = {n for n in range(self.rows.parts) if self.rows.is_complete(n)}
        completed = self.rows.grow(self.rows.rows + more, is_whole=is_whole)
        after = {n for n in range(self.rows.parts) if self.rows.is_complete(n)}
        assert after - before == ({completed} - {None})

    @precondition(lambda self: self.rows.count < self.rows.rows)
    @rule(draw=st.data())
    def add(self, draw: st.DataObject) -> None:
        row = draw.draw(st.sampled_from(sorted(set(range(self.rows.rows)) - self.settled)))
        part = row // self.rows.part_rows
        completes = self.open_rows(part) == [row]
        assert self.rows.add(row) == (part if completes else None)
        self.settled.add(row)

    @rule(draw=st.data())
    def add_part(self, draw: st.DataObject) -> None:
        parts = range(self.rows.parts)
        untouched = [n for n in parts if self.open_rows(n) == list(self.rows.part(n))]
        if untouched:
            number = draw.draw(st.sampled_from(untouched))
            self.rows.add_part(number)
            self.settled.update(self.rows.part(number))

    @rule(draw=st.data())
    def look_at_a_range(self, draw: st.DataObject) -> None:
        stop = draw.draw(st.integers(0, self.rows.rows))
        rows = range(draw.draw(st.integers(0, stop)), stop)
        assert self.rows.has_all(rows) is self.settled.issuperset(rows)
        assert self.rows.open_before(stop) == len(set(range(stop)) - self.settled)

    @invariant()
    def agrees_with_the_set(self) -> None:
        rows = self.rows
        assert [row for row in range(rows.rows) if row in rows] == sorted(self.settled)
        assert list(rows.missing()) == sorted(set(range(rows.rows)) - self.settled)
        assert rows.count == len(self.settled)
        whole = [n for n in range(rows.parts) if rows.is_complete(n)]
        assert whole == [n for n in range(rows.parts) if not self.open_rows(n)]


TestSettledRows = SettledRowsMachine.TestCase
TestSettledRows.settings = settings(max_examples=40, stateful_step_count=25)
