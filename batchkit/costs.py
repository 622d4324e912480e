"""What runs have cost, added up exactly: by day, model, job and key.

An attempt counts on the day on which it began, in China, where the provider's bills are made. Its
key is that of the start of the run it fell into. What the run's totals hold and its attempts do not
show any more (rows that `--update` removed, a damaged part) counts without a day, so that sums are
those of `batchkit status`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from batchkit.accounting import from_decimal, to_decimal, to_text
from batchkit.clock import CHINA
from batchkit.errors import Billing
from batchkit.folder import RunFolder
from batchkit.journal import DamagedError
from batchkit.reading import RunReading, open_run
from batchkit.spec import spec_name
from batchkit.tally import ModelTally, Tally, decode_tally

_COLUMNS = (
    "model",
    "started_at",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "cost",
    "billing",
    "cost_bound",
)
_SUMMED = (*_COLUMNS[2:6], "cost_bound", "unknown")
_MONEY = pa.decimal128(38, 12)
_EAST = pa.scalar(CHINA.utcoffset(None), pa.duration("us"))


class Group(msgspec.Struct, frozen=True):
    """What a sum is of; None where it is not known, or not asked for."""

    day: date | None
    model: str | None
    job: str | None
    key: str | None  # a fingerprint
    run: str | None
    simulated: bool  # nothing was paid
    currency: str


class Spent(msgspec.Struct, frozen=True):
    """A sum; money in PICO."""

    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0
    unknown_attempts: int = 0  # at most: may have been billed
    unknown_bound: int = 0  # the most that those may have cost

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, n) + getattr(other, n) for n in self.__struct_fields__))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, n) - getattr(other, n) for n in self.__struct_fields__))


Sums = dict[Group, Spent]


class Start(msgspec.Struct, frozen=True):
    """What `run.json` knows of a start; older ones knew less."""

    at: float
    endpoint: str = ""
    keys: dict[str, str | None] = {}


class RunCosts(msgspec.Struct, frozen=True):
    """What one run has cost so far."""

    sums: Sums
    is_running: bool
    damage: list[str]  # what could not be read: its cost counts without a day


def run_costs(path: Path) -> RunCosts:
    """The costs of the run in `path`; raises `UsageError` if there is none, `DamagedError`."""
    is_running = RunFolder(path).is_held()
    with open_run(path) as run:
        reader = _Reader(run, path)
        return RunCosts(reader.read(), is_running, reader.damage)


def find_runs(path: Path) -> list[Path]:
    """`path` if it is a run's folder, else those in it, by name."""
    if RunFolder(path).journal.is_file() or not path.is_dir():
        return [path]
    return sorted(found.parent for found in path.glob("*/journal.db"))


