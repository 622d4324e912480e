"""Fields of an extracted record, each as it is written and in a common form; and texts that hold.

A value is exact if it is the gold value as it stands. In the common form amounts are equal as
numbers, dates as days, texts but for case, width and white space, lists in any order; an empty text
is no value. No value is right where there is no gold value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from batchkit.job import DateOrder, FieldForm, ScoreKind
from batchkit.scoring.kind import MeasureOf, ratio, share
from batchkit.scoring.normal import amount_form, date_form, label_form, text_form
from batchkit.scoring.resampling import Numbers
from batchkit.scoring.values import as_text

FieldKey: TypeAlias = tuple[int, ...]  # per field: 0 wrong, 1 right in the common form, 2 exact


class FieldsKind:
    """Rows with several fields."""

    name = ScoreKind.FIELDS
    key_type = tuple[int, ...]

    def __init__(self, fields: Mapping[str, FieldForm], order: DateOrder) -> None:
        self._forms = list(fields.values())
        self._order = order
        count = len(self._forms)
        # rows, per field right and exact, all right, all exact
        self.width = 1 + 2 * count + 2
        self.measures: dict[str, MeasureOf] = {}
        self.tests: dict[str, Callable[[FieldKey], bool]] = {}
        for at, name in enumerate(fields):
            self.measures[f"{name}.normalised"] = share(1 + at)
            self.measures[f"{name}.exact"] = share(1 + count + at)
            self.tests[f"{name}.normalised"] = _graded(at, 1)
            self.tests[f"{name}.exact"] = _graded(at, 2)
        self.measures["fields.normalised"] = _mean(slice(1, 1 + count), count)
        self.measures["fields.exact"] = _mean(slice(1 + count, 1 + 2 * count), count)
        self.measures["rows.normalised"] = share(1 + 2 * count)
        self.measures["rows.exact"] = share(2 + 2 * count)
        self.tests["rows.normalised"] = self.is_right
        self.tests["rows.exact"] = lambda key: min(key) == 2

    def judge(self, gold: Sequence[Any], answer: Sequence[Any] | None) -> FieldKey:
        if answer is None:
            return (0,) * len(gold)
        return tuple(map(self._grade, self._forms, gold, answer))

    def statistics(self, key: FieldKey) -> Numbers:
        grades = np.array(key)
        right, exact = grades >= 1, grades == 2
        return np.concatenate([[1], right, exact, [right.all(), exact.all()]]).astype(np.float64)

    def is_right(self, key: FieldKey) -> bool:
        return min(key) >= 1

    def details(self, _total: Numbers) -> dict[str, Any]:
        return {}

    def _grade(self, form: FieldForm, gold: Any, answer: Any) -> int:
        if _written(gold) == _written(answer):
            return 2
        return int(self._common(form, gold) == self._common(form, answer))

    def _common(self, form: FieldForm, value: Any) -> Any:
        """The common form of a value; its text form if it is none of its kind."""
        if value is None or value == "":
            return None
        if isinstance(value, list):
            return sorted(str(self._common(form, one)) for one in value)
        found: Any = None
        if form is FieldForm.AMOUNT:
            found = amount_form(value)
        elif form is FieldForm.DATE:
            found = date_form(value, self._order)
        return text_form(as_text(value)) if found is None else found


class ContainsKind:
    """Rows whose answer is right if the gold text stands in it, as whole words."""

    name = ScoreKind.CONTAINS
    key_type = bool
    width = 2
    measures: Mapping[str, MeasureOf] = {"accuracy": share(1)}

    def __init__(self) -> None:
        self.tests = {"accuracy": self.is_right}

    def judge(self, gold: Sequence[Any], answer: Sequence[Any] | None) -> bool | None:
        if gold[0] is None or gold[0] == "":
            return None
        if answer is None or answer[0] is None:
            return False
        return _holds(label_form(as_text(answer[0])), label_form(as_text(gold[0])))

    def statistics(self, key: bool) -> Numbers:
        return np.array([1.0, key])

    def is_right(self, key: bool) -> bool:
        return key

    def details(self, _total: Numbers) -> dict[str, Any]:
        return {}


def _mean(columns: slice, count: int) -> MeasureOf:
    return lambda sums: ratio(sums[..., columns].sum(-1), count * sums[..., 0])


def _graded(at: int, least: int) -> Callable[[FieldKey], bool]:
    return lambda key: key[at] >= least


def _written(value: Any) -> str | None:
    return None if value is None else as_text(value)


def _holds(text: str, part: str) -> bool:
    """Whether `part` stands in `text` and no word goes on at its ends.

    Scripts without spaces have no such ends: there the part only has to be there.
    """
    at = text.find(part)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(part) : at + len(part) + 1]
        if not (_goes_on(before, part[0]) or _goes_on(part[-1], after)):
            return True
        at = text.find(part, at + 1)
    return False


def _goes_on(left: str, right: str) -> bool:
    return all(one and one.isalnum() and not _is_cjk(one) for one in (left, right))


def _is_cjk(character: str) -> bool:
    return character >= "\u2e80"
