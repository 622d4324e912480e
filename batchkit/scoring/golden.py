"""Which part of an answer is compared with which kept column, and how; and the rows to compare.

What the job's `[score]` does not say is read off the results' columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from batchkit.accounting import from_decimal
from batchkit.errors import UsageError
from batchkit.job import FieldForm, ScoreKind, ScoreSection
from batchkit.reading import RunReading
from batchkit.scoring.fields import ContainsKind, FieldsKind
from batchkit.scoring.kind import Kind
from batchkit.scoring.labels import LabelKind, LabelVocabulary
from batchkit.scoring.translation import TOKENIZERS, TranslationKind, tokenizer_for
from batchkit.scoring.values import as_labels, as_text
from batchkit.wording import shown_names

CONTENT = "content"  # the answer's text, where a field of `output` could stand
_SAMPLE = 1000  # gold values that tell the script of a translation


class GoldRow(NamedTuple):
    """A settled row as it is scored; values in the order of `Golden.pairs`."""

    custom_id: str
    gold: list[Any]
    answer: list[Any] | None  # None: it failed
    cost: int  # PICO
    currency: str


class Golden(msgspec.Struct, frozen=True):
    """How one run is scored."""

    run: RunReading
    kind: ScoreKind
    pairs: dict[str, str]  # `content` or a field of `output` -> kept column
    section: ScoreSection

    def rows(self) -> Iterator[GoldRow]:
        answers = "output" if self._fields() else CONTENT
        columns = ["custom_id", "status", "cost", "currency", answers, *self._gold_columns()]
        for batch in self.run.results(columns):
            gold = _transposed([batch.column(name) for name in self.pairs.values()])
            given = _transposed([self._answers(batch, name) for name in self.pairs])
            plain = (batch.column(name).to_pylist() for name in columns[:4])
            for (custom_id, status, cost, currency), wanted, answer in zip(
                zip(*plain, strict=True), gold, given, strict=True
            ):
                is_failed = status == "failed"
                amount = from_decimal(cost)
                yield GoldRow(custom_id, wanted, None if is_failed else answer, amount, currency)

    def gold_values(self) -> Iterator[Any]:
        """The values of the one gold column."""
        (column,) = self._gold_columns()
        for batch in self.run.results([column]):
            yield from batch.column(0).to_pylist()

    def declared_labels(self) -> list[str]:
        """The labels that the job's schema lists for the one field; none if it does not."""
        (name,) = self.pairs
        field = _inside(_inside(self.run.plan.asks.get("schema"), "properties"), name)
        listed = _inside(field, "enum") or _inside(_inside(field, "items"), "enum") or []
        return [as_text(label) for label in listed if label is not None]

    def forms(self) -> dict[str, FieldForm]:
        """In which form each field is compared: as the job says, else by the answer's type."""
        return {
            name: self.section.compare.get(name) or _form_of(self._type(name))
            for name in self.pairs
        }

    def _gold_columns(self) -> list[str]:
        return list(dict.fromkeys(self.pairs.values()))

    def _fields(self) -> list[str]:
        return [name for name in self.pairs if name != CONTENT]

    def _type(self, name: str) -> pa.DataType:
        return _answer_type(self.run.schema, name)

    def _answers(self, batch: pa.RecordBatch, name: str) -> pa.Array[Any]:
        if name == CONTENT:
            return batch.column(CONTENT)
        values: pa.Array[Any] = pc.struct_field(batch.column("output"), [name])
        return values


