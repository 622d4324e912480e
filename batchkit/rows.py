"""Which rows have settled and which parts are therefore complete: a bitmap and a count per part."""

from __future__ import annotations

from collections.abc import Iterator


class SettledRows:
    """Settled rows of an input of `rows` rows, cut into parts of `part_rows` rows each.

    One bit a row, one integer a part: 1.3 MB at 10,000,000 rows. Until the input is known to its
    end, its last part counts the rows that may still come as open.
    """

    __slots__ = ("_bits", "_open", "count", "is_whole", "part_rows", "rows")

    def __init__(self, rows: int, part_rows: int, *, is_whole: bool = True) -> None:
        self.rows = 0
        self.part_rows = part_rows
        self.count = 0
        self.is_whole = False  # whether `rows` are all
        self._bits = bytearray()
        self._open: list[int] = []
        self.grow(rows, is_whole=is_whole)

    def grow(self, rows: int, *, is_whole: bool) -> int | None:
        """Know of `rows` rows in all; the number of the last part if that is now complete.

        Once they are the whole input, no more may come.
        """
        assert rows >= self.rows, "an input only grows"
        assert not self.is_whole, "the input is known to its end"
        self._bits.extend(bytes(-(-rows // 8) - len(self._bits)))
        parts = -(-rows // self.part_rows)
        self._open += [self.part_rows] * (parts - len(self._open))
        self.rows = rows
        self.is_whole = is_whole
        lacking = parts * self.part_rows - rows
        if not is_whole or not lacking:
            return None
        self._open[-1] -= lacking
        return parts - 1 if self._open[-1] == 0 else None

    def __contains__(self, row: int) -> bool:
        return bool(self._bits[row >> 3] & (1 << (row & 7)))

    def has_all(self, rows: range) -> bool:
        """Whether every one of `rows` has settled."""
        whole = range(-(-rows.start // 8), rows.stop // 8)
        if not whole:
            return all(row in self for row in rows)
        if self._bits[whole.start : whole.stop] != b"\xff" * len(whole):
            return False
        edges = [*range(rows.start, whole.start * 8), *range(whole.stop * 8, rows.stop)]
        return all(row in self for row in edges)

    @property
    def parts(self) -> int:
        """How many parts the finished run has."""
        return len(self._open)

    def part(self, number: int) -> range:
        """The rows of part `number`."""
        first = number * self.part_rows
        return range(first, min(first + self.part_rows, self.rows))

    def add(self, row: int) -> int | None:
        """Settle `row`, which must be open; the number of its part if that is now complete."""
        assert row not in self, f"row {row} settled twice"
        self._bits[row >> 3] |= 1 << (row & 7)
        self.count += 1
        part = row // self.part_rows
        self._open[part] -= 1
        return part if self._open[part] == 0 else None

    def add_part(self, number: int) -> None:
        """Settle every row of part `number`, of which none may have settled before."""
        rows = self.part(number)
        assert self._open[number] == len(rows), f"part {number} has settled rows, or is not known"
        first_whole, last_whole = -(-rows.start // 8), rows.stop // 8
        if first_whole < last_whole:
            self._bits[first_whole:last_whole] = b"\xff" * (last_whole - first_whole)
            edges = [*range(rows.start, first_whole * 8), *range(last_whole * 8, rows.stop)]
        else:
            edges = list(rows)
        for row in edges:
            self._bits[row >> 3] |= 1 << (row & 7)
        self._open[number] = 0
        self.count += len(rows)

    def open_before(self, row: int) -> int:
        """How many rows before `row` have not settled."""
        row = min(row, self.rows)
        whole, rest = divmod(row, 8)
        done = int.from_bytes(self._bits[:whole], "little").bit_count()
        if rest:
            done += (self._bits[whole] & ((1 << rest) - 1)).bit_count()
        return row - done

    def is_complete(self, number: int) -> bool:
        return self._open[number] == 0

    def missing(self) -> Iterator[int]:
        """Rows that have not settled, in order."""
        for number, still_open in enumerate(self._open):
            if still_open:
                yield from (row for row in self.part(number) if row not in self)
