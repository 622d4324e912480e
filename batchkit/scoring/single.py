"""The score of one run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Context, Decimal

import msgspec

from batchkit.accounting import to_text
from batchkit.errors import UsageError
from batchkit.folder import RunFolder
from batchkit.job import ScoreSection
from batchkit.reading import RunReading
from batchkit.scores import Cost, Measure, Score
from batchkit.scoring.golden import GoldRow, new_kind, resolve
from batchkit.scoring.kind import Kind
from batchkit.scoring.resampling import Key, Sums, interval
from batchkit.wording import reason

_ROUNDED = Context(prec=40)


class Resampling(msgspec.Struct, frozen=True):
    """How intervals and tests are drawn."""

    draws: int
    seed: int


class Purchases:
    """What scored rows cost, and how many of them are right."""

    def __init__(self) -> None:
        self._spent: dict[str, int] = {}
        self._right: dict[str, int | None] = {}

    def add(self, cost: int, currency: str, *, is_right: bool | None) -> None:
        self._spent[currency] = self._spent.get(currency, 0) + cost
        before = self._right.get(currency, 0)
        self._right[currency] = None if is_right is None or before is None else before + is_right

    def costs(self) -> list[Cost]:
        return [
            Cost(to_text(spent), currency, right, _per_right(spent, right))
            for currency, spent in sorted(self._spent.items())
            for right in [self._right[currency]]
        ]


def score(
    run: RunReading, section: ScoreSection, how: Resampling, *, now: float, version: str
) -> Score:
    """The score of `run` as far as it has settled; raises `UsageError` if it cannot be scored."""
    golden = resolve(section, run)
    kind = new_kind([golden])
    sums = Sums(kind.width, kind.statistics, draws=how.draws, seed=how.seed)
    bought = Purchases()
    scored = failed = without_gold = 0
    for row, key in judged(golden.rows(), kind):
        if key is None:
            without_gold += 1
            continue
        scored += 1
        failed += row.answer is None
        sums.add(key)
        bought.add(row.cost, row.currency, is_right=kind.is_right(key))
    sums.flush()
    return Score(
        kind=golden.kind,
        gold=golden.pairs,
        rows=run.plan.rows,
        missing=run.missing,
        scored=scored,
        failed=failed,
        without_gold=without_gold,
        measures=_measures(kind, sums) if scored else {},
        **kind.details(sums.total),
        costs=bought.costs(),
        draws=how.draws,
        seed=how.seed,
        scored_at=now,
        version=version,
    )


def judged(rows: Iterator[GoldRow], kind: Kind) -> Iterator[tuple[GoldRow, Key | None]]:
    for row in rows:
        yield row, kind.judge(row.gold, row.answer)


def section_of(folder: RunFolder) -> ScoreSection | None:
    """The `[score]` of the job, as `run.json` has it; raises `UsageError`."""
    noted = folder.record().get("score")
    if noted is None:
        return None
    try:
        return msgspec.convert(noted, ScoreSection)
    except msgspec.ValidationError as error:
        raise UsageError(f"{folder.run_json}: score: {reason(error)}; give --gold") from error


def number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _measures(kind: Kind, sums: Sums) -> dict[str, Measure]:
    found = {}
    for name, measure in kind.measures.items():
        low, high = interval(measure(sums.drawn))
        found[name] = Measure(number(float(measure(sums.total))), number(low), number(high))
    return found


def _per_right(spent: int, right: int | None) -> str | None:
    if not right:
        return None
    each = _ROUNDED.divide(Decimal(spent), Decimal(right))
    return to_text(int(each.to_integral_value(context=_ROUNDED)))