class _Reader:
    """Adds one run up."""

    def __init__(self, run: RunReading, path: Path) -> None:
        self._run = run
        self._path = path
        record = run.folder.record()
        self._job = spec_name(Path(str(record["spec"]))) if "spec" in record else None
        self._starts = _starts(run.folder)
        blob = run.journal.get("tally")
        self._tally = Tally() if blob is None else decode_tally(blob)
        self.damage: list[str] = []

    def read(self) -> Sums:
        sums: Sums = {}
        for part in self._run.parts:
            found: Sums = {}
            try:
                self._add(found, self._run.sealed_attempts(part, _COLUMNS))
            except DamagedError as error:
                self.damage.append(str(error))
            else:
                merge(sums, found)
        self._add(sums, self._run.open_attempts(_COLUMNS))
        for model, rest in self._rests(sums):
            merge(sums, {self._group(None, model, None): rest})
        return sums

    def _add(self, sums: Sums, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            for day, model, start, spent in _by_day(batch, [one.at for one in self._starts]):
                known = self._starts[start - 1] if start else None
                merge(sums, {self._group(day, model, known): spent})

    def _group(self, day: date | None, model: str, start: Start | None) -> Group:
        by_currency = {**self._tally.retired, **self._tally.models}
        latest = start or (self._starts[-1] if self._starts else Start(0))
        return Group(
            day=day,
            model=model,
            job=self._job,
            key=None if start is None else start.keys.get(model),
            run=str(self._path),
            simulated=latest.endpoint == "sim",
            currency=by_currency[model].currency if model in by_currency else "",
        )

    def _rests(self, sums: Sums) -> Iterator[tuple[str, Spent]]:
        """What the totals have of each model and `sums` has not."""
        for model in sorted({*self._tally.models, *self._tally.retired}):
            rest = _counted(self._tally, model)
            for group, spent in sums.items():
                if group.model == model:
                    rest -= spent
            if rest != Spent():
                yield model, rest


def merge(sums: Sums, other: Mapping[Group, Spent]) -> None:
    for group, spent in other.items():
        sums[group] = sums.get(group, Spent()) + spent


def grouped(sums: Mapping[Group, Spent], by: Iterable[str]) -> Sums:
    """`sums` by some fields of `Group`; simulated money and currencies never mix."""
    left_out = {"day", "model", "job", "key", "run"} - set(by)
    found: Sums = {}
    for group, spent in sums.items():
        merge(found, {msgspec.structs.replace(group, **dict.fromkeys(left_out)): spent})
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def as_arrow(sums: Mapping[Group, Spent], by: Iterable[str]) -> pa.Table:
    """A row per group, the columns of `by` first."""
    by = list(by)
    columns: dict[str, Any] = {
        name: pa.array(
            [getattr(group, name) for group in sums], pa.date32() if name == "day" else pa.string()
        )
        for name in by
    }
    columns["simulated"] = pa.array([group.simulated for group in sums], pa.bool_())
    columns["currency"] = pa.array([group.currency for group in sums], pa.string())
    for name in Spent.__struct_fields__:
        values = [getattr(spent, name) for spent in sums.values()]
        is_money = name in {"cost", "unknown_bound"}
        columns[name] = pa.array(
            [to_decimal(value) for value in values] if is_money else values,
            _MONEY if is_money else pa.int64(),
        )
    return pa.table(columns)


def as_objects(sums: Mapping[Group, Spent], by: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of `as_arrow` for JSON: money as text, days as dates."""
    rows: list[dict[str, Any]] = as_arrow(sums, by).to_pylist()
    for row, spent in zip(rows, sums.values(), strict=True):
        row |= {"cost": to_text(spent.cost), "unknown_bound": to_text(spent.unknown_bound)}
    return rows


def _by_day(batch: pa.RecordBatch, starts: list[float]) -> Iterator[tuple[date, str, int, Spent]]:
    """(day, model, number of the start, sum); a start's number is how many began by then."""
    began = batch.column("started_at")
    day = pc.add(began, _EAST).cast(pa.date32())
    start: Any = pa.array([0] * batch.num_rows, pa.int32())
    micros = began.cast(pa.int64())
    for at in starts:
        start = pc.add(start, pc.greater_equal(micros, pa.scalar(int(at * 1e6))).cast(pa.int32()))
    unknown = pc.equal(batch.column("billing"), pa.scalar(str(Billing.UNKNOWN))).cast(pa.int64())
    table = pa.table(
        {
            "day": day,
            "model": batch.column("model"),
            "start": start,
            "unknown": unknown,
            **{name: batch.column(name) for name in _SUMMED[:-1]},
        }
    )
    found = table.group_by(["day", "model", "start"]).aggregate(
        [*((name, "sum") for name in _SUMMED), ("day", "count")]
    )
    for row in found.to_pylist():
        spent = Spent(
            attempts=row["day_count"],
            prompt_tokens=row["prompt_tokens_sum"],
            cached_tokens=row["cached_tokens_sum"],
            completion_tokens=row["completion_tokens_sum"],
            cost=from_decimal(row["cost_sum"]),
            unknown_attempts=row["unknown_sum"],
            unknown_bound=from_decimal(row["cost_bound_sum"]),
        )
        yield row["day"], row["model"], row["start"], spent


def _counted(tally: Tally, model: str) -> Spent:
    """What the run's totals say of a model, what a kill left unrecorded included."""
    nothing = ModelTally()
    return sum((_spent(one.get(model, nothing)) for one in (tally.models, tally.retired)), Spent())


def _spent(tally: ModelTally) -> Spent:
    return Spent(
        attempts=tally.attempts,
        prompt_tokens=tally.usage.prompt,
        cached_tokens=tally.usage.cached,
        completion_tokens=tally.usage.completion,
        cost=tally.cost,
        unknown_attempts=tally.unknown_attempts + tally.killed_attempts,
        unknown_bound=tally.unknown_bound + tally.killed_bound,
    )


def _starts(folder: RunFolder) -> list[Start]:
    found = []
    for start in folder.starts():
        try:
            found.append(msgspec.convert(start, Start))
        except msgspec.ValidationError:
            continue
    return sorted(found, key=lambda start: start.at)


def _order(group: Group) -> tuple[Any, ...]:
    """By the fields in their order; what is not known comes last."""
    values = (getattr(group, name) for name in Group.__struct_fields__)
    return tuple((value is None, str(value)) for value in values)
