"""Reads a run's folder into facts: one pass over its parts and its journal, in bounded memory.

Also of a run that goes on: it is read as it was at one moment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from batchkit.accounting import Rates, to_text
from batchkit.errors import BatchkitError, UsageError
from batchkit.folder import RunFolder
from batchkit.inputs import layout_of
from batchkit.journal import Journal
from batchkit.models import Model, ModelTable
from batchkit.parts import Layout, attempts_batch, results_batch
from batchkit.plan import Plan, decode_plan
from batchkit.records import Attempt, Usage
from batchkit.report.counting import (
    ATTEMPT_COLUMNS,
    RESULT_COLUMNS,
    AttemptCounts,
    ResultCounts,
    Troubles,
)
from batchkit.report.facts import Facts, SampleRow, Saving
from batchkit.report.sample import SAMPLE_COLUMNS, sample_of, step_of
from batchkit.report.scores import read_scores
from batchkit.report.timeline import timeline
from batchkit.status import summary_of
from batchkit.summary import RunSummary
from batchkit.unseal import batches_of

_BATCH_ROWS = 1000
_MODELS_MOST = 6  # told apart in a chart

Record = TypeVar("Record")


def read_facts(path: Path, version: str) -> Facts:
    """What there is to tell of the run in `path`; raises `UsageError` if there is none."""
    folder = RunFolder(path)
    if not folder.journal.is_file():
        raise UsageError(f"{path}: no run here; expected a folder that batchkit run has made")
    is_running = folder.is_held()
    with closing(Journal.open(folder.journal, read_only=True)) as journal, journal.snapshot():
        blob = journal.get("plan")
        if blob is None:
            raise UsageError(f"{path}: the run was not planned to its end; run it again")
        plan = decode_plan(blob)
        summary = summary_of(journal, plan, path, version)
        reader = _Reader(journal, layout_of(folder, plan), plan)
        reader.read()
    starts = [start for start in folder.starts() if isinstance(start, dict)]
    return Facts(
        name=path.resolve().name,
        state="running" if is_running else "complete" if summary.complete else "stopped",
        read_at=time.time(),
        summary=summary,
        tiers=_distinct(start.get("tier") for start in starts),
        endpoints=_distinct(url for start in starts for url in _urls(start)),
        starts=len(starts),
        timeline=timeline(
            reader.attempts.slices,
            [at for start in starts if isinstance(at := start.get("at"), int | float)],
            _in_order(reader.attempts.latency, reader.models),
        ),
        models=tuple(reader.models),
        latency=reader.attempts.latency,
        settling=reader.results.settling,
        tries=dict(sorted(reader.results.tries.items())),
        troubles=reader.troubles.worst(),
        slowest=reader.results.slowest,
        savings=_savings(summary, starts[-1].get("models") if starts else None),
        scores=read_scores(path),
        sample=reader.sample,
        sample_step=reader.step,
    )


class _Reader:
    """One pass over everything that a run has written down."""

    def __init__(self, journal: Journal, layout: Layout, plan: Plan) -> None:
        by_rows = sorted(zip(plan.models, plan.shares, strict=True), key=lambda m: -m[1].rows)
        self.models = [name for name, _ in by_rows[:_MODELS_MOST]]
        self.troubles = Troubles()
        self.attempts = AttemptCounts(self.models, self.troubles)
        self.results = ResultCounts(self.models, self.troubles)
        self.sample: list[SampleRow] = []
        self.step = step_of(plan.rows)
        self._journal = journal
        self._layout = layout
        self._plan = plan

    def read(self) -> None:
        part_rows = self._plan.part_rows
        sealed = {part.part for part in self._journal.parts()}
        for number in range(-(-self._plan.rows // part_rows)):
            if number in sealed:
                self._read_part(number)
            else:
                self._read_journal(number * part_rows, (number + 1) * part_rows)

    def _read_part(self, number: int) -> None:
        layout = self._layout
        wanted = {*RESULT_COLUMNS, *SAMPLE_COLUMNS, *(column.name for column in layout.keep)}
        for batch in batches_of(layout.results_path(number), layout.format, wanted):
            self._add_results(batch)
        for batch in batches_of(layout.attempts_path(number), layout.format, set(ATTEMPT_COLUMNS)):
            self.attempts.add(batch)

    def _read_journal(self, first: int, last: int) -> None:
        settled = self._journal.settled(first, last)
        for group in _groups(settled):
            self._add_results(results_batch(self._layout, group))
            self._add_attempts([one.attempt for one in group if one.attempt is not None])
        for attempts in _groups(self._journal.attempts(first, last)):
            self._add_attempts(attempts)

    def _add_results(self, batch: pa.RecordBatch) -> None:
        self.results.add(batch)
        self.sample += sample_of(batch, self.step)

    def _add_attempts(self, attempts: list[Attempt]) -> None:
        self.attempts.add(attempts_batch(self._layout, attempts))


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    waiting = iter(records)
    while group := list(islice(waiting, _BATCH_ROWS)):
        yield group


def _in_order(found: Iterable[str], models: list[str]) -> list[str]:
    """`models`, and behind them what the others are counted under, if there are any."""
    return [*models, *(name for name in found if name not in models)]


def _distinct(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value) for value in values if value is not None))


def _urls(start: dict[str, Any]) -> list[Any]:
    endpoints = start.get("endpoints")
    return list(endpoints.values()) if isinstance(endpoints, dict) else []


def _savings(summary: RunSummary, rows: Any) -> list[Saving]:
    """What cached tokens saved, at the prices of the last start."""
    savings: list[Saving] = []
    for name, totals in summary.models.items():
        model = _model(name, rows)
        saved = None
        if model is not None and model.price.cached_input is not None:
            rates = Rates.of(model.price)
            cached = Usage(prompt=totals.cached_tokens, cached=totals.cached_tokens)
            fresh = Usage(prompt=totals.cached_tokens)
            saved = to_text(rates.cost(fresh) - rates.cost(cached))
        currency = totals.currency or ""
        savings.append(Saving(name, totals.cached_tokens, totals.prompt_tokens, saved, currency))
    return savings


def _model(name: str, rows: Any) -> Model | None:
    """The model as `run.json` has it; nothing hangs on that file."""
    if not isinstance(rows, dict) or not isinstance(rows.get(name), dict):
        return None
    try:
        return ModelTable({}).extended({name: rows[name]}, "run.json").get(name)
    except (BatchkitError, msgspec.ValidationError):
        return None
