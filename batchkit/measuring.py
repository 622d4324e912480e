"""What answered rows used, read from a run's parts and journal, as sums for an estimate."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

from batchkit.estimate import Sums
from batchkit.journal import Journal
from batchkit.parts import Layout
from batchkit.plan import Plan, read_entries
from batchkit.records import Usage
from batchkit.spec import Spec
from batchkit.unseal import batches_of

_MEASURED_PARTS = 20  # of a finished run: evenly spread, so that a large one is not read whole
_COLUMNS = ("row", "model", "prompt_tokens", "cached_tokens", "completion_tokens", "latency_s")


def sample_rows(spec: Spec, rows: int, size: int) -> frozenset[int]:
    """`size` of `rows` rows at random; the same for the same job, so that none is paid twice."""
    chosen = Random(spec.sha256()).sample(range(rows), min(size, rows))  # noqa: S311  # statistics
    return frozenset(chosen)


def measure_sample(
    journal: Journal, layout: Layout, plan: Plan, rows: Collection[int]
) -> dict[str, Sums]:
    """Sums over those of `rows` that were answered, per model."""
    parts: dict[int, set[int]] = {}
    for row in rows:
        parts.setdefault(row // plan.part_rows, set()).add(row)
    sums: dict[str, Sums] = {}
    for part, wanted in parts.items():
        for answered in _answered(journal, layout, plan, part):
            if answered.row in wanted:
                answered.add_to(sums)
    return sums


def measure_run(journal: Journal, layout: Layout, plan: Plan) -> dict[str, Sums]:
    """Sums over the answered rows of a finished run, or over evenly spread parts of a large one."""
    count = -(-plan.rows // plan.part_rows)
    sums: dict[str, Sums] = {}
    for part in range(0, count, -(-count // _MEASURED_PARTS)):
        for answered in _answered(journal, layout, plan, part):
            answered.add_to(sums)
    return sums


class _Answered(NamedTuple):
    row: int
    model: str
    counted: int
    usage: Usage
    latency_s: float | None

    def add_to(self, sums: dict[str, Sums]) -> None:
        if self.usage.prompt:
            found = sums.setdefault(self.model, Sums())
            found.add(self.counted, self.usage, self.latency_s)


def _answered(journal: Journal, layout: Layout, plan: Plan, part: int) -> Iterator[_Answered]:
    """The settled rows of a part, sealed or not."""
    first, stop = part * plan.part_rows, min((part + 1) * plan.part_rows, plan.rows)
    entries = islice(read_entries(journal, stop, first), stop - first)
    counted = [entry.prompt_tokens for entry in entries]
    if any(sealed.part == part for sealed in journal.parts()):
        for batch in batches_of(layout.results_path(part), layout.format):
            columns = [batch.column(name).to_pylist() for name in _COLUMNS]
            for row, model, prompt, cached, completion, latency_s in zip(*columns, strict=True):
                usage = Usage(prompt, cached, completion)
                yield _Answered(row, model, counted[row - first], usage, latency_s)
        return
    for result in (one.result for one in journal.settled(first, stop)):
        yield _Answered(
            result.row, result.model, counted[result.row - first], result.usage, result.latency_s
        )
