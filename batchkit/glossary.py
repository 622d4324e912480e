"""Owns a job's glossary: which of its terms stand in a text.

Terms are compared as `normal` has it. A term of a script that puts spaces between words stands only
where words begin and end; one of Chinese, Japanese, Korean or Thai stands wherever it occurs. Of
terms that overlap the one that begins first counts, of those the longest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ahocorasick_rs
import xxhash

from batchkit.errors import UsageError
from batchkit.normal import normal
from batchkit.strict_json import NotJsonError, decode_json
from batchkit.wording import kind_of, reason, shown

MOST = 50  # terms that go into one prompt
_TERMS_MOST = 200_000
_TERM_LONGEST = 500  # characters
_HEAD = ("source", "target")
# Scripts that are written without spaces, or with endings joined to a noun (Korean).
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


class Term(NamedTuple):
    """A term and what it is to become."""

    source: str
    target: str


class Glossary:
    """Terms, and an Aho-Corasick automaton over them: a text is read once, whatever their number.

    Attributes:
        digest: of the file.
    """

    def __init__(self, path: Path, place: str) -> None:
        """Raises `UsageError` with the line of what is wrong in the file."""
        try:
            data = path.read_bytes()
            text = data.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"{place}: {path} cannot be read: {reason(why)}") from error
        self.digest = xxhash.xxh3_128_hexdigest(data)
        terms = _distinct(path, _rows(path, text, place))
        if not terms:
            raise UsageError(f"{place}: {path} holds no term")
        self._names = list(terms)
        self._terms = list(terms.values())
        self._automaton = ahocorasick_rs.AhoCorasick(self._names)

    def matching(self, text: str) -> list[Term]:
        """The terms that stand in `text`, in the order of their first places, at most `MOST`."""
        text = normal(text)
        found = [
            (begin, -end, index)
            for index, begin, end in self._automaton.find_matches_as_indexes(text, overlapping=True)
            if _is_whole(text, begin, end)
        ]
        taken: dict[int, None] = {}
        covered = 0
        for begin, minus_end, index in sorted(found):
            if begin >= covered:
                covered = -minus_end
                taken[index] = None
        return [self._terms[index] for index in list(taken)[:MOST]]


def _is_whole(text: str, begin: int, end: int) -> bool:
    """Whether no word is cut at either end."""
    return not (begin and _joins(text[begin - 1], text[begin])) and not (
        end < len(text) and _joins(text[end - 1], text[end])
    )


def _joins(left: str, right: str) -> bool:
    return all(c.isalnum() and not _UNSPACED.match(c) for c in (left, right))


def _rows(path: Path, text: str, place: str) -> Iterator[tuple[int, Any]]:
    """(line, cells) of each line that is not blank."""
    if path.name.endswith(".jsonl"):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, _decoded(line, f"{path}:{number}")
        return
    if path.name.endswith(".csv"):
        reader = csv.reader(text.splitlines(keepends=True), strict=True)
    elif path.name.endswith(".tsv"):
        reader = csv.reader(text.split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        raise UsageError(f"{place}: {path} is no glossary; expected .tsv, .csv or .jsonl")
    try:
        for cells in reader:
            if any(map(str.strip, cells)) and not (reader.line_num == 1 and _is_head(cells)):
                yield reader.line_num, cells
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: not CSV: {reason(error)}") from error


def _decoded(line: str, place: str) -> list[Any]:
    try:
        row = decode_json(line.encode())
    except (NotJsonError, UnicodeEncodeError) as error:
        raise UsageError(f"{place}: {error}") from error
    if not isinstance(row, dict) or not all(key in row for key in _HEAD):
        raise UsageError(f'{place}: expected {{"source": …, "target": …}}, got {kind_of(row)}')
    return [row[key] for key in _HEAD]


def _is_head(cells: list[str]) -> bool:
    return tuple(cell.strip().lower() for cell in cells[:2]) == _HEAD


def _distinct(path: Path, rows: Iterator[tuple[int, list[Any]]]) -> dict[str, Term]:
    terms: dict[str, Term] = {}
    lines: dict[str, int] = {}
    for number, cells in rows:
        place = f"{path}:{number}"
        if len(cells) < 2:
            raise UsageError(f"{place}: expected two columns, source and target, got {len(cells)}")
        term = Term(*(_checked(cell, place) for cell in cells[:2]))
        name = normal(term.source)
        if name in terms:
            raise UsageError(
                f"{place}: {shown(term.source)} was given before, on line {lines[name]}; keep one"
            )
        terms[name], lines[name] = term, number
        if len(terms) > _TERMS_MOST:
            raise UsageError(f"{place}: more than {_TERMS_MOST:,} terms")
    return terms


def _checked(cell: Any, place: str) -> str:
    if not isinstance(cell, str):
        raise UsageError(f"{place}: expected text, got {kind_of(cell)}")
    term: str = cell.strip()
    if not normal(term) or len(term) > _TERM_LONGEST or len(term.splitlines()) > 1:
        raise UsageError(
            f"{place}: {shown(term)} is no term; expected 1 to {_TERM_LONGEST} characters on a line"
        )
    return term
