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
import xxhash

from batchkit.answer_check import AnswerCheck, Form
from batchkit.document_job import JoinSection
from batchkit.errors import UsageError
from batchkit.example_rows import read_examples
from batchkit.examples import Examples
from batchkit.fidelity import Fidelity, Kind
from batchkit.glossary import Glossary
from batchkit.job import PromptSection
from batchkit.label_sources import read_labels
from batchkit.labels import LabelSet
from batchkit.records import Message
from batchkit.schema import OutputSchema
from batchkit.sections import ExamplesSection, LabelsSection, TranslateSection
from batchkit.spec import Spec
from batchkit.template import Template
from batchkit.translation import CONTEXT_MOST, NAME, Translation
from batchkit.wording import shown

_JSON = {"response_format": {"type": "json_object"}}


class Recipe(msgspec.Struct, frozen=True):
    """A job's part in every request and every answer."""

    template: Template | None = None
    join: Template | None = None  # of the request that joins the answers of a row's chunks
    instruction: str | None = None  # on the answer's form
    params: Mapping[str, Any] = {}  # that it needs, unless the job or the row says otherwise
    check: AnswerCheck | None = None
    translation: Translation | None = None
    examples: Examples | None = None
    schema: dict[str, Any] | None = None  # of the column `output`
    asks: Mapping[str, Any] = {}  # what the job's files decide of the requests

    def finish(self, messages: list[Message], values: Mapping[str, Any]) -> list[Message]:
        """The messages of a row with these columns as they will be sent."""
        if self.examples is not None:
            translation = self.translation
            text = messages[-1]["content"] if translation is None else translation.text(values)
            messages = self.examples.insert(messages, text)
        if self.instruction is None:
            return messages
        return _with_instruction(messages, self.instruction)

    def columns(self, spec: Spec) -> frozenset[str] | None:
        """Columns that a row must have for its prompt; None for every one."""
        templates = [one for one in (self.template, self.join) if one is not None]
        given = [one.columns for one in templates if one.columns is not None]
        if self.template is None or len(given) < len(templates) or spec.documents.group is not None:
            return None
        section, split = spec.translate, spec.documents.split
        beside = [
            spec.id_column,
            None if split is None else split.column,
            *((section.text, section.group) if section is not None else ()),
        ]
        return frozenset().union(*given) | {name for name in beside if name is not None}


def open_recipe(spec: Spec) -> Recipe:
    """The recipe of `spec`; raises `UsageError` for sections that do not fit together."""
    forms = {"output.schema": spec.schema, "labels": spec.labels, "translate": spec.translate}
    given = [name for name, section in forms.items() if section is not None]
    if len(given) > 1:
        raise UsageError(f"{spec.path}: {given[1]}: stands beside {given[0]}; keep one")
    template = _template(spec.prompt, spec.path) if spec.prompt is not None else None
    recipe = _formed(spec, template)
    join = spec.documents.join
    if join is not None and join.user is not None:
        join_template = _template(join, spec.path, "join")
        recipe = msgspec.structs.replace(recipe, join=join_template)
    return recipe if spec.examples is None else _exemplified(spec, spec.examples, recipe)


def _formed(spec: Spec, template: Template | None) -> Recipe:
    if spec.labels is not None:
        return _labelling(spec, spec.labels, template)
    if spec.translate is not None:
        return _translating(spec, spec.translate, template)
    if spec.schema is not None:
        return _extracting(spec, spec.schema, template)
    return Recipe(template)


def _extracting(spec: Spec, given: dict[str, Any], template: Template | None) -> Recipe:
    schema = OutputSchema.load(given, f"{spec.path}: output.schema")
    form = Form(lambda text, _source: schema.read(text), schema.correction)
    return Recipe(
        template=template,
        instruction=schema.instruction,
        params=_JSON,
        check=_check(spec, form),
        schema=schema.source,
    )


