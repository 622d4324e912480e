"""Going on: after a stop, with a changed input, with failed rows, with a damaged folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from batchkit import opening
from batchkit.journal import Journal
from tests.e2e.conftest import Command, Done, Simulate, prompts, summary_of, write_rows

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PART_ROWS", 10)


class Bench:
    """One run in `out` over `q.jsonl`, asked of one simulated service."""

    def __init__(self, batchkit: Command, simulate: Simulate, here: Path) -> None:
        self.here = here
        self.service = simulate(record=True, marks={"[[filter]]": "filtered", "[[bad]]": "1214"})
        self._batchkit = batchkit

    def run(self, *words: str, rows: Rows | None = None, code: int = 0) -> Done:
        if rows is not None:
            write_rows(self.here / "q.jsonl", rows)
        url = self.service.url
        done = self._batchkit("run", "q.jsonl", "--endpoint", url, "-o", "out", *words)
        assert done.code == code, done.err
        return done

    @property
    def sent(self) -> int:
        return self.service.service.stats.requests

    def table(self, folder: str = "results") -> Rows:
        found: Rows = ds.dataset(self.here / "out" / folder, format="arrow").to_table().to_pylist()
        return found

    def check(self, ids: Sequence[str]) -> None:
        """The results are exactly `ids`, in order, and the money adds up."""
        table, attempts = self.table(), self.table("attempts")
        assert [row["custom_id"] for row in table] == list(ids)
        assert [row["row"] for row in table] == list(range(len(ids)))
        summary = summary_of(self.here / "out")
        cost = sum(row["cost"] for row in table)
        assert Decimal(summary["cost"]) == cost == sum(row["cost"] for row in attempts)
        assert summary["attempts"] == len(attempts) == sum(row["attempts"] for row in table)
        assert summary["rows"] == summary["ok"] + summary["failed"] == len(ids)


@pytest.fixture
def bench(batchkit: Command, simulate: Simulate, here: Path) -> Bench:
    return Bench(batchkit, simulate, here)


def paid(count: int) -> Rows:
    return prompts(count, model="glm-4-plus", max_tokens=20)


def ids(rows: Rows) -> list[str]:
    return [row["custom_id"] for row in rows]


def test_rows_that_were_answered_are_never_asked_again(bench: Bench) -> None:
    rows = paid(35)
    bench.run("--budget", "0.003", rows=rows, code=3)
    first = bench.sent
    assert 0 < first < 35
    done = bench.run("--json")
    assert bench.sent == 35
    assert f"going on in out: {first} of 35 rows are done" in done.err
    bench.check(ids(rows))


@pytest.mark.parametrize("appended", [1, 5, 40])
def test_appended_rows_are_asked_alone(bench: Bench, appended: int) -> None:
    rows = paid(25 + appended)
    bench.run(rows=rows[:25])
    refused = bench.run(rows=rows, code=2)
    assert f"{appended} new; {appended} to ask (about " in refused.err
    done = bench.run("--update")
    assert f"updating: {appended} new" in done.err
    assert bench.sent == 25 + appended
    bench.check(ids(rows))


def test_a_changed_row_alone_is_asked_and_keeps_what_it_spent(bench: Bench) -> None:
    rows = paid(25)
    bench.run(rows=rows)
    before = bench.table()
    rows[7] = rows[7] | {"prompt": "Another question?"}
    assert "1 changed; 1 to ask" in bench.run(rows=rows, code=2).err
    bench.run("--update")
    assert bench.sent == 26
    after = bench.table()
    assert [row for row in after if row["row"] != 7] == [r for r in before if r["row"] != 7]
    assert after[7]["attempts"] == 2
    assert after[7]["cost"] > before[7]["cost"]
    bench.check(ids(rows))


def test_removed_and_reordered_rows_are_kept_by_their_ids(bench: Bench) -> None:
    rows = paid(35)
    bench.run(rows=rows)
    contents = {row["custom_id"]: row["content"] for row in bench.table()}
    fewer = [row for row in reversed(rows) if row["custom_id"] not in {"q-3", "q-30"}]
    assert "2 removed" in bench.run(rows=fewer, code=2).err
    bench.run("--update")
    assert bench.sent == 35
    assert {r["custom_id"]: r["content"] for r in bench.table()} == {
        row["custom_id"]: contents[row["custom_id"]] for row in fewer
    }
    bench.check(ids(fewer))
    assert sorted(path.name for path in (bench.here / "out/results").iterdir()) == [
        f"part-{n:05}.arrow" for n in range(4)
    ]


def test_what_removed_rows_cost_is_kept_apart(bench: Bench) -> None:
    rows = paid(12)
    bench.run(rows=rows)
    gone = bench.table()[0]["cost"]
    done = bench.run("--update", "--json", rows=rows[1:])
    assert Decimal(json.loads(done.out)["retired_costs"]["CNY"]) == gone
    bench.check(ids(rows[1:]))


def test_only_the_files_form_changed_goes_on_at_once(bench: Bench) -> None:
    rows = paid(15)
    bench.run(rows=rows)
    text = (bench.here / "q.jsonl").read_text("utf-8")
    (bench.here / "q.jsonl").write_text(text.replace(": ", " :  ") + "\n\n", "utf-8")
    bench.run()
    assert bench.sent == 15
    bench.check(ids(rows))


def test_another_model_asks_every_row_without_one_of_its_own(bench: Bench) -> None:
    rows = [{"custom_id": str(n), "prompt": f"Q {n}"} for n in range(12)]
    rows[3]["model"] = "glm-4-air-250414"
    bench.run("--model", "glm-4-plus", rows=rows)
    words = bench.run("--model", "glm-4-flashx-250414", code=2).err
    assert "another model: 11 changed; 11 to ask (about" in words
    bench.run("--model", "glm-4-flashx-250414", "--update")
    assert bench.sent == 23
    models = [row["model"] for row in bench.table()]
    assert models.count("glm-4-flashx-250414") == 11


def test_a_limit_can_be_lifted(bench: Bench) -> None:
    rows = paid(30)
    bench.run("--limit", "12", rows=rows)
    assert "was begun with --limit 12: 18 new" in bench.run(code=2).err
    bench.run("--update")
    assert bench.sent == 30
    bench.check(ids(rows))


def test_a_stopped_run_can_be_updated(bench: Bench) -> None:
    rows = paid(35)
    bench.run("--budget", "0.003", rows=rows, code=3)
    sent = bench.sent
    bench.run("--update", rows=rows[::-1])
    assert bench.sent == 35 > sent
    bench.check(ids(rows[::-1]))


def test_other_prices_tier_and_endpoint_ask_nothing_again(bench: Bench, simulate: Simulate) -> None:
    bench.run(rows=paid(5))
    (bench.here / "more.toml").write_text(
        '[models."glm-4-plus"]\nprice = { input = "7" }\n', "utf-8"
    )
    other = simulate(tier="V1").url
    bench.run("--models", "more.toml", "--tier", "V1", "--endpoint", other)
    assert bench.sent == 5
    starts = json.loads((bench.here / "out/run.json").read_text("utf-8"))["starts"]
    assert [start["tier"] for start in starts] == ["V0", "V1"]
    assert [start["models"]["glm-4-plus"]["price"]["input"] for start in starts] == ["5", "7"]


def test_parquet_parts_go_back_to_the_journal_too(bench: Bench, simulate: Simulate) -> None:
    rows = paid(25)
    rows[4] = rows[4] | {"prompt": "x [[filter]]"}
    bench.run("--format", "parquet", rows=rows, code=1)
    bench.service = simulate()
    bench.run("--format", "parquet", "--retry-failed")
    found = ds.dataset(bench.here / "out/results", format="parquet").to_table().to_pylist()
    assert [(row["custom_id"], row["status"]) for row in found] == [(i, "ok") for i in ids(rows)]
    assert bench.sent == 1


def test_failed_rows_are_asked_again_on_request(bench: Bench, simulate: Simulate) -> None:
    rows = paid(35)
    rows[4] = rows[4] | {"prompt": "x [[filter]]"}
    rows[17] = rows[17] | {"prompt": "y [[bad]]"}
    bench.run(rows=rows, code=1)
    before = bench.table()
    assert bench.run(code=1).code == 1
    bench.service = simulate()
    bench.run("--retry-failed", "content_filtered", code=1)
    assert bench.sent == 1
    done = bench.run("--retry-failed")
    assert "1 failed rows will be asked again" in done.err
    assert bench.sent == 2
    after = bench.table()
    same = [row for row in after if row["row"] not in {4, 17}]
    assert same == [row for row in before if row["row"] not in {4, 17}]
    assert [after[n]["attempts"] for n in (4, 17)] == [2, 2]
    bench.check(ids(rows))


def test_retry_failed_takes_known_kinds_only(bench: Bench) -> None:
    assert (
        "--retry-failed: expected kinds"
        in bench.run("--retry-failed", "x", rows=paid(1), code=2).err
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("flip", "its content is not what was sealed (rows 10 to 19)"),
        ("cut", "was sealed with"),
        ("delete", "part-00001.arrow: is missing (rows 10 to 19)"),
    ],
)
def test_a_damaged_part_is_named_and_can_be_asked_again(
    damage: str, words: str, bench: Bench, batchkit: Command
) -> None:
    rows = paid(35)
    bench.run(rows=rows)
    part = bench.here / "out/results/part-00001.arrow"
    content = bytearray(part.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    elif damage == "cut":
        part.write_bytes(content[:-100])
    else:
        part.unlink()
    done = bench.run(code=3)
    assert words in done.err
    assert "--reask-damaged" in done.err
    status = batchkit("status", "out")
    assert (status.code, words in status.out) == (0, True), status.out
    assert bench.sent == 35
    bench.run("--reask-damaged")
    assert bench.sent == 45
    bench.check(ids(rows))


def test_a_damaged_value_in_the_journal_is_named(bench: Bench, batchkit: Command) -> None:
    rows = paid(15)
    bench.run("--budget", "0.001", rows=rows, code=3)
    sent = bench.sent
    journal = Journal.open(bench.here / "out/journal.db")
    journal.connection.execute(
        "UPDATE result SET value = "
        "CAST(substr(value, 1, 40) || x'00' || substr(value, 42) AS BLOB) "
        "WHERE row = (SELECT min(row) FROM result)"
    )
    journal.close()
    done = bench.run(code=3)
    assert "a value does not match its checksum (row " in done.err
    assert "a value does not match its checksum (row " in batchkit("status", "out").out
    bench.run("--reask-damaged")
    assert bench.sent == 15 + 1 > sent + 1
    bench.check(ids(rows))


def test_a_file_of_somebody_else_is_named(bench: Bench) -> None:
    bench.run(rows=paid(5))
    stray = bench.here / "out/results/part-00007.arrow"
    stray.write_bytes(b"not ours")
    assert "part-00007.arrow: is not of this run; move it away" in bench.run(code=3).err
    stray.unlink()
    bench.run()


def test_a_dry_run_says_what_would_be_asked_and_why(bench: Bench) -> None:
    rows = paid(12)
    words = bench.run("--dry-run", rows=rows).out
    assert "12 new" in words
    assert not (bench.here / "out/journal.db").exists()
    bench.run()
    changed = [*rows[:-1], rows[-1] | {"prompt": "other"}, *prompts(20)[15:]]
    words = bench.run("--dry-run", rows=changed).out
    for line in ("11 kept", "1 changed", "5 new"):
        assert line in words
    assert bench.sent == 12
