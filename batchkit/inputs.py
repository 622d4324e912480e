"""A spec's input as it will be read: the source, what its rows become, which columns are kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from batchkit.endpoints import likely_dialect
from batchkit.errors import UsageError
from batchkit.folder import RunFolder
from batchkit.job import PromptSection
from batchkit.journal import Settled
from batchkit.parts import Column, Layout, reserved_columns
from batchkit.plan import Plan
from batchkit.prepare import Keeping
from batchkit.records import Request
from batchkit.requests import RequestBuilder, custom_id_of
from batchkit.schema import OutputSchema, Valid
from batchkit.sources import Raw, Source, open_source
from batchkit.sources.inference import KeepInference
from batchkit.sources.keep import KeepColumn, dump_columns, load_columns, to_arrow
from batchkit.spec import Format, Spec
from batchkit.structured import StructuredOutput
from batchkit.template import Template


class Rendering:
    """Rows of the input as the requests that will be sent."""

    def __init__(
        self, builder: RequestBuilder, structured: StructuredOutput | None, id_column: str | None
    ) -> None:
        self._builder = builder
        self._id_column = id_column
        self._structured = structured

    def build(self, raw: Raw) -> Request:
        """The request of a row; raises `RowError`."""
        request = self._builder.build(raw)
        return request if self._structured is None else self._structured.ask(request)

    def identify(self, raw: Raw) -> str:
        """The id of a row that may be bad."""
        return custom_id_of(raw, self._id_column)


class Input(msgspec.Struct, frozen=True):
    """What depends on the input and the job, and on nothing else."""

    spec: Spec
    source: Source
    template: Template | None
    structured: StructuredOutput | None

    def rendering(self, plan: Plan | None = None) -> Rendering:
        """How rows become requests; with a plan, kept columns come along."""
        spec = self.spec
        builder = RequestBuilder(
            table=spec.table,
            default_model=spec.model,
            params=spec.params,
            template=self.template,
            id_column=spec.id_column,
            keep=spec.keep,
            keep_columns=load_columns(plan.keep) if plan and spec.keep else None,
            dialects=lambda model: likely_dialect(spec, model),
        )
        return Rendering(builder, self.structured, spec.id_column)

    def keeping(self) -> Keeping:
        """How the kept columns' types are found while the input is scanned."""
        if self.source.keep_columns is not None:
            known = dump_columns(self.source.keep_columns)
            return Keeping(None, lambda: known)
        inference = KeepInference(self.spec.keep)

        def observe(raw: Raw) -> None:
            inference.observe(raw.values or {})

        return Keeping(
            observe if self.spec.keep else None,
            lambda: dump_columns(inference.finish(str(self.source.path))),
        )

    def read_output(self, content: str | None) -> str | None:
        """The `output` of an answer that validated once: JSON text."""
        if self.structured is None:
            return None
        found = self.structured.schema.read(content)
        return found.json if isinstance(found, Valid) else None

    def layout(self, folder: RunFolder, plan: Plan, version: str) -> Layout:
        """How the results of this run are laid out."""
        table = self.spec.table  # it need not have the models of an earlier plan any more
        currencies = {table[name].price.currency for name in plan.models if name in table}
        metadata: dict[bytes | str, bytes | str] = {
            "batchkit.version": version,
            "batchkit.spec_sha256": self.spec.sha256(),
            "batchkit.currency": ",".join(sorted(currencies)),
        }
        return layout_of(folder, plan, metadata)


def layout_of(
    folder: RunFolder, plan: Plan, metadata: dict[bytes | str, bytes | str] | None = None
) -> Layout:
    """How the results of a run are laid out, by its plan alone."""
    schema = plan.asks.get("schema")
    return Layout(
        folder.path,
        Format(plan.format),
        _output_column(OutputSchema.load(schema, str(folder.run_json))) if schema else None,
        tuple(_keep_column(at, column) for at, column in enumerate(load_columns(plan.keep))),
        metadata or {},
    )


def open_input(spec: Spec) -> Input:
    """The input of `spec`; raises `UsageError` for what can be seen without reading every row."""
    clash = [name for name in spec.keep if name in reserved_columns()]
    if clash:
        raise UsageError(
            f"{spec.path}: keep: the results have a column {clash[0]!r} of their own; "
            "rename the input's"
        )
    template = None
    if spec.prompt is not None:
        template = _template(spec.prompt, spec.path)
    source = open_source(spec.input, keep=spec.keep, columns=_columns(spec, template))
    structured = None
    if spec.schema is not None:
        schema = OutputSchema.load(spec.schema, f"{spec.path}: output.schema")
        structured = StructuredOutput(schema, spec.repair, partial(_room, spec))
    return Input(spec, source, template, structured)


def _columns(spec: Spec, template: Template | None) -> frozenset[str] | None:
    """Columns that a row must have for its prompt; None for every one."""
    if template is None or template.columns is None:
        return None
    return template.columns | ({spec.id_column} if spec.id_column else set())


def _template(prompt: PromptSection, path: Path) -> Template:
    try:
        return Template(prompt.system, prompt.user)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _room(spec: Spec, model: str, prompt_tokens: int) -> int:
    row = spec.table[model]
    free = row.context - prompt_tokens
    return free if row.max_output is None else min(row.max_output, free)


def _output_column(schema: OutputSchema) -> Column:
    def build(settled: Sequence[Settled]) -> Any:
        return schema.to_arrow([one.result.output for one in settled])

    return Column("output", schema.arrow_type(), build, lambda _array: [])


def _keep_column(at: int, column: KeepColumn) -> Column:
    # An IPC file has one dictionary a column, and a part may have several batches.
    plain = column.storage if pa.types.is_dictionary(column.type) else column.type

    def build(settled: Sequence[Settled]) -> Any:
        kept = (one.result.keep for one in settled)
        values = to_arrow(column, [None if values is None else values[at] for values in kept])
        return values.cast(plain)

    def store(array: Any) -> list[Any]:
        values: list[Any] = array.cast(column.storage).to_pylist()
        return values

    return Column(column.name, plain, build, store)
