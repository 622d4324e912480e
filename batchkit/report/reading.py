"""Reads a run's folder into facts: one pass over its parts and its journal, in bounded memory.

Also of a run that goes on: it is read as it was at one moment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from batchkit.accounting import Rates, to_text
from batchkit.errors import BatchkitError
from batchkit.models import Model, ModelTable
from batchkit.plan import ModelShare
from batchkit.reading import RunReading, open_run
from batchkit.records import Usage
from batchkit.report.counting import (
    ATTEMPT_COLUMNS,
    RESULT_COLUMNS,
    AttemptCounts,
    ResultCounts,
    Troubles,
)
from batchkit.report.facts import Facts, SampleRow, Saving
from batchkit.report.sample import SAMPLE_COLUMNS, sample_of, step_of
from batchkit.report.scores import score_lines
from batchkit.report.timeline import timeline
from batchkit.scores import read_score
from batchkit.status import summary_of
from batchkit.summary import RunSummary

_MODELS_MOST = 6  # told apart in a chart


def read_facts(path: Path, version: str) -> Facts:
    """What there is to tell of the run in `path`; raises `UsageError` if there is none."""
    with open_run(path) as run:
        is_running = run.folder.is_held()
        summary = summary_of(run.journal, run.plan, path, version)
        counted = _Counted(run)
        starts = [start for start in run.folder.starts() if isinstance(start, dict)]
    return Facts(
        name=path.resolve().name,
        state="running" if is_running else "complete" if summary.complete else "stopped",
        read_at=time.time(),
        summary=summary,
        tiers=_distinct(start.get("tier") for start in starts),
        endpoints=_distinct(url for start in starts for url in _urls(start)),
        starts=len(starts),
        timeline=timeline(
            counted.attempts.slices,
            [at for start in starts if isinstance(at := start.get("at"), int | float)],
            _in_order(counted.attempts.latency, counted.models),
        ),
        models=tuple(counted.models),
        latency=counted.attempts.latency,
        settling=counted.results.settling,
        tries=dict(sorted(counted.results.tries.items())),
        troubles=counted.troubles.worst(),
        slowest=counted.results.slowest,
        savings=_savings(summary, starts[-1].get("models") if starts else None),
        scores=score_lines(read_score(path)),
        sample=counted.sample,
        sample_step=counted.step,
    )


class _Counted:
    """One pass over everything that a run has written down."""

    def __init__(self, run: RunReading) -> None:
        by_rows = sorted(zip(run.plan.models, run.plan.shares, strict=True), key=_least_rows_last)
        self.models = [name for name, _ in by_rows[:_MODELS_MOST]]
        self.troubles = Troubles()
        self.attempts = AttemptCounts(self.models, self.troubles)
        self.results = ResultCounts(self.models, self.troubles)
        self.sample: list[SampleRow] = []
        self.step = step_of(run.plan.rows)
        self._read_results(run)
        self._read_attempts(run)

    def _read_results(self, run: RunReading) -> None:
        kept = (column.name for column in run.layout.keep)
        wanted = list(dict.fromkeys((*RESULT_COLUMNS, *SAMPLE_COLUMNS, *kept)))
        for batch in run.results(wanted):
            self.results.add(batch)
            self.sample += sample_of(batch, self.step)

    def _read_attempts(self, run: RunReading) -> None:
        for part in run.parts:
            for batch in run.sealed_attempts(part, ATTEMPT_COLUMNS):
                self.attempts.add(batch)
        for batch in run.open_attempts(ATTEMPT_COLUMNS):
            self.attempts.add(batch)


def _least_rows_last(model: tuple[str, ModelShare]) -> int:
    return -model[1].rows


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