def _labelling(spec: Spec, section: LabelsSection, template: Template | None) -> Recipe:
    if section.similar is not None and not 0 < section.similar <= 1:
        raise UsageError(
            f"{spec.path}: labels.similar: expected a number above 0 up to 1, got {section.similar}"
        )
    given = read_labels(spec, section)
    labels = LabelSet(given, multiple=section.multiple, similar=section.similar)
    form = Form(lambda text, _source: labels.read(text), labels.correction, _is_json_begun)
    return Recipe(
        template=template,
        instruction=labels.instruction,
        params=_JSON if labels.multiple else {},
        check=_check(spec, form),
        schema=labels.schema,
        asks={"schema": labels.schema, "labels": labels.instruction},  # not where they come from
    )


def _translating(spec: Spec, section: TranslateSection, template: Template | None) -> Recipe:
    place = f"{spec.path}: translate"
    if template is None:
        raise UsageError(f"{place}: stands without [prompt]; say in prompt.user what is asked")
    if not 0 <= section.context <= CONTEXT_MOST:
        raise UsageError(f"{place}.context: expected 0 to {CONTEXT_MOST}, got {section.context}")
    kinds = _kinds(section.check, f"{place}.check")
    for key in ("source", "target", "glossary", "context"):
        if template.uses(NAME, key) and not getattr(section, key):
            raise UsageError(f"{place}.{key}: is missing; the prompt uses {{{{ {NAME}.{key} }}}}")
    for key in ("glossary", "context"):
        if getattr(section, key) and not template.uses(NAME, key):
            raise UsageError(
                f"{place}.{key}: the prompt does not use it; put {{{{ {NAME}.{key} }}}} into it"
            )
    glossary = None
    if section.glossary is not None:
        glossary = Glossary(spec.path.parent / section.glossary, f"{place}.glossary")
    fidelity = Fidelity(kinds)
    return Recipe(
        template=template,
        instruction=fidelity.instruction,
        check=_check(spec, Form(fidelity.read, fidelity.correction)),
        translation=Translation(section, glossary),
        asks={} if glossary is None else {"glossary": glossary.digest},
    )


def _exemplified(spec: Spec, section: ExamplesSection, recipe: Recipe) -> Recipe:
    place = f"{spec.path}: examples"
    if spec.prompt is None:
        raise UsageError(f"{place}: stands without [prompt]; say in prompt.user what is asked")
    path = spec.path.parent / section.file
    try:
        rows = read_examples(path, section, spec.prompt, recipe.translation)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error
    examples = Examples(rows, section.count, nearest=section.choose == "nearest")
    digest = xxhash.xxh3_128_hexdigest(msgspec.json.encode(rows))
    asks = {**recipe.asks, "examples": [msgspec.to_builtins(section), digest]}
    return msgspec.structs.replace(recipe, examples=examples, asks=asks)


def _kinds(given: list[str] | None, place: str) -> list[Kind]:
    if given is None:
        return list(Kind)
    for kind in given:
        if kind not in set(Kind):
            raise UsageError(f"{place}: expected kinds out of {', '.join(Kind)}; got {shown(kind)}")
    return [Kind(kind) for kind in given]


def _is_json_begun(text: str) -> bool:
    """Whether a cut answer can become a label: a long text cannot, an object that is open can."""
    return text.lstrip().startswith("{")


def _check(spec: Spec, form: Form) -> AnswerCheck:
    return AnswerCheck(form, spec.repair, partial(_room, spec))


def _room(spec: Spec, model: str, prompt_tokens: int) -> int:
    row = spec.table[model]
    free = row.context - prompt_tokens
    return free if row.max_output is None else min(row.max_output, free)


def _template(prompt: PromptSection | JoinSection, path: Path, section: str = "prompt") -> Template:
    assert prompt.user is not None
    try:
        return Template(prompt.system, prompt.user, section=section)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _with_instruction(messages: list[Message], instruction: str) -> list[Message]:
    """`messages` with `instruction` in the system message, which stays first."""
    first = messages[0]
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        system = first | {"content": f"{first['content']}\n\n{instruction}"}
        return [system, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]
