"""Two runs over the same rows, told apart by a paired test.

Rows are joined by `custom_id`, whatever their order: what the first run made of each is kept in a
temporary SQLite file, so memory does not grow with the runs. A measure that is a share of rows is
tested by McNemar's exact test, every other by approximate randomization; the interval of a
difference is a paired bootstrap's, in which a row has the same weight in both runs (see
`resampling`).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import msgspec
import numpy as np

from batchkit.errors import UsageError
from batchkit.job import ScoreKind
from batchkit.scores import Cost
from batchkit.scoring.golden import Golden, GoldRow, new_kind
from batchkit.scoring.kind import Kind, MeasureOf
from batchkit.scoring.resampling import (
    Key,
    Numbers,
    Sums,
    Swaps,
    interval,
    mcnemar,
    share_as_extreme,
)
from batchkit.scoring.single import Purchases, Resampling, judged, number
from batchkit.scoring.values import as_text


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of two runs."""

    folder: str
    failed: int  # joined rows that failed
    alone: int  # scored rows that the other run does not have
    missing: int  # rows that have not settled
    costs: list[Cost]  # of the joined rows


class Compared(msgspec.Struct, frozen=True):
    """A measure of both runs; the difference is second minus first."""

    first: float | None
    second: float | None
    difference: float | None
    low: float | None  # 95 % interval of the difference
    high: float | None
    p: float
    test: str  # mcnemar, randomization


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What two runs made of the rows that both have."""

    kind: ScoreKind
    first: Side
    second: Side
    joined: int
    gold_differs: int  # rows whose gold values are not the same: left out
    measures: dict[str, Compared]
    draws: int
    seed: int


class _Kept(msgspec.Struct, array_like=True):
    """What is kept of a row of the first run."""

    key: Any
    gold: bytes  # digest
    cost: int
    currency: str
    failed: bool


class _Rows:
    """Rows of the first run by their id, in a temporary file."""

    def __init__(self, key_type: Any) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("CREATE TABLE kept (id TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._db.execute("BEGIN")
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Kept).decode
        self._key_type = key_type
        self.count = 0

    def put(self, custom_id: str, kept: _Kept) -> None:
        self._db.execute("INSERT INTO kept VALUES (?, ?)", (custom_id, self._encode(kept)))
        self.count += 1

    def get(self, custom_id: str) -> _Kept | None:
        for (value,) in self._db.execute("SELECT value FROM kept WHERE id = ?", (custom_id,)):
            kept = self._decode(value)
            kept.key = msgspec.convert(kept.key, self._key_type)
            return kept
        return None

    def close(self) -> None:
        self._db.close()


class _Pairs:
    """Everything that is counted of joined rows."""

    def __init__(self, kind: Kind, how: Resampling) -> None:
        self._kind = kind

        def both(pair: tuple[Key, Key]) -> Numbers:
            return np.hstack([kind.statistics(pair[0]), kind.statistics(pair[1])])

        self.weighted = Sums(2 * kind.width, both, draws=how.draws, seed=how.seed)
        self.swapped = Swaps(2 * kind.width, both, draws=how.draws, seed=how.seed)
        self.only: dict[str, Counter[bool]] = {name: Counter() for name in kind.tests}
        self.bought = Purchases(), Purchases()
        self.failed = [0, 0]
        self.alone = [0, 0]
        self.joined = self.differs = 0

    def add(self, kept: _Kept, row: GoldRow, key: Key) -> None:
        self.joined += 1
        self.weighted.add((kept.key, key))
        self.swapped.add((kept.key, key))
        for name, test in self._kind.tests.items():
            if (first := test(kept.key)) != test(key):
                self.only[name][first] += 1
        self.failed[0] += kept.failed
        self.failed[1] += row.answer is None
        right = self._kind.is_right
        self.bought[0].add(kept.cost, kept.currency, is_right=right(kept.key))
        self.bought[1].add(row.cost, row.currency, is_right=right(key))

    def compared(self) -> dict[str, Compared]:
        self.weighted.flush()
        self.swapped.flush()
        return {name: self._compared(name, of) for name, of in self._kind.measures.items()}

    def _compared(self, name: str, measure: MeasureOf) -> Compared:
        first, second = (float(measure(half)) for half in np.split(self.weighted.total, 2))
        low, high = interval(_difference(measure, self.weighted.drawn))
        difference = second - first
        if name in self.only:
            only = self.only[name]
            p, test = mcnemar(only[True], only[False]), "mcnemar"
        else:
            by_chance = _difference(measure, self.swapped.drawn)
            p, test = share_as_extreme(by_chance, difference), "randomization"
        return Compared(
            number(first), number(second), number(difference), number(low), number(high), p, test
        )


def compare(first: Golden, second: Golden, how: Resampling) -> Comparison:
    """Both runs on the rows that both have; raises `UsageError` if they cannot be compared."""
    if _way(first) != _way(second):
        raise UsageError(
            f"{second.run.folder.path}: is scored as {_way(second)}, the other run as "
            f"{_way(first)}; say what holds for both with --gold and --kind"
        )
    pairs = _paired(first, second, how)
    if not pairs.joined:
        raise UsageError(
            f"{second.run.folder.path}: has no scored row in common with "
            f"{first.run.folder.path}; rows are joined by custom_id"
        )
    return Comparison(
        kind=first.kind,
        first=_side(first, pairs, 0),
        second=_side(second, pairs, 1),
        joined=pairs.joined,
        gold_differs=pairs.differs,
        measures=pairs.compared(),
        draws=how.draws,
        seed=how.seed,
    )


def _paired(first: Golden, second: Golden, how: Resampling) -> _Pairs:
    kind = new_kind([first, second])
    pairs = _Pairs(kind, how)
    with closing(_Rows(kind.key_type)) as rows:
        for row, key in judged(first.rows(), kind):
            if key is not None:
                kept = _Kept(key, _identity(row), row.cost, row.currency, row.answer is None)
                rows.put(row.custom_id, kept)
        for row, key in judged(second.rows(), kind):
            if key is None:
                continue
            before = rows.get(row.custom_id)
            if before is None:
                pairs.alone[1] += 1
            elif before.gold != _identity(row):
                pairs.differs += 1
            else:
                pairs.add(before, row, key)
        pairs.alone[0] = rows.count - pairs.joined - pairs.differs
    return pairs


def _way(golden: Golden) -> str:
    """What both runs must have in common; where the one answer stands may differ."""
    is_one = golden.kind is not ScoreKind.FIELDS
    return str(golden.kind) if is_one else f"{golden.kind} {', '.join(golden.pairs)}"


def _side(golden: Golden, pairs: _Pairs, at: int) -> Side:
    return Side(
        folder=str(golden.run.folder.path),
        failed=pairs.failed[at],
        alone=pairs.alone[at],
        missing=golden.run.missing,
        costs=pairs.bought[at].costs(),
    )


def _identity(row: GoldRow) -> bytes:
    return hashlib.blake2b(as_text(row.gold).encode("utf-8", "replace"), digest_size=16).digest()


def _difference(measure: MeasureOf, sums: Numbers) -> Numbers:
    first, second = np.split(sums, 2, axis=-1)
    return measure(second) - measure(first)
