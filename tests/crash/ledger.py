"""What a run's folder holds, read and added up apart from the code that wrote it."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow.dataset as ds

from batchkit.damage import find_damage
from batchkit.errors import Billing
from batchkit.folder import RunFolder
from batchkit.journal import Journal, Settled, SettledChunk
from batchkit.opening import clear_remains, take_up
from batchkit.parts import Layout
from batchkit.plan import decode_plan
from batchkit.records import Attempt, Result
from batchkit.session import InFlightAtKill
from batchkit.spec import Format
from batchkit.tally import Tally
from batchkit.unseal import read_part


class Ledger(NamedTuple):
    """The durable state of a run that nobody works on."""

    total_rows: int
    results: dict[int, Result]
    attempts: dict[tuple[int, int, int], Attempt]  # by row, chunk (0: none) and number
    chunks: dict[tuple[int, int], SettledChunk]  # of rows that are not ok
    tally: Tally
    at_kill: list[InFlightAtKill]

    @property
    def unrecorded_at_most(self) -> int:
        """Attempts that kills left unrecorded, the last kill included."""
        earlier = sum(model.killed_attempts for model in self.tally.models.values())
        return earlier + sum(one.attempts for one in self.at_kill)

    def includes(self, earlier: Ledger) -> bool:
        """Whether nothing of `earlier` was lost or changed."""
        return (
            earlier.results.items() <= self.results.items()
            and earlier.attempts.items() <= self.attempts.items()
            and all(self._has(chunk) for chunk in earlier.chunks.values())
        )

    def _has(self, chunk: SettledChunk) -> bool:
        """Whether a chunk's answer is still there, or has gone into its row's result."""
        row = chunk.result.row
        settled = self.results.get(row)
        if settled is not None and settled.status == "ok":
            return True
        return self.chunks.get((row, chunk.chunk)) == chunk


def read_ledger(out: Path) -> Ledger | None:
    """The ledger of the run in `out`, checked; None if it has no plan yet. Leaves `out` alone."""
    if not out.exists():
        return None
    with tempfile.TemporaryDirectory(prefix="ledger-") as scratch:
        copy = Path(scratch) / "out"
        shutil.copytree(out, copy)
        return take_ledger(copy)


def take_ledger(out: Path) -> Ledger | None:
    """`read_ledger` in place: takes the run up, as the next start would."""
    folder = RunFolder(out)
    if not folder.journal.exists():
        return None
    with closing(Journal.open(folder.journal)) as journal:
        blob = journal.get("plan")
        if blob is None:
            return None
        plan = decode_plan(blob)
        assert find_damage(folder, journal, plan) == []
        clear_remains(folder, journal, plan)
        layout = Layout(folder.path, Format(plan.format), None, (), {})
        records: list[Settled | Attempt] = []
        for part in journal.parts():
            records += read_part(layout, part.part, lambda _content: None)
        records += journal.settled(0, plan.rows)
        records += journal.attempts(0, plan.rows)
        chunks = {(one.result.row, one.chunk): one for one in journal.chunks(0, plan.rows)}
        opened = take_up(journal, plan)
        ledger = Ledger(plan.rows, *_sorted(records), chunks, opened.tally, opened.at_kill)
        for path in (*folder.results.glob("*"), *folder.attempts.glob("*")):
            assert int(path.stem.removeprefix("part-")) < opened.settled.parts, f"{path} is stale"
    _check(ledger)
    return ledger


def _sorted(
    records: list[Settled | Attempt],
) -> tuple[dict[int, Result], dict[tuple[int, int, int], Attempt]]:
    results: dict[int, Result] = {}
    attempts: dict[tuple[int, int, int], Attempt] = {}
    for record in records:
        if isinstance(record, Settled):
            assert record.result.row not in results, f"row {record.result.row} stands twice"
            results[record.result.row] = record.result
        attempt = record if isinstance(record, Attempt) else record.attempt
        if attempt is not None:
            key = (attempt.row, attempt.chunk or 0, attempt.attempt)
            assert key not in attempts, f"attempt {key} stands twice"
            attempts[key] = _rounded(attempt)
    return {row: _rounded(result) for row, result in results.items()}, attempts


def _rounded(record: Any) -> Any:
    """Times as a part stores them."""
    changes = {
        name: round(getattr(record, name) * 1e6) / 1e6
        for name in ("started_at", "finished_at")
        if hasattr(record, name)
    }
    return msgspec.structs.replace(record, **changes)


def _check(ledger: Ledger) -> None:
    """The tally is of exactly what stands there, and each row's money is that of its attempts."""
    counted: Counter[str] = Counter()
    spent: Counter[int] = Counter()
    begun: Counter[int] = Counter()
    for (row, _, _), attempt in ledger.attempts.items():
        counted["attempts"] += 1
        counted["cost"] += attempt.cost
        counted["tokens"] += attempt.usage.prompt + attempt.usage.completion
        counted["unknown"] += attempt.billing is Billing.UNKNOWN
        spent[row] += attempt.cost
        begun[row] += 1
    for row, result in ledger.results.items():
        counted[result.status] += 1
        assert (result.cost, result.attempts) == (spent[row], begun[row]), f"row {row}"
    total = ledger.tally.total()
    assert {
        "attempts": total.attempts,
        "cost": total.cost,
        "tokens": total.usage.prompt + total.usage.completion,
        "unknown": total.unknown_attempts,
        "ok": total.ok,
        "failed": total.failed,
    } == {name: counted[name] for name in ("attempts", "cost", "tokens", "unknown", "ok", "failed")}


def table(out: Path, folder: str = "results") -> list[dict[str, Any]]:
    """The sealed rows, as any reader sees them."""
    rows: list[dict[str, Any]] = ds.dataset(out / folder, format="arrow").to_table().to_pylist()
    return rows


def summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((out / "summary.json").read_bytes())
    return found


_OF_THE_MOMENT = {
    "attempts",
    "latency_s",
    "total_s",
    "finished_at",
    "response_id",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "total_tokens",
    "cost",
}
"""Columns that attempts before the last have a part in, or the clock."""


def lasting(out: Path) -> list[dict[str, Any]]:
    """The finished results without what differs from run to run, with each last attempt's bill.

    A row that has the answer of an equal one has no attempt.
    """
    last = {attempt["row"]: attempt for attempt in table(out, "attempts")}
    bill = ("prompt_tokens", "cached_tokens", "completion_tokens", "cost", "billing")
    none = dict.fromkeys(bill)
    return [
        {name: value for name, value in row.items() if name not in _OF_THE_MOMENT}
        | {f"last {name}": last.get(row["row"], none)[name] for name in bill}
        for row in table(out)
    ]


def check_finished(out: Path, ids: list[str]) -> None:
    """One row per request in input order, whole, and the money adds up to the last digit."""
    rows, attempts, totals = table(out), table(out, "attempts"), summary(out)
    assert [row["custom_id"] for row in rows] == ids
    assert [row["row"] for row in rows] == list(range(len(ids)))
    cost = sum(row["cost"] for row in rows)
    assert cost == sum(attempt["cost"] for attempt in attempts)
    if totals["currency"] is not None:
        assert totals["costs"] == {totals["currency"]: f"{cost.normalize():f}"}
    assert totals["attempts"] == len(attempts) == sum(row["attempts"] for row in rows)
    assert totals["rows"] == totals["ok"] + totals["failed"] == len(ids)
    ledger = read_ledger(out)
    assert ledger is not None
    assert len(ledger.results) == len(ids)
