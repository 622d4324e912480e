"""Owns a job's examples: which ones go into a prompt, and where.

1. An example is a turn of the user, made as the row's own is, and the answer to it. The turns stand
   between the system message and the row, so that fixed ones are a prefix all rows share.
2. The nearest are those with the highest BM25 score (`bm25s`, Lucene's form), the nearest last. In
   scripts without spaces pairs of characters stand for words. Equal scores go by the file's order,
   so a row asks the same after a kill.
3. An example that asks what the row asks is left out: it would give the answer away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from batchkit.normal import normal
from batchkit.records import Message

MOST = 100_000  # examples to choose from
_DECIMALS = 4  # of scores that are told apart
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORDS = re.compile(f"[{_UNSPACED}]+|[^\\W{_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")


class Example(NamedTuple):
    """A question and its answer, as they go into a prompt."""

    asked: str
    answered: str
    text: str  # what of the question is compared


class Examples:
    """Examples to choose from, none asking what another asks."""

    def __init__(self, examples: list[Example], count: int, *, nearest: bool) -> None:
        self._examples = examples
        self._keys = [normal(example.text) for example in examples]
        self._count = count
        self._index = _index(self._keys) if nearest else None

    def insert(self, messages: list[Message], text: str) -> list[Message]:
        """`messages` of a row that asks `text`, with examples before the last of them."""
        turns: list[Message] = []
        for example in self._chosen(normal(text)):
            turns.append({"role": "user", "content": example.asked})
            turns.append({"role": "assistant", "content": example.answered})
        return [*messages[:-1], *turns, messages[-1]]

    def _chosen(self, key: str) -> list[Example]:
        asked = list(words(key))
        if self._index is None or not asked:
            ranked: Any = range(len(self._examples))
        else:
            scores = self._index.get_scores(asked)
            ranked = (-scores).round(_DECIMALS).argsort(kind="stable")[: self._count + 1]
        chosen = [self._examples[at] for at in ranked[: self._count + 1] if self._keys[at] != key]
        chosen = chosen[: self._count]
        return chosen if self._index is None else chosen[::-1]


def words(text: str) -> Iterator[str]:
    """What of a normal text is compared: words, and pairs of characters where there are none."""
    for word in _WORDS.findall(text):
        if len(word) == 1 or not _IS_UNSPACED.match(word):
            yield word
        else:
            yield from (word[at : at + 2] for at in range(len(word) - 1))


def _index(keys: list[str]) -> Any:
    import bm25s  # noqa: PLC0415  # with numpy, a fifth of a second that few jobs need

    index = bm25s.BM25()
    # A mark that no question has stands for a text without a word: lengths must not all be 0.
    index.index([list(words(key)) or ["\0"] for key in keys], show_progress=False)
    return index
