"""Cuts a text into chunks of at most so many tokens.

Rules:

1. Nothing is lost: the chunks joined, each without its overlap, are the text.
2. A chunk ends at the coarsest boundary that its size allows; a unit that is longer than the size
   is cut at the next finer one: heading, paragraph, line, sentence, word, character.
3. White space belongs to what stands before it, and does not count at the ends of a chunk: it
   makes no chunk of its own.
4. The work is linear in the length of the text, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import NamedTuple

from batchkit.tokens import TENTHS, weigh


class By(StrEnum):
    """Where a text is cut, as far as sizes allow."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    SENTENCE = "sentence"


class Span(NamedTuple):
    """A chunk: what is new in it, and before that what it repeats of the chunk before."""

    lead: int  # where the repeated text begins; `start` if nothing is repeated
    start: int
    end: int


# A numeral after "Section", or before a title, is what contracts and reports count their parts by.
_HEADING = re.compile(
    r"^[ \t]{0,16}(?="
    r"\#{1,6}[ \t]+\S"
    r"|(?:ARTICLE|Article|SECTION|Section|CHAPTER|Chapter|PART|Part|EXHIBIT|Exhibit|SCHEDULE"
    r"|Schedule|ANNEX|Annex|APPENDIX|Appendix)[ \t]+(?:\d|[IVXLC]+\b|[A-Z]\b)"
    r"|\d{1,3}(?:\.\d{1,3}){0,3}\.?[ \t]+[A-Z\u4e00-\u9fff]"
    r"|第[ \t]?[0-9〇零一二三四五六七八九十百千]{1,8}[ \t]?[章节節条條编編篇部]"
    r")",
    re.MULTILINE,
)
_PARAGRAPH = re.compile(r"\n[^\S\n]*+\n\s*+")
_LINE = re.compile(r"\n\s*+")
# The look-behind keeps a long run of full stops from being tried from each of them.
_SENTENCE = re.compile(
    r"(?<![.!?])[.!?]++[\"'”’»)\]]*+\s++|(?<![。！？…])[。！？…]++[\"'”’」』）》〉]*+\s*+"
)
_WORD = re.compile(r"\s++|[，、；：。！？…]++\s*+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|No|Nos|Art|Sec|Inc|Ltd|Co|Corp|vs|cf|e\.g|i\.e"
    r"|(?:[A-Z]\.)+[A-Z])$"
)
_LOOK_BACK = 12  # characters; longer than any abbreviation
_WORD_MOST = 40  # characters; Chinese has no words that white space would show
_ROW_TOKENS = 4  # what a template is thought to put around each row of a group


def _after(pattern: re.Pattern[str], text: str, start: int, end: int) -> Iterator[int]:
    return (found.end() for found in pattern.finditer(text, start, end))


def _headings(text: str, start: int, end: int) -> Iterator[int]:
    return _after(_HEADING, text, start, end)  # of its indentation, by rule 3


def _paragraphs(text: str, start: int, end: int) -> Iterator[int]:
    return _after(_PARAGRAPH, text, start, end)


def _lines(text: str, start: int, end: int) -> Iterator[int]:
    return _after(_LINE, text, start, end)


def _sentences(text: str, start: int, end: int) -> Iterator[int]:
    for found in _SENTENCE.finditer(text, start, end):
        before = text[max(start, found.start() - _LOOK_BACK) : found.start()]
        if not (found[0][0] == "." and _ABBREVIATION.search(before)):
            yield found.end()


def _words(text: str, start: int, end: int) -> Iterator[int]:
    return _after(_WORD, text, start, end)


def _characters(_text: str, start: int, end: int) -> Iterator[int]:
    return iter(range(start + 1, end))


_FINER = [_headings, _paragraphs, _lines, _sentences, _words, _characters]
_FIRST = {By.HEADING: 0, By.PARAGRAPH: 1, By.SENTENCE: 3}


