"""Sections of a job file that say what is asked and what an answer must be; as values, unjudged."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class LabelsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The labels an answer is one of, from one of three places."""

    values: list[str] | None = None
    file: str | None = None  # one a line, relative to the job file
    column: str | None = None  # its distinct values in the input
    multiple: bool = False  # any number of them
    similar: float | None = None  # of 0 to 1: how like a label an answer must be to stand for it


class TranslateSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text to translate and what its translation must keep."""

    text: str  # the column
    source: str | None = None  # languages, for the prompt
    target: str | None = None
    check: list[str] | None = None  # kinds of `fidelity.Kind`; None: all
    glossary: str | None = None  # a .tsv, .csv or .jsonl, relative to the job file
    context: int = 0  # rows before this one whose texts go into the prompt
    group: str | None = None  # the column that those rows have the same value in


class ExamplesSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answered examples that go into each prompt, as turns of the chat."""

    file: str  # of rows, relative to the job file
    output: str  # the answer: a column's name or a template over the example's columns
    input: str | None = None  # the question, likewise; None: as prompt.user has it
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    choose: Literal["first", "nearest"] = "first"
