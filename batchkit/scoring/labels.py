"""Labels: one or several per row, equal but for case, width and white space.

The labels are those of the gold values and of the job's schema. An answer that is none of them is
wrong and counted apart. Macro F1 is the mean over the labels that gold values have, each F1 being
2·TP / (2·TP + FP + FN) (van Rijsbergen, "Information Retrieval", 1979, ch. 7); micro F1 is that of
the sums over all labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from batchkit.errors import UsageError
from batchkit.job import ScoreKind
from batchkit.scores import Confusion, LabelScore, Unmatched
from batchkit.scoring.kind import MeasureOf, ratio, share
from batchkit.scoring.normal import label_form
from batchkit.scoring.resampling import Numbers
from batchkit.scoring.values import as_labels, shown_value

LABELS_MOST = 1000  # more different gold values are no labels
CONFUSIONS_MOST = 10_000  # kept, the most frequent first
_EXAMPLES = 5
_CACHED_MOST = 10_000  # texts
_OTHER = -1  # an answer that is no label


class LabelKey(NamedTuple):
    """Labels of a row, as numbers in ascending order."""

    gold: tuple[int, ...]
    answer: tuple[int, ...] | None  # None: the row failed


class _Found(NamedTuple):
    """The labels in a value."""

    numbers: tuple[int, ...]  # ascending
    undeclared: list[str]  # not in the schema
    unknown: list[str]  # not among gold values either


class Examples:
    """Counts values, and keeps the first few different ones."""

    def __init__(self) -> None:
        self._count = 0
        self._found: dict[str, None] = {}

    def add(self, text: str) -> None:
        self._count += 1
        if len(self._found) < _EXAMPLES:
            self._found[shown_value(text)] = None

    def get(self) -> Unmatched | None:
        return Unmatched(self._count, list(self._found)) if self._count else None


class LabelVocabulary:
    """The labels in their written form, found by their common form."""

    def __init__(self, declared: Sequence[str], place: str) -> None:
        self.names: list[str] = []
        self._place = place
        self._numbers: dict[str, int] = {}
        for name in declared:
            self._add(name)
        self.declared = len(self.names)

    def observe(self, gold: Iterable[str]) -> None:
        """Take gold values up as labels; raises `UsageError` if they are too many to be labels."""
        for name in gold:
            self._add(name)
        if len(self.names) > max(LABELS_MOST, self.declared):
            raise UsageError(
                f"{self._place}: more than {LABELS_MOST:,} different gold values, too many for "
                "labels; --kind says what they are: fields, translation or contains"
            )

    def number(self, text: str) -> int:
        return self._numbers.get(label_form(text), _OTHER)

    def _add(self, name: str) -> None:
        if self._numbers.setdefault(label_form(name), len(self.names)) == len(self.names):
            self.names.append(name)


class LabelKind:
    """Rows with one label each, or with any number of them."""

    key_type = LabelKey

    def __init__(self, vocabulary: LabelVocabulary, *, several: bool) -> None:
        self.name = ScoreKind.LABELS if several else ScoreKind.LABEL
        self.vocabulary = vocabulary
        count = len(vocabulary.names)
        # rows, right rows, answers that are no label, then per label: gold, answered, both
        self.width = 3 + 3 * count
        self._count = count
        self._gold, self._answered, self._both = (
            slice(3 + at * count, 3 + (at + 1) * count) for at in range(3)
        )
        self.measures: dict[str, MeasureOf] = {
            "accuracy": share(1),
            "macro_f1": self._macro_f1,
            "micro_f1": self._micro_f1,
        }
        self.tests = {"accuracy": self.is_right}
        self._confusion: Counter[tuple[int, int | None]] = Counter()
        self._other_answers, self._other_gold = Examples(), Examples()
        self._cache: dict[str, _Found] = {}  # the same few texts come again and again

    def judge(self, gold: Sequence[Any], answer: Sequence[Any] | None) -> LabelKey | None:
        if gold[0] is None or gold[0] == "":
            return None
        wanted = self._found(gold[0])
        for text in wanted.undeclared if self.vocabulary.declared else ():
            self._other_gold.add(text)
        given = None if answer is None else self._found(answer[0])
        for text in () if given is None else given.unknown:
            self._other_answers.add(text)
        key = LabelKey(wanted.numbers, None if given is None else given.numbers)
        if self.name is ScoreKind.LABEL:
            self._confusion[wanted.numbers[0], key.answer[0] if key.answer else None] += 1
        return key

    def statistics(self, key: LabelKey) -> Numbers:
        row = np.zeros(self.width)
        row[0], row[1] = 1, self.is_right(key)
        gold, answer = set(key.gold), set(key.answer or ())
        row[2] = _OTHER in answer
        answer.discard(_OTHER)
        for columns, numbers in (
            (self._gold, gold),
            (self._answered, answer),
            (self._both, gold & answer),
        ):
            row[columns][list(numbers)] = 1
        return row

    def is_right(self, key: LabelKey) -> bool:
        return key.gold == key.answer

    def details(self, total: Numbers) -> dict[str, Any]:
        columns = [total[part].astype(int).tolist() for part in self._columns()]
        scores = [
            _label_score(name, *numbers)
            for name, *numbers in zip(self.vocabulary.names, *columns, strict=True)
        ]
        names = [*self.vocabulary.names, None]  # `_OTHER` is the last
        return {
            "labels": scores,
            "confusion": [
                Confusion(str(names[gold]), None if answer is None else names[answer], rows)
                for (gold, answer), rows in self._confusion.most_common(CONFUSIONS_MOST)
            ],
            "unmatched_gold": self._other_gold.get() if self.vocabulary.declared else None,
            "unmatched_answers": self._other_answers.get(),
        }

    def _columns(self) -> tuple[slice, slice, slice]:
        return self._gold, self._answered, self._both

    def _found(self, value: Any) -> _Found:
        if not isinstance(value, str):
            return self._look_up(value)
        found = self._cache.get(value)
        if found is None:
            found = self._look_up(value)
            if len(self._cache) < _CACHED_MOST:
                self._cache[value] = found
        return found

    def _look_up(self, value: Any) -> _Found:
        texts = as_labels(value, several=self.name is ScoreKind.LABELS)
        numbers = {text: self.vocabulary.number(text) for text in texts}
        declared = range(self.vocabulary.declared)
        return _Found(
            tuple(sorted(set(numbers.values()))),
            [text for text, number in numbers.items() if number not in declared],
            [text for text, number in numbers.items() if number == _OTHER],
        )

    def _macro_f1(self, sums: Numbers) -> Numbers:
        gold, answered, both = (sums[..., part] for part in self._columns())
        has_gold = gold > 0
        f1 = np.where(has_gold, 2 * both / np.maximum(gold + answered, 1), 0)
        return ratio(f1.sum(-1), has_gold.sum(-1).astype(np.float64))

    def _micro_f1(self, sums: Numbers) -> Numbers:
        gold, answered, both = (sums[..., part].sum(-1) for part in self._columns())
        return ratio(2 * both, gold + answered + sums[..., 2])


def _label_score(name: str, gold: int, answered: int, both: int) -> LabelScore:
    return LabelScore(
        name,
        gold,
        answered,
        precision=both / answered if answered else None,
        recall=both / gold if gold else None,
        f1=2 * both / (gold + answered) if gold + answered else None,
    )
