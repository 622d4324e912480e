"""A spec's input as it will be read: the source, what its rows become, which columns are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from batchkit.dividing import Divider
from batchkit.document import Document
from batchkit.endpoints import likely_dialect
from batchkit.errors import UsageError
from batchkit.folder import RunFolder
from batchkit.journal import Settled
from batchkit.parts import Column, Layout, reserved_columns
from batchkit.plan import BlockStore, Plan, offset_of
from batchkit.prepare import Keeping
from batchkit.recipe import Recipe, open_recipe
from batchkit.records import Request
from batchkit.requests import Finish, RequestBuilder, custom_id_of
from batchkit.schema import Invalid, OutputSchema, Valid
from batchkit.sources import Cursor, Raw, Source, open_source
from batchkit.sources.context import ContextCursor
from batchkit.sources.grouped import GroupedSource
from batchkit.sources.inference import KeepInference
from batchkit.sources.keep import KeepColumn, dump_columns, load_columns, plain_type, to_plain
from batchkit.spec import Format, Spec
from batchkit.template import Template
from batchkit.translation import Build, Translating
from batchkit.wording import shown_names


class Rendering:
    """Rows of the input as the requests that will be sent."""

    def __init__(
        self,
        build: Callable[[Raw], Request | Document],
        *,
        rows_before: int,
        id_column: str | None,
    ) -> None:
        self.build = build  # the request of a row, or its several requests; raises `RowError`
        self.rows_before = rows_before
        self._id_column = id_column

    def identify(self, raw: Raw) -> str:
        """The id of a row that may be bad."""
        return custom_id_of(raw, self._id_column)


class Input(msgspec.Struct, frozen=True):
    """What depends on the input and the job, and on nothing else."""

    spec: Spec
    source: Source
    recipe: Recipe

    def asks(self) -> dict[str, Any]:
        """What decides the rendered requests: of the job file, and of the files that it names."""
        return self.spec.asks() | dict(self.recipe.asks)

    def sha256(self) -> str:
        """Identity of all that is asked; `batchkit.spec_sha256` in the results."""
        return hashlib.sha256(msgspec.json.encode(self.asks(), order="sorted")).hexdigest()

    def rendering(self, plan: Plan | None = None) -> Rendering:
        """How rows become requests; with a plan, kept columns come along."""
        spec, recipe = self.spec, self.recipe
        build: Build = self._builder(recipe.template, recipe.finish, plan).build
        if recipe.translation is not None:
            build = Translating(build, recipe.translation)
        divide: Callable[[Raw], Request | Document] = build
        if not spec.documents.is_plain:
            divide = self._divider(build, plan).divide
        translation = recipe.translation
        return Rendering(
            divide,
            rows_before=0 if translation is None else translation.rows_before,
            id_column=spec.id_column,
        )

    def _builder(
        self, template: Template | None, finish: Finish, plan: Plan | None
    ) -> RequestBuilder:
        spec = self.spec
        return RequestBuilder(
            table=spec.table,
            default_model=spec.model,
            fallback=spec.fallback,
            params={**self.recipe.params, **spec.params},
            template=template,
            finish=finish,
            id_column=spec.id_column,
            keep=spec.keep,
            keep_columns=load_columns(plan.keep) if plan and spec.keep else None,
            dialects=lambda model: likely_dialect(spec, model),
        )

    def _divider(self, build: Build, plan: Plan | None) -> Divider:
        spec, join = self.spec, self.recipe.join
        build_join = None
        if join is not None:
            finish = msgspec.structs.replace(self.recipe, examples=None).finish
            build_join = self._builder(join, finish, plan).build
        asked = spec.params.get("max_tokens") or spec.params.get("max_completion_tokens")
        return Divider(
            spec.documents,
            build=build,
            build_join=build_join,
            join_columns=None if join is None else join.columns,
            read=None if self.recipe.schema is None else self._read_joined,
            model=lambda request: spec.table[request.model],
            max_tokens=asked if isinstance(asked, int) else None,
        )

    def _read_joined(self, text: str) -> tuple[str | None, str]:
        assert self.recipe.check is not None
        found = self.recipe.check.form.read(text, None)
        if isinstance(found, Invalid):
            return None, found.reason
        return text if found is None else found.json, ""

    def cursor(self, store: BlockStore) -> Cursor:
        """A cursor over the rows, with what their prompts show of the rows before them."""
        cursor = self.source.cursor()
        translation = self.recipe.translation
        if translation is None or not translation.rows_before:
            return cursor
        return ContextCursor(cursor, translation.rows_before, partial(offset_of, store))

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
        if self.recipe.schema is None or self.recipe.check is None:
            return None
        found = self.recipe.check.form.read(content, None)
        return found.json if isinstance(found, Valid) else None

    def layout(self, folder: RunFolder, plan: Plan, version: str) -> Layout:
        """How the results of this run are laid out."""
        table = self.spec.table  # it need not have the models of an earlier plan any more
        currencies = {table[name].price.currency for name in plan.models if name in table}
        metadata: dict[bytes | str, bytes | str] = {
            "batchkit.version": version,
            "batchkit.spec_sha256": self.sha256(),
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
        votes="votes" in plan.asks,
        dedupe=plan.dedupe,
    )


def open_input(spec: Spec) -> Input:
    """The input of `spec`; raises `UsageError` for what can be seen without reading every row."""
    clash = [name for name in spec.keep if name in reserved_columns()]
    if clash:
        raise UsageError(
            f"{spec.path}: keep: the results have a column {clash[0]!r} of their own; "
            "rename the input's"
        )
    recipe = open_recipe(spec)
    return Input(spec, _source(spec, recipe.columns(spec)), recipe)


def _source(spec: Spec, columns: frozenset[str] | None) -> Source:
    source = open_source(spec.input, keep=spec.keep, columns=columns)
    split, group = spec.documents.split, spec.documents.group
    if split is not None and source.columns is not None and split.column not in source.columns:
        raise UsageError(
            f"{spec.path}: split.column: there is no column {split.column!r}; "
            f"{spec.input} has {shown_names(source.columns)}"
        )
    if group is None:
        return source
    return GroupedSource(source, group.by, [name for name in (spec.id_column, *spec.keep) if name])


def _output_column(schema: OutputSchema) -> Column:
    def build(settled: Sequence[Settled]) -> Any:
        return schema.to_arrow([one.result.output for one in settled])

    return Column("output", schema.arrow_type(), build, lambda _array: [])


def _keep_column(at: int, column: KeepColumn) -> Column:
    def build(settled: Sequence[Settled]) -> Any:
        kept = (one.result.keep for one in settled)
        return to_plain(column, [None if values is None else values[at] for values in kept])

    def store(array: Any) -> list[Any]:
        values: list[Any] = array.cast(column.storage).to_pylist()
        return values

    return Column(column.name, plain_type(column), build, store)
