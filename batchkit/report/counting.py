"""Attempts and results counted batch by batch, as Arrow computes it; no row is looked at alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import nlargest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batchkit.accounting import from_decimal
from batchkit.errors import REFUSALS
from batchkit.report.bins import GROWTH, LARGEST, SMALLEST, Slices, Spread
from batchkit.report.facts import OTHER_MODELS, Example, SlowRow, Trouble

ATTEMPT_COLUMNS = (
    "row", "custom_id", "attempt", "model", "started_at", "latency_s", "limit", "error_kind",
    "error_code", "wait_s", "prompt_tokens", "cached_tokens", "completion_tokens", "cost",
    "billing", "cost_bound",
)  # fmt: skip
RESULT_COLUMNS = (
    "row", "custom_id", "model", "status", "attempts", "latency_s", "total_s", "error_kind",
    "error_code", "error_message", "completion_tokens",
)  # fmt: skip

SLOWEST = 20
EXAMPLES = 3
TROUBLES_MOST = 60  # codes come from outside
_OTHER_CODES = "other"
_PER_LOG = 1 / math.log(GROWTH)


class Troubles:
    """Failures by kind and code."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Trouble] = {}

    def of(self, kind: str, code: str | None) -> Trouble:
        key = (kind, code or "")
        if key not in self.found and len(self.found) >= TROUBLES_MOST:
            key = (kind, _OTHER_CODES)
        found = self.found.get(key)
        if found is None:
            found = self.found[key] = Trouble(*key)
        return found

    def worst(self) -> list[Trouble]:
        """Those that failed rows first, then the most frequent."""
        return sorted(self.found.values(), key=lambda one: (-one.rows, -one.exchanges, one.kind))


class AttemptCounts:
    """What the attempts of a run come to."""

    def __init__(self, models: Sequence[str], troubles: Troubles) -> None:
        """`models` are told apart, the others counted together."""
        self.slices = Slices()
        self.latency: dict[str, Spread] = {}
        self._models = models
        self._troubles = troubles

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch of `ATTEMPT_COLUMNS`."""
        if not batch.num_rows:
            return
        columns = _columns(batch, ATTEMPT_COLUMNS)
        table = pa.table(columns | {"model": _told_apart(columns["model"], self._models)})
        begin = table["started_at"].cast(pa.int64())
        end = pc.add(begin, pc.cast(pc.multiply(table["latency_s"], 1e6), pa.int64(), safe=False))
        self._add_begun(table, begin)
        self._add_ended(table, end)
        self.slices.settle()
        answered = table.filter(_equal(table["billing"], "billed"))
        _spread(self.latency, answered["model"], answered["latency_s"])
        self._add_troubles(table.filter(pc.is_valid(table["error_kind"])))

    def _add_begun(self, table: pa.Table, begin: Any) -> None:
        number, offset = self._slots(begin)
        grouped = pa.table(
            {"model": table["model"], "n": number, "us": offset, "limit": table["limit"]}
        )
        for found in _grouped(grouped, ("model", "n"), "us", ("us", "limit")):
            one = self.slices.at(found["n"], found["model"])
            one.begun += found["us_count"]
            one.begun_us += found["us_sum"]
            one.limit += found["limit_sum"] or 0

    def _add_ended(self, table: pa.Table, end: Any) -> None:
        number, offset = self._slots(end)
        kind = table["error_kind"]
        refused = pc.is_in(kind, value_set=pa.array([str(one) for one in REFUSALS]))
        answered = _equal(table["billing"], "billed")
        grouped = pa.table(
            {
                "model": table["model"],
                "n": number,
                "us": offset,
                "answered": answered.cast(pa.int64()),
                "refused": refused.cast(pa.int64()),
                "failed": pc.and_not(pc.invert(answered), refused).cast(pa.int64()),
                "prompt": table["prompt_tokens"],
                "cached": table["cached_tokens"],
                "completion": table["completion_tokens"],
            }
        )
        summed = ("answered", "refused", "failed", "prompt", "cached", "completion")
        for found in _grouped(grouped, ("model", "n"), "us", ("us", *summed)):
            one = self.slices.at(found["n"], found["model"])
            one.ended += found["us_count"]
            one.ended_us += found["us_sum"]
            for name in summed:
                setattr(one, name, getattr(one, name) + found[f"{name}_sum"])
        money = pa.table({"model": table["model"], "n": number, "cost": table["cost"]})
        money = money.filter(pc.not_equal(money["cost"], pa.scalar(0, money["cost"].type)))
        for found in _grouped(money, ("model", "n"), "n", ("cost",)):
            self.slices.at(found["n"], found["model"]).cost += from_decimal(found["cost_sum"])

    def _slots(self, micros: Any) -> tuple[Any, Any]:
        """The slice in which each time lies, and how far in, in microseconds."""
        width = pa.scalar(self.slices.width_us, pa.int64())
        number = pc.divide(micros, width)
        return number, pc.subtract(micros, pc.multiply(number, width))

    def _add_troubles(self, table: pa.Table) -> None:
        sums = ("latency_s", "wait_s", "cost", "cost_bound")
        for found in _grouped(table, ("error_kind", "error_code"), "row", sums):
            one = self._troubles.of(found["error_kind"], found["error_code"])
            one.exchanges += found["row_count"]
            one.busy_s += found["latency_s_sum"] or 0.0
            one.waited_s += found["wait_s_sum"] or 0.0
            one.cost += from_decimal(found["cost_sum"])
            one.bound += from_decimal(found["cost_bound_sum"])
            if len(one.examples) < EXAMPLES:
                rows = _first_of(table, found)
                _tell(one, [Example(r["row"], r["custom_id"], attempt=r["attempt"]) for r in rows])


class ResultCounts:
    """What the results of a run come to."""

    def __init__(self, models: Sequence[str], troubles: Troubles) -> None:
        self.settling: dict[str, Spread] = {}
        self.tries: dict[int, int] = {}
        self.slowest: list[SlowRow] = []
        self._models = models
        self._troubles = troubles

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch of `RESULT_COLUMNS`."""
        if not batch.num_rows:
            return
        table = pa.table(_columns(batch, RESULT_COLUMNS))
        model = _told_apart(table["model"], self._models)
        _spread(self.settling, model, table["total_s"])
        for found in _grouped(table, ("attempts",), "row"):
            tries = found["attempts"]
            self.tries[tries] = self.tries.get(tries, 0) + found["row_count"]
        self._add_slow(table)
        self._add_failed(table.filter(_equal(table["status"], "failed")))

    def _add_slow(self, table: Any) -> None:
        top = pc.select_k_unstable(table, SLOWEST, [("total_s", "descending")])
        names = SlowRow.__struct_fields__
        rows = [SlowRow(**row) for row in table.take(top).select(list(names)).to_pylist()]
        self.slowest = nlargest(SLOWEST, [*self.slowest, *rows], lambda r: (r.total_s, -r.row))

    def _add_failed(self, table: pa.Table) -> None:
        for found in _grouped(table, ("error_kind", "error_code"), "row"):
            one = self._troubles.of(found["error_kind"] or "unknown", found["error_code"])
            one.rows += found["row_count"]
            if sum(example.message is not None for example in one.examples) < EXAMPLES:
                rows = _first_of(table, found)
                told = [Example(r["row"], r["custom_id"], r["error_message"] or "") for r in rows]
                _tell(one, told)