def resolve(section: ScoreSection, run: RunReading) -> Golden:
    """How `run` is scored by `section`; raises `UsageError` with what does not fit."""
    place = str(run.folder.path)
    kept = [column.name for column in run.layout.keep]
    for column in section.columns:
        if column not in kept:
            raise UsageError(
                f"{place}: gold: no kept column {column!r}; the run kept {shown_names(kept)}; "
                "add it to the job's keep and run it in another folder"
            )
    pairs = _pairs(section.gold, run.schema, place)
    kind = section.kind or _kind(section, pairs, run.schema)
    if kind is not ScoreKind.FIELDS and len(pairs) != 1:
        raise UsageError(f"{place}: gold: kind {kind} compares one column, got {len(pairs)}")
    for name in section.compare:
        if name not in pairs:
            raise UsageError(f"{place}: compare: {name!r} is not among the fields of gold")
    if section.tokenizer is not None and section.tokenizer not in TOKENIZERS:
        known = ", ".join(TOKENIZERS)
        raise UsageError(f"{place}: tokenizer: expected one of {known}, got {section.tokenizer!r}")
    return Golden(run, kind, pairs, section)


def new_kind(runs: Sequence[Golden]) -> Kind:
    """The way in which `runs` are scored, all of them by the same labels."""
    first = runs[0]
    match first.kind:
        case ScoreKind.FIELDS:
            return FieldsKind(first.forms(), first.section.dates)
        case ScoreKind.CONTAINS:
            return ContainsKind()
        case ScoreKind.TRANSLATION:
            sample = [as_text(one) for one in islice(first.gold_values(), _SAMPLE) if one]
            return TranslationKind(first.section.tokenizer or tokenizer_for(sample))
        case _:
            return _label_kind(runs)


def _label_kind(runs: Sequence[Golden]) -> LabelKind:
    several = runs[0].kind is ScoreKind.LABELS
    declared = [label for run in runs for label in run.declared_labels()]
    vocabulary = LabelVocabulary(declared, str(runs[0].run.folder.path))
    for run in runs:
        for value in run.gold_values():
            vocabulary.observe(as_labels(value, several=several) if value != "" else ())
    return LabelKind(vocabulary, several=several)


def _pairs(gold: str | dict[str, str], schema: pa.Schema, place: str) -> dict[str, str]:
    fields = _fields_of(schema)
    if isinstance(gold, dict):
        for name in gold:
            if name != CONTENT and name not in fields:
                raise UsageError(
                    f"{place}: gold: the answers have no field {name!r}; "
                    f"they have {shown_names([*fields, CONTENT])}"
                )
        if not gold:
            raise UsageError(f"{place}: gold: names no column; expected at least one")
        return gold
    if not fields:
        return {CONTENT: gold}
    if gold in fields or len(fields) == 1:
        return {gold if gold in fields else fields[0]: gold}
    raise UsageError(
        f"{place}: gold: the answers have the fields {shown_names(fields)}; "
        f"say which is compared, as in {fields[0]}={gold}"
    )


def _kind(section: ScoreSection, pairs: dict[str, str], schema: pa.Schema) -> ScoreKind:
    if isinstance(section.gold, dict):
        return ScoreKind.FIELDS
    ((name, column),) = pairs.items()
    types = (_answer_type(schema, name), schema.field(column).type)
    return ScoreKind.LABELS if any(map(_is_list, types)) else ScoreKind.LABEL


def _fields_of(schema: pa.Schema) -> list[str]:
    if "output" not in schema.names:
        return []
    output = schema.field("output").type
    return [field.name for field in output] if pa.types.is_struct(output) else []


def _answer_type(schema: pa.Schema, name: str) -> pa.DataType:
    return pa.large_string() if name == CONTENT else schema.field("output").type.field(name).type


def _is_list(type_: pa.DataType) -> bool:
    return pa.types.is_list(type_) or pa.types.is_large_list(type_)


def _form_of(type_: pa.DataType) -> FieldForm:
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        return FieldForm.DATE
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return FieldForm.AMOUNT
    return FieldForm.TEXT


def _inside(schema: Any, key: str) -> Any:
    """What a schema says under `key`; a schema may also be true or false."""
    return schema.get(key) if isinstance(schema, dict) else None


def _transposed(columns: list[pa.Array[Any]]) -> Iterator[list[Any]]:
    return map(list, zip(*(column.to_pylist() for column in columns), strict=True))
