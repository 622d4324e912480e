"""Reads a job's examples: rows of a file through the templates of `[examples]`."""

from __future__ import annotations

import re
from pathlib import Path

from batchkit.errors import RowError, UsageError
from batchkit.examples import MOST, Example
from batchkit.job import PromptSection
from batchkit.normal import normal
from batchkit.sections import ExamplesSection
from batchkit.sources import Raw, open_source
from batchkit.template import Template
from batchkit.translation import NAME, Translation

_IS_TEMPLATE = re.compile(r"\{[{%#]")


def read_examples(
    path: Path, section: ExamplesSection, prompt: PromptSection, translation: Translation | None
) -> list[Example]:
    """The examples of the file at `path`, those that ask the same once; raises `UsageError`.

    Of fixed examples no more are read than can be chosen.
    """
    source = open_source(path)
    most = MOST if section.choose == "nearest" else section.count + 1
    asked = (
        Template(None, prompt.user)
        if section.input is None
        else _template(section.input, "examples.input")
    )
    answered = _template(section.output, "examples.output")
    examples: dict[str, Example] = {}
    for raw in source.scan():
        try:
            example = _example(raw, asked, answered, translation)
        except RowError as error:
            raise UsageError(f"{source.place(raw)}: {error}") from error
        examples.setdefault(normal(example.text), example)
        if section.choose == "first" and len(examples) == most:
            break
        if len(examples) > most:
            raise UsageError(f"{path}: more than {most:,} examples; give fewer")
    if len(examples) < section.count:
        raise UsageError(
            f"{path}: holds {len(examples):,} different examples; examples.count is {section.count}"
        )
    return list(examples.values())


def _example(
    raw: Raw, asked: Template, answered: Template, translation: Translation | None
) -> Example:
    if raw.values is None:
        raise RowError(raw.fault or "cannot be read")
    values = raw.values
    if translation is not None and asked.mentions(NAME):
        values = translation.dressed(raw).values or {}
    question = _rendered(asked, values)
    text = question if translation is None else translation.text(values)
    return Example(question, _rendered(answered, values), text)


def _rendered(template: Template, values: dict[str, object]) -> str:
    content: str = template.render(values)[-1]["content"]
    return content


def _template(text: str, place: str) -> Template:
    """The template that `text` is, or that prints the column it names."""
    if text.isidentifier():
        text = f"{{{{ {text} }}}}"
    elif not _IS_TEMPLATE.search(text):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        text = f'{{{{ row["{quoted}"] }}}}'
    return Template(None, text, place=place)
