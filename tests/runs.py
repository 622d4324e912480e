"""Run folders as tests need them: what a run has left behind, made without running anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchkit.errors import ErrorKind
from batchkit.folder import RunFolder, write_json
from batchkit.inputs import layout_of
from batchkit.journal import Journal, Settled
from batchkit.parts import Layout, seal
from batchkit.plan import ModelShare, Plan, encode_plan
from batchkit.records import Attempt
from batchkit.sources.keep import KeepColumn, dump_columns
from batchkit.spec import Format
from batchkit.tally import Tally, encode_tally
from tests.samples import new_settled


def settled(row: int, content: str | None, *keep: Any, **fields: Any) -> Settled:
    """A row that answered `content`; it failed if that is None."""
    if content is None:
        fields |= {"status": "failed", "error_kind": ErrorKind.CONTENT_FILTERED}
    return new_settled(row, content=content, keep=list(keep), **fields)


def make_run(
    path: Path,
    rows: Sequence[Settled],
    *,
    keep: Mapping[str, pa.DataType] | None = None,
    schema: dict[str, Any] | None = None,
    input: Mapping[str, Any] | None = None,  # noqa: A002  # as the plan names it
    attempts: Iterable[Attempt] = (),
    planned: int | None = None,
    part_rows: int = 4,
    sealed: int = 0,
    kind: Format = Format.ARROW,
    **record: Any,
) -> Path:
    """The folder of a run with `rows`; the first `sealed` parts are sealed.

    With a `schema` an answer that is ok has its content as `output`; `record` is `run.json`.
    """
    folder = RunFolder(path)
    path.mkdir(parents=True)
    columns = [KeepColumn.of(name, kind) for name, kind in (keep or {}).items()]
    plan = Plan(
        rows=len(rows) if planned is None else planned,
        invalid=0,
        models=["glm-4-plus"],
        shares=[ModelShare(len(rows), 0)],
        asks={"schema": schema},
        input=dict(input or {}),
        limit=None,
        part_rows=part_rows,
        format=kind,
        keep=dump_columns(columns),
    )
    if schema is not None:
        for one in rows:
            one.result.output = one.result.content if one.result.status == "ok" else None
    with closing(Journal.create(folder.journal)) as journal:
        tally = encode_tally(Tally())
        journal.finish_plan(encode_plan(plan), tally)
        journal.commit(rows, attempts, tally)
        _seal(journal, layout_of(folder, plan), part_rows, sealed)
    write_json(folder.run_json, record)
    return path


def _seal(journal: Journal, layout: Layout, part_rows: int, parts: int) -> None:
    for number in range(parts):
        first, last = number * part_rows, (number + 1) * part_rows
        settled, attempts = journal.settled(first, last), journal.attempts(first, last)
        part = seal(layout, number, list(settled), list(attempts))
        journal.record_part(part, first, last)
