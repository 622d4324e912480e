"""Owns the labels of a job: what the model is told of them, and which ones an answer names.

1. An answer names a label if the two are equal once case, width (NFKC), runs of spaces and
   invisible characters are set aside. Quotes and punctuation around them are set aside too, unless
   that leaves a choice between labels.
2. It is never guessed at: a sentence that holds a label names none. Only if `similar` says so does
   the one label that is most like the answer stand for it.
3. Two labels that differ in case, width and spaces alone are a fault of the job.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from batchkit.errors import UsageError
from batchkit.normal import normal
from batchkit.schema import Invalid, Valid
from batchkit.schema.answer import NotJsonError, encode, json_value
from batchkit.wording import shown

MOST = 1000  # labels; each is in every prompt
FENCE = "```labels\n"
_LONGEST = 200  # characters of a label, and of an answer that is compared by similarity
_MUCH = 5 * _LONGEST  # characters; no label stands in so much space and punctuation
_AROUND = " \"'“”‘’«»「」『』《》〈〉【】[](){}<>*_`.,;:!?。、…"

_ONE = (
    "Answer with exactly one of these labels, written as it is here, and nothing else: "
    "no explanation, no punctuation."
)
_SEVERAL = (
    'Answer with one JSON object and nothing else: {"labels": [...]}, with every one of these '
    "labels that fits, written as it is here, and an empty list if none does."
)


class Given(NamedTuple):
    """A label and where it was given, for a person."""

    label: str
    place: str


class LabelSet:
    """The labels of one job.

    Attributes:
        instruction: what to append to a prompt, the same for every row.
        correction: how to end the turn that asks again.
        schema: of what an answer becomes, `{"label": …}` or `{"labels": […]}`.
    """

    def __init__(self, given: Iterable[Given], *, multiple: bool, similar: float | None) -> None:
        """Raises `UsageError` for what cannot be told apart or put on a line."""
        self.multiple = multiple
        self._similar = similar
        self._names = _by_name(given)
        self._bare = _by_bare_name(self._names)
        self.labels = list(self._names.values())
        listed = "\n".join(self.labels)
        self.instruction = f"{_SEVERAL if multiple else _ONE}\n\n{FENCE}{listed}\n```"
        self.correction = (
            "Answer again with the corrected JSON object and nothing else."
            if multiple
            else "Answer again with exactly one of the labels and nothing else."
        )
        one = {"enum": self.labels}
        name, value = ("labels", {"type": "array", "items": one}) if multiple else ("label", one)
        self.schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: value},
            "required": [name],
            "additionalProperties": False,
        }

    def read(self, text: str | None) -> Valid | Invalid:
        """The labels that an answer names, as JSON that `schema` describes."""
        text = text or ""
        label = self._label(text)
        if label is not None:
            return Valid(encode({"labels": [label]} if self.multiple else {"label": label}))
        try:
            value = json_value(text)
        except NotJsonError:
            value = None
        return self._several(value) if self.multiple else self._one(value)

    def _one(self, value: Any) -> Valid | Invalid:
        given = value.get("label") if isinstance(value, dict) and len(value) == 1 else value
        label = self._label(given) if isinstance(given, str) else None
        if label is None:
            return Invalid("it is none of the labels")
        return Valid(encode({"label": label}))

    def _several(self, value: Any) -> Valid | Invalid:
        given = value.get("labels") if isinstance(value, dict) and len(value) == 1 else value
        if not isinstance(given, list):
            return Invalid("it is no JSON object with a list of labels")
        found = set()
        for one in given:
            label = self._label(one) if isinstance(one, str) else None
            if label is None:
                return Invalid(f"{shown(one)} is none of the labels")
            found.add(label)
        return Valid(encode({"labels": [label for label in self.labels if label in found]}))

    def _label(self, text: str) -> str | None:
        if len(text) > _MUCH:
            return None
        name = normal(text)
        found = self._names.get(name) or self._bare.get(name.strip(_AROUND))
        if found is None and self._similar is not None and 0 < len(name) <= _LONGEST:
            return self._nearest(name.strip(_AROUND), self._similar)
        return found

    def _nearest(self, name: str, least: float) -> str | None:
        """The one label that is most like `name`; None if two are, or none is enough."""
        ranked = sorted(
            ((SequenceMatcher(None, name, other).ratio(), other) for other in self._names),
            reverse=True,
        )
        (best, nearest), (second, _) = ranked[0], (ranked[1:] or [(0.0, "")])[0]
        return self._names[nearest] if best >= least and best > second else None


def _by_name(given: Iterable[Given]) -> dict[str, str]:
    names: dict[str, str] = {}
    first: dict[str, Given] = {}
    for one in given:
        label = one.label.strip()
        name = normal(label)
        if not name:
            raise UsageError(f"{one.place}: a label is blank; drop it")
        if len(label) > _LONGEST or "```" in label or _has_breaks(label):
            raise UsageError(
                f"{one.place}: {shown(label)} cannot be a label; "
                f"use at most {_LONGEST} characters on one line, without ```"
            )
        if name in names:
            before = first[name]
            raise UsageError(
                f"{one.place}: {shown(label)} and {shown(before.label)} ({before.place}) are one "
                "label once case, width and spaces are set aside; keep one"
            )
        names[name], first[name] = label, one
        if len(names) > MOST:
            raise UsageError(f"{one.place}: more than {MOST:,} labels; every prompt holds them all")
    return names


def _by_bare_name(names: dict[str, str]) -> dict[str, str]:
    """The labels whose names without punctuation around them are no other's."""
    count = Counter(name.strip(_AROUND) for name in names)
    bare = {name.strip(_AROUND): label for name, label in names.items()}
    return {name: label for name, label in bare.items() if name and count[name] == 1}


def _has_breaks(label: str) -> bool:
    return any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in label)
