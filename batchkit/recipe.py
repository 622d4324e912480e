"""What a job asks with each row and what it demands of the answers, from its files as they are now.

The order of a prompt is fixed, so that what rows have in common comes first and a provider's prefix
cache holds it: the system message with the instruction on the answer's form, examples, the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from batchkit.answer_check import AnswerCheck, Form
from batchkit.errors import UsageError
from batchkit.job import PromptSection
from batchkit.label_sources import read_labels
from batchkit.labels import LabelSet
from batchkit.records import Message
from batchkit.schema import OutputSchema
from batchkit.spec import Spec
from batchkit.template import Template

_JSON = {"response_format": {"type": "json_object"}}


class Recipe(msgspec.Struct, frozen=True):
    """A job's part in every request and every answer."""

    template: Template | None = None
    instruction: str | None = None  # on the answer's form
    params: Mapping[str, Any] = {}  # that it needs, unless the job or the row says otherwise
    check: AnswerCheck | None = None
    schema: dict[str, Any] | None = None  # of the column `output`
    asks: Mapping[str, Any] = {}  # what the job's files decide of the requests

    def finish(self, messages: list[Message]) -> list[Message]:
        """The messages of a row as they will be sent."""
        if self.instruction is None:
            return messages
        return _with_instruction(messages, self.instruction)

    def columns(self, spec: Spec) -> frozenset[str] | None:
        """Columns that a row must have for its prompt; None for every one."""
        if self.template is None or self.template.columns is None:
            return None
        return self.template.columns | ({spec.id_column} if spec.id_column else set())


def open_recipe(spec: Spec) -> Recipe:
    """The recipe of `spec`; raises `UsageError` for sections that do not fit together."""
    template = _template(spec.prompt, spec.path) if spec.prompt is not None else None
    if spec.labels is not None:
        return _labelling(spec, template)
    if spec.schema is not None:
        return _extraction(spec, template, spec.schema)
    return Recipe(template)


def _extraction(spec: Spec, template: Template | None, given: dict[str, Any]) -> Recipe:
    schema = OutputSchema.load(given, f"{spec.path}: output.schema")
    form = Form(lambda text, _source: schema.read(text), schema.correction)
    return Recipe(template, schema.instruction, _JSON, _check(spec, form), schema.source)


def _labelling(spec: Spec, template: Template | None) -> Recipe:
    assert spec.labels is not None
    if spec.schema is not None:
        raise UsageError(f"{spec.path}: labels: stands beside output.schema; keep one")
    labels = LabelSet(
        read_labels(spec, spec.labels),
        multiple=spec.labels.multiple,
        similar=_similarity(spec.labels.similar, f"{spec.path}: labels.similar"),
    )
    form = Form(lambda text, _source: labels.read(text), labels.correction, _is_json_begun)
    return Recipe(
        template,
        labels.instruction,
        _JSON if labels.multiple else {},
        _check(spec, form),
        labels.schema,
        {"schema": labels.schema, "labels": labels.instruction},
    )


def _is_json_begun(text: str) -> bool:
    """Whether a cut answer can become a label: a long text cannot, an object that is open can."""
    return text.lstrip().startswith("{")


def _similarity(least: float | None, place: str) -> float | None:
    if least is not None and not 0 < least <= 1:
        raise UsageError(f"{place}: expected a number above 0 up to 1, got {least}")
    return least


def _check(spec: Spec, form: Form) -> AnswerCheck:
    return AnswerCheck(form, spec.repair, partial(_room, spec))


def _room(spec: Spec, model: str, prompt_tokens: int) -> int:
    row = spec.table[model]
    free = row.context - prompt_tokens
    return free if row.max_output is None else min(row.max_output, free)


def _template(prompt: PromptSection, path: Path) -> Template:
    try:
        return Template(prompt.system, prompt.user)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _with_instruction(messages: list[Message], instruction: str) -> list[Message]:
    """`messages` with `instruction` in the system message, which stays first."""
    first = messages[0]
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        system = first | {"content": f"{first['content']}\n\n{instruction}"}
        return [system, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]
