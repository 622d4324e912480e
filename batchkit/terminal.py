"""Text for a terminal: laid out by the width of its characters, and unable to act on the terminal.

Rich measures wide characters, wraps, and honours `NO_COLOR` and `COLUMNS`; everything is given to
it as plain text, never as its markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

_WIDTH_ELSEWHERE = 100  # columns, where there is no terminal
_CUT = "…"


def console_on(stream: TextIO) -> Console:
    """What prints on `stream`, as wide as the terminal is."""
    width = None if stream.isatty() else _WIDTH_ELSEWHERE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def readable(text: str, *, lines: int | None = None, characters: int | None = None) -> str:
    """`text` without characters that act on a terminal; cut, and said so, where it is too long."""
    kept = text if characters is None else text[:characters]
    kept = kept.expandtabs(4).replace("\r\n", "\n")
    kept = "".join(one if one == "\n" or one.isprintable() else "�" for one in kept)
    rows = kept.split("\n")
    if lines is not None and len(rows) > lines:
        kept = "\n".join(rows[:lines])
    elif characters is None or len(text) <= characters:
        return kept
    return f"{kept}{_CUT} ({len(text):,} characters)"


def plain(text: str) -> Text:
    """`text` as it is."""
    return Text(text)


def headline(words: str, style: str = "bold") -> Rule:
    """A line across the terminal that begins with `words`."""
    return Rule(Text(words, style), align="left", style="dim")


def side_by_side(columns: Sequence[tuple[str, str]]) -> Table:
    """Columns of equal width, each a title and its text."""
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), show_edge=False)
    for title, _ in columns:
        table.add_column(Text(title, "dim"), ratio=1, overflow="fold")
    table.add_row(*(Text(text) for _, text in columns))
    return table


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Rows under their heads: the first column to the left, figures to the right."""
    found = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    for number, title in enumerate(head):
        found.add_column(Text(title), justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        found.add_row(*(Text(cell) for cell in row))
    return found


@contextmanager
def redrawn(stream: TextIO) -> Iterator[Callable[[str], None]]:
    """Shows one text after another in the same place; the last one stays."""
    with Live(console=console_on(stream), auto_refresh=False) as live:
        yield lambda text: live.update(Text(text), refresh=True)


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A line per row; the first `left` columns are left-aligned, the others right-aligned."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for at, (cell, most) in enumerate(zip(row, widths, strict=True)):
            space = " " * (most - cell_len(cell))
            cells.append(cell + space if at < left else space + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
