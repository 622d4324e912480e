"""Text in columns, by the width that its characters have on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_ZERO_WIDE = {"Mn", "Me", "Cf"}  # marks that combine, and what is not seen


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A line per row; the first `left` columns are left-aligned, the others right-aligned."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for at, (cell, most) in enumerate(zip(row, widths, strict=True)):
            space = " " * (most - width(cell))
            cells.append(cell + space if at < left else space + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def width(text: str) -> int:
    """Columns on a terminal: two for a wide character (UAX #11), none for one that combines."""
    return sum(
        0
        if unicodedata.category(character) in _ZERO_WIDE
        else 1 + (unicodedata.east_asian_width(character) in {"W", "F"})
        for character in text
    )
