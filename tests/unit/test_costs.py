"""Costs over runs: exact, on China's days, by the key of the start, and all of the total."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from batchkit.costs import Group, Spent, as_arrow, as_objects, find_runs, grouped, run_costs
from batchkit.errors import Billing, UsageError
from batchkit.folder import RunFolder
from batchkit.journal import DamagedError, Journal, Settled
from batchkit.records import Usage
from batchkit.tally import ModelTally, Tally, encode_tally
from tests.runs import make_run
from tests.samples import new_attempt, new_settled

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()
COST = 65_000_000  # of an attempt, PICO
PLAIN = Spent(attempts=1, prompt_tokens=10, cached_tokens=4, completion_tokens=5, cost=COST)


def at(second: float, row: int = 0, **fields: Any) -> Settled:
    one = new_settled(row)
    attempt = new_attempt(row, number=2, started_at=second, **fields)
    return msgspec.structs.replace(one, attempt=attempt)


def tally_of(rows: Sequence[Settled], *attempts: Any, currency: str = "CNY") -> Tally:
    tally = Tally()
    model = tally.of("glm-4-plus", currency)
    for attempt in (*(row.attempt for row in rows), *attempts):
        model.add_attempt(attempt)
    return tally


def keep_tally(folder: Path, tally: Tally) -> None:
    with closing(Journal.open(RunFolder(folder).journal)) as journal:
        journal.put_all({"tally": encode_tally(tally)})


def group(folder: Path, day: date | None, **fields: Any) -> Group:
    plain = Group(day, "glm-4-plus", "demo", None, str(folder), simulated=False, currency="CNY")
    return msgspec.structs.replace(plain, **fields)


def times(count: int) -> Spent:
    return sum([PLAIN] * count, Spent())


@pytest.mark.parametrize("sealed", [0, 1])
def test_attempts_of_parts_and_journal_are_added_up(tmp_path: Path, sealed: int) -> None:
    """Five settled rows, an earlier attempt of one, and one of a row that has not settled."""
    rows = [at(MONDAY, row) for row in range(5)]
    earlier = [new_attempt(1, started_at=MONDAY), new_attempt(6, started_at=MONDAY)]
    folder = make_run(
        tmp_path / "a", rows, attempts=earlier, planned=8, sealed=sealed, spec="jobs/demo/job.toml"
    )
    keep_tally(folder, tally_of(rows, *earlier))
    found = run_costs(folder)
    assert found.sums == {group(folder, date(2026, 11, 23)): times(7)}
    assert (found.damage, found.is_running) == ([], False)


def test_a_day_begins_at_midnight_in_china(tmp_path: Path) -> None:
    evening = datetime(2026, 11, 23, 15, 59, 59, 999_999, tzinfo=UTC).timestamp()
    rows = [at(evening, 0), at(evening + 0.000_002, 1)]
    folder = make_run(tmp_path / "a", rows, spec="demo.toml")
    keep_tally(folder, tally_of(rows))
    assert run_costs(folder).sums == {
        group(folder, date(2026, 11, 23)): PLAIN,
        group(folder, date(2026, 11, 24)): PLAIN,
    }


def test_an_attempt_is_paid_with_the_key_of_its_start(tmp_path: Path) -> None:
    rows = [at(MONDAY - 1, 0), at(MONDAY, 1), at(MONDAY + 50, 2), at(MONDAY + 100, 3)]
    starts = [
        {"at": MONDAY + 100, "endpoint": "bigmodel", "keys": {"glm-4-plus": "bb"}},
        {"at": MONDAY, "endpoint": "bigmodel", "keys": {"glm-4-plus": "aa"}},
        {"at": "long ago"},
    ]
    folder = make_run(tmp_path / "a", rows, spec="demo.toml", starts=starts)
    keep_tally(folder, tally_of(rows))
    day = date(2026, 11, 23)
    assert run_costs(folder).sums == {
        group(folder, day): PLAIN,
        group(folder, day, key="aa"): times(2),
        group(folder, day, key="bb"): PLAIN,
    }


def test_simulated_money_and_currencies_never_mix(tmp_path: Path) -> None:
    rows = [at(MONDAY)]
    sums: dict[Group, Spent] = {}
    for name, endpoint, currency in (
        ("a", "sim", "CNY"),
        ("b", "bigmodel", "CNY"),
        ("c", "", "USD"),
    ):
        starts = [{"at": MONDAY, "endpoint": endpoint, "keys": {}}]
        folder = make_run(tmp_path / name, rows, spec="demo.toml", starts=starts)
        keep_tally(folder, tally_of(rows, currency=currency))
        sums |= run_costs(folder).sums
    found = [(one.simulated, one.currency, spent.cost) for one, spent in grouped(sums, ()).items()]
    assert found == [(False, "CNY", COST), (False, "USD", COST), (True, "CNY", COST)]


def test_unknown_billing_is_apart_with_what_kills_left(tmp_path: Path) -> None:
    unknown = {"cost": 0, "usage": Usage(), "billing": Billing.UNKNOWN, "bound": 7}
    rows = [at(MONDAY, 0), at(MONDAY, 1, **unknown)]
    folder = make_run(tmp_path / "a", rows, spec="demo.toml", sealed=1)
    tally = tally_of(rows)
    tally.models["glm-4-plus"].killed_attempts = 3
    tally.models["glm-4-plus"].killed_bound = 30
    keep_tally(folder, tally)
    assert run_costs(folder).sums == {
        group(folder, date(2026, 11, 23)): PLAIN
        + Spent(attempts=1, unknown_attempts=1, unknown_bound=7),
        group(folder, None): Spent(unknown_attempts=3, unknown_bound=30),
    }


def test_what_removed_rows_cost_has_no_day(tmp_path: Path) -> None:
    rows = [at(MONDAY, 0)]
    folder = make_run(tmp_path / "a", rows, spec="demo.toml")
    tally = tally_of(rows)
    tally.retired["glm-4-air"] = ModelTally(attempts=2, cost=9, usage=Usage(1, 0, 1))
    keep_tally(folder, tally)
    gone = Spent(attempts=2, cost=9, prompt_tokens=1, completion_tokens=1)
    assert run_costs(folder).sums[group(folder, None, model="glm-4-air")] == gone


@pytest.mark.parametrize("harm", ["changed", "cut", "removed"])
def test_a_damaged_part_is_named_and_its_cost_is_kept(tmp_path: Path, harm: str) -> None:
    rows = [at(MONDAY, row) for row in range(6)]
    folder = make_run(tmp_path / "a", rows, spec="demo.toml", sealed=1)
    keep_tally(folder, tally_of(rows))
    part = folder / "attempts/part-00000.arrow"
    content = bytearray(part.read_bytes())
    content[200] ^= 1
    part.write_bytes(content if harm == "changed" else content[:100])
    if harm == "removed":
        part.unlink()
    found = run_costs(folder)
    assert [fault.startswith(str(part)) for fault in found.damage] == [True]
    assert found.sums == {
        group(folder, date(2026, 11, 23)): times(2),
        group(folder, None): times(4),
    }


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", [at(MONDAY)])
    RunFolder(folder).journal.write_bytes(b"SQLite format 3\0 but not really")
    with pytest.raises(DamagedError, match=r"journal\.db"):
        run_costs(folder)


def test_runs_are_found_in_a_folder_of_them(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, []) for name in ("b", "a")]
    (tmp_path / "c").mkdir()
    assert find_runs(tmp_path) == sorted(runs)
    assert find_runs(runs[0]) == [runs[0]]
    assert find_runs(tmp_path / "c") == []
    with pytest.raises(UsageError, match="no run here"):
        run_costs(tmp_path / "nowhere")


def test_groups_are_sorted_and_what_is_unknown_comes_last(tmp_path: Path) -> None:
    days = (date(2026, 11, 24), None, date(2026, 2, 3))
    sums = {group(tmp_path, day, key=key): PLAIN for day in days for key in ("b", None)}
    found = [(one.day, one.key, one.run) for one in grouped(sums, ["day", "key"])]
    assert found == [
        (date(2026, 2, 3), "b", None),
        (date(2026, 2, 3), None, None),
        (date(2026, 11, 24), "b", None),
        (date(2026, 11, 24), None, None),
        (None, "b", None),
        (None, None, None),
    ]
    assert list(grouped(sums, ["key"]).values()) == [times(3), times(3)]


def test_sums_as_columns_are_exact(tmp_path: Path) -> None:
    much = Spent(cost=10**24 + 1, unknown_bound=1, unknown_attempts=1)
    sums = {group(tmp_path, date(2026, 2, 3), run=None): much}
    table = as_arrow(sums, ["day", "model"])
    assert table.schema.names[:4] == ["day", "model", "simulated", "currency"]
    assert table.schema.field("cost").type == pa.decimal128(38, 12)
    assert str(table.column("cost")[0].as_py()) == "1000000000000.000000000001"
    (row,) = as_objects(sums, ["model"])
    assert (row["cost"], row["unknown_bound"]) == ("1000000000000.000000000001", "0.000000000001")
    assert next(iter(row)) == "model"


def test_a_copied_run_without_its_record_still_counts(tmp_path: Path) -> None:
    rows = [at(MONDAY)]
    folder = make_run(tmp_path / "a", rows, spec="demo.toml")
    keep_tally(folder, tally_of(rows))
    (folder / "run.json").unlink()
    copy = Path(shutil.copytree(folder, tmp_path / "b"))
    assert run_costs(copy).sums == {group(copy, date(2026, 11, 23), job=None): PLAIN}
