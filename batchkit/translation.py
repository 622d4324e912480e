"""Owns what a translation job adds to a row: languages, terms, the texts before it.

Templates have it as `translate`, by the section's keys. The texts before a row are source texts, so
what is asked follows from the input alone and is the same after a kill.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from batchkit.errors import RowError
from batchkit.glossary import Glossary
from batchkit.records import Request
from batchkit.sections import TranslateSection
from batchkit.sources import Raw
from batchkit.wording import kind_of, shown, shown_names

NAME = "translate"
CONTEXT_MOST = 20  # rows before one; each is read again where they are not neighbours


class Build(Protocol):
    """A row as one request, with names for its template; raises `RowError`."""

    def __call__(self, raw: Raw, names: Mapping[str, Any] | None = None, /) -> Request: ...


class Translation:
    """One job's `[translate]` at work."""

    def __init__(self, section: TranslateSection, glossary: Glossary | None) -> None:
        self._section = section
        self._glossary = glossary
        self.rows_before = section.context

    def text(self, values: Mapping[str, Any]) -> str:
        """The text of a row with these columns; raises `RowError`."""
        name = self._section.text
        if name not in values:
            names = shown_names([name for name in values if name != NAME])
            raise RowError(f"translate.text: column {shown(name)} is missing; the row has {names}")
        text = values[name]
        if not isinstance(text, str) or not text.strip():
            got = "blank text" if isinstance(text, str) else kind_of(text)
            raise RowError(f"translate.text: expected text in column {shown(name)}, got {got}")
        return text

    def dressed(self, raw: Raw) -> Raw:
        """`raw` with what its prompt can use beside its columns; raises `RowError`."""
        values = raw.values or {}
        text = self.text(values)
        terms = self._glossary.matching(text) if self._glossary is not None else []
        extra = {
            "source": self._section.source or "",
            "target": self._section.target or "",
            "glossary": "\n".join(f"{term.source} = {term.target}" for term in terms),
            "context": "\n".join(self._before(raw)),
        }
        return msgspec.structs.replace(raw, values={**values, NAME: extra})

    def _before(self, raw: Raw) -> list[str]:
        """The texts of the rows right before, as far as they belong to the same group."""
        texts: list[str] = []
        group = self._section.group
        mine = (raw.values or {}).get(group) if group is not None else None
        for values in reversed(raw.before):
            text = (values or {}).get(self._section.text)
            is_other = group is not None and (values or {}).get(group) != mine
            if is_other or not isinstance(text, str):
                break
            texts.append(text)
        return texts[::-1]


class Translating:
    """Builds requests as another builder does, each with what `[translate]` adds to it."""

    def __init__(self, build: Build, translation: Translation) -> None:
        self._build = build
        self._translation = translation

    def __call__(self, raw: Raw, names: Mapping[str, Any] | None = None, /) -> Request:
        """The request of a row, or of a chunk of it with these `names`; raises `RowError`."""
        if raw.values is None:
            return self._build(raw)
        seen = raw
        if names:  # what stands before a later chunk is the chunk before, not the row
            before = () if names.get("chunk", 1) > 1 else raw.before
            seen = msgspec.structs.replace(raw, values={**raw.values, **names}, before=before)
        dressed = self._translation.dressed(seen)
        request = self._build(raw, dressed.values)
        request.source = self._translation.text(dressed.values or {})
        return request