def split_text(text: str, by: By, size: int, overlap: int = 0) -> list[Span]:
    """The chunks of `text`, of at most `size` tokens each, of which `overlap` may be repeated ones.

    A text that fits is one chunk; `overlap` is less than `size`.
    """
    assert 0 <= overlap < size
    if weigh(text.strip()) <= size * TENTHS:
        return [Span(0, 0, len(text))]
    ends = _ends(text, 0, len(text), _FIRST[by], (size - overlap) * TENTHS)
    starts = [0, *ends[:-1]]
    leads = [0, *(_lead(text, *pair, overlap) for pair in pairwise(starts))]
    return [Span(*span) for span in zip(leads, starts, ends, strict=True)]


def _ends(text: str, start: int, end: int, level: int, room: int) -> list[int]:
    """Where the chunks of text[start:end] end; the last one ends at `end`."""
    ends: list[int] = []
    begin = start
    filled = -_weight_of_space(text, start, end)  # of the chunk that begins at `begin`
    for unit, stop in _units(text, start, end, level):
        words = text[unit:stop]
        bare = weigh(words.rstrip())
        if bare and filled + bare > room and text[begin:unit].strip():
            ends.append(unit)
            begin, filled = unit, 0
        if bare and filled + bare > room:
            inner = _ends(text, begin, stop, level + 1, room)
            ends += inner[:-1]
            begin = inner[-2] if len(inner) > 1 else begin
            filled = weigh(text[begin:stop])
        else:
            filled += weigh(words)
    return [*ends, end]


def _units(text: str, start: int, end: int, level: int) -> Iterator[tuple[int, int]]:
    at = start
    for stop in _FINER[level](text, start, end):
        if at < stop < end:
            yield at, stop
            at = stop
    yield at, end


def _weight_of_space(text: str, start: int, end: int) -> int:
    """Of the white space at the beginning of text[start:end]."""
    at = start
    while at < end and text[at].isspace():
        at += 1
    return weigh(text[start:at])


def _lead(text: str, begin: int, start: int, overlap: int) -> int:
    """Where the last `overlap` tokens of text[begin:start] begin, at a word if there is one."""
    if not overlap:
        return start
    weights = accumulate(weigh(text[at]) for at in range(start - 1, begin - 1, -1))
    count = sum(1 for _ in _until(weights, overlap * TENTHS))
    lead = start - count
    if lead == begin:
        return lead
    word = next(_words(text, lead, start), start)
    return word if word < min(start, lead + _WORD_MOST) else lead


def _until(weights: Iterator[int], most: int) -> Iterator[int]:
    for weight in weights:
        if weight > most:
            return
        yield weight


class Piece(NamedTuple):
    """A row of a group, or a stretch of one that is longer than a chunk."""

    row: int  # index in its group
    start: int
    end: int


def split_rows(texts: Sequence[str], by: By, size: int, overlap: int = 0) -> list[list[Piece]]:
    """The chunks of a group of rows, in pieces; a row is cut only if it is longer than a chunk.

    The pieces that a chunk repeats of the one before are whole ones.
    """
    assert 0 <= overlap < size
    whole = [Piece(row, 0, len(text)) for row, text in enumerate(texts)]
    if sum(map(weigh, texts)) + len(texts) * _ROW_TOKENS * TENTHS <= size * TENTHS:
        return [whole]
    room = size - overlap
    pieces = [
        Piece(row, span.start, span.end)
        for row, text in enumerate(texts)
        for span in split_text(text, by, max(1, room - _ROW_TOKENS))
    ]
    chunks: list[list[Piece]] = [[]]
    filled = 0
    for piece in pieces:
        weight = _weight(texts, piece)
        if chunks[-1] and filled + weight > room * TENTHS:
            chunks.append([])
            filled = 0
        chunks[-1].append(piece)
        filled += weight
    return [
        [*_repeated(texts, before, overlap), *chunk]
        for before, chunk in zip([[], *chunks[:-1]], chunks, strict=True)
    ]


def _weight(texts: Sequence[str], piece: Piece) -> int:
    return weigh(texts[piece.row][piece.start : piece.end].strip()) + _ROW_TOKENS * TENTHS


def _repeated(texts: Sequence[str], before: list[Piece], overlap: int) -> list[Piece]:
    weights = accumulate(_weight(texts, piece) for piece in reversed(before))
    count = sum(1 for _ in _until(weights, overlap * TENTHS))
    return before[len(before) - count :]