def _columns(batch: pa.RecordBatch, names: Sequence[str]) -> dict[str, Any]:
    return {name: batch.column(name) for name in names}


def _equal(column: Any, value: str) -> Any:
    return pc.equal(column, pa.scalar(value))


def _grouped(
    table: Any, keys: Sequence[str], count: str, sums: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """A row per group: its keys, `<count>_count`, and `<name>_sum` for each of `sums`."""
    wanted = [(count, "count"), *((name, "sum") for name in sums)]
    rows: list[dict[str, Any]] = table.group_by(list(keys)).aggregate(wanted).to_pylist()
    return rows


def _told_apart(model: Any, models: Sequence[str]) -> Any:
    """The column of models with those that are not told apart under one name."""
    known = pc.is_in(model, value_set=pa.array(list(models), pa.string()))
    return pc.if_else(known, model, OTHER_MODELS)


def _spread(into: dict[str, Spread], model: Any, seconds: Any) -> None:
    bounded = pc.min_element_wise(pc.max_element_wise(seconds, SMALLEST), LARGEST)
    bins = pc.cast(pc.floor(pc.multiply(pc.ln(bounded), _PER_LOG)), pa.int32())
    counted = pa.table({"model": model, "bin": bins, "n": bins})
    for found in _grouped(counted, ("model", "bin"), "n"):
        if found["bin"] is not None:
            into.setdefault(found["model"], Spread()).add(found["bin"], found["n_count"])


def _first_of(table: pa.Table, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The first rows of a group by kind and code."""
    code = found["error_code"]
    codes = table["error_code"]
    same_code = pc.is_null(codes) if code is None else _equal(codes, code)
    same = pc.and_(_equal(table["error_kind"], found["error_kind"]), same_code)
    rows: list[dict[str, Any]] = table.filter(same).slice(0, EXAMPLES).to_pylist()
    return rows


def _tell(trouble: Trouble, examples: list[Example]) -> None:
    """Keep examples of different rows; a failed row tells more than an exchange."""
    by_row: dict[int, Example] = {}
    for example in sorted([*trouble.examples, *examples], key=lambda one: one.message is None):
        by_row.setdefault(example.row, example)
    trouble.examples = list(by_row.values())[:EXAMPLES]
