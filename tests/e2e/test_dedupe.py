"""Equal rows, asked once: what the service sees, what each row gets, and going on."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow.dataset as ds
import pytest

from batchkit import execution, opening
from batchkit.simulator.server import Running
from tests.e2e.conftest import Command, Done, Simulate, summary_of, write_rows

Rows = list[dict[str, Any]]
Form = Literal["arrow", "parquet"]
MARKS = {"[[filter]]": "filtered", "[[denied]]": "1220"}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PART_ROWS", 4)


class Bench:
    """Runs of `q.jsonl` with `--dedupe`, in `out`."""

    def __init__(self, batchkit: Command, simulate: Simulate, here: Path) -> None:
        self.here = here
        self.service = simulate(marks=MARKS)
        self.batchkit = batchkit

    def run(
        self, *words: str, rows: Rows | None = None, code: int = 0, at: Running | None = None
    ) -> Done:
        if rows is not None:
            write_rows(self.here / "q.jsonl", rows)
        url = (at or self.service).url
        done = self.batchkit("run", "q.jsonl", "--endpoint", url, "--dedupe", "-o", "out", *words)
        assert done.code == code, done.err
        return done

    @property
    def sent(self) -> int:
        return self.service.service.stats.requests

    def table(self, form: Form = "arrow") -> Rows:
        found: Rows = ds.dataset(self.here / "out" / "results", format=form).to_table().to_pylist()
        return found


@pytest.fixture
def bench(batchkit: Command, simulate: Simulate, here: Path) -> Bench:
    return Bench(batchkit, simulate, here)


def asking(words: str, model: str = "glm-4-plus", **rest: Any) -> Rows:
    """A row per letter: equal letters ask the same."""
    return [
        {"custom_id": f"{letter}{n}", "model": model, "prompt": f"What is {letter}?", **rest}
        for n, letter in enumerate(words)
    ]


ANSWERED = (
    "status",
    "content",
    "finish_reason",
    "tool_calls",
    "error_kind",
    "error_code",
    "error_message",
    "http_status",
    "response_id",
    "response_model",
)


def check_copies(table: Rows) -> None:
    """Each copy has what the first row of its letter was answered, and cost nothing."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table:
        original = first.setdefault((row["model"], row["custom_id"][0]), row)
        assert row["deduplicated"] == (row is not original), row["custom_id"]
        assert [row[name] for name in ANSWERED] == [original[name] for name in ANSWERED]
        if row is not original:
            bill = (row["cost"], row["total_tokens"], row["attempts"], row["latency_s"])
            assert bill == (0, 0, 0, None)


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_equal_rows_are_asked_once_and_keep_what_is_their_own(bench: Bench, form: Form) -> None:
    rows = asking("abacabbdaa")
    for number, row in enumerate(rows):
        row["metadata"] = {"n": number}
    bench.run("--format", form, rows=rows)
    assert bench.sent == 4
    table = bench.table(form)
    check_copies(table)
    assert [row["custom_id"] for row in table] == [row["custom_id"] for row in rows]
    assert [json.loads(row["metadata"]) for row in table] == [row["metadata"] for row in rows]
    summary = summary_of(bench.here / "out")
    assert (summary["rows"], summary["ok"], summary["deduplicated"]) == (10, 10, 6)
    assert summary["attempts"] == 4
    assert Decimal(summary["cost"]) == sum(row["cost"] for row in table) > 0


def test_rows_are_equal_only_if_model_messages_and_parameters_are(bench: Bench) -> None:
    rows = [
        *asking("ab"),
        *asking("ab", model="glm-4-air-250414"),
        *asking("ab", max_tokens=5),
        *asking("ab", max_tokens=5, temperature=0.5),
        *asking("ab", temperature=0.5, max_tokens=5),
    ]
    for number, row in enumerate(rows):
        row["custom_id"] = str(number)
    bench.run(rows=rows)
    assert bench.sent == 8
    assert [row["deduplicated"] for row in bench.table()] == [False] * 8 + [True] * 2


def test_without_dedupe_every_row_is_asked(bench: Bench) -> None:
    write_rows(bench.here / "q.jsonl", asking("aab"))
    done = bench.batchkit("run", "q.jsonl", "--endpoint", bench.service.url, "-o", "plain")
    assert (done.code, bench.sent) == (0, 3)
    table = ds.dataset(bench.here / "plain" / "results", format="arrow").to_table()
    assert "deduplicated" not in table.column_names
    assert summary_of(bench.here / "plain")["deduplicated"] == 0


def test_a_failed_original_fails_its_copies_and_is_retried_once_for_all(
    bench: Bench, simulate: Simulate
) -> None:
    rows = asking("abab", metadata={"own": True})
    for row in rows[::2]:
        row["prompt"] += " [[filter]]"
    bench.run(rows=rows, code=1)
    assert bench.sent == 2
    check_copies(bench.table())
    assert [row["error_kind"] for row in bench.table()] == ["content_filtered", None] * 2
    assert summary_of(bench.here / "out")["failed"] == 2
    bench.run("--retry-failed", "timeout", code=1)
    assert bench.sent == 2
    kinder = simulate()
    bench.run("--retry-failed", "content_filtered", at=kinder)
    assert kinder.service.stats.requests == 1
    check_copies(bench.table())
    assert [row["attempts"] for row in bench.table()] == [2, 1, 0, 0]


def test_copies_that_come_later_get_the_answer_that_is_there(
    bench: Bench, simulate: Simulate
) -> None:
    """Of a row in a sealed part, and of one that stands in the journal."""
    rows = asking("abcde")
    last = {"custom_id": "z", "model": "glm-4-air-250414", "prompt": "[[denied]]"}
    bench.run(rows=[*rows, last], code=3)
    later = [{**row, "custom_id": f"later-{n}"} for n, row in enumerate((*rows, rows[0]))]
    kinder = simulate()
    bench.run("--update", rows=[*rows, last, *later], at=kinder)
    assert kinder.service.stats.requests == 1
    table = bench.table()
    assert [row["deduplicated"] for row in table] == [False] * 6 + [True] * 6
    answers = [row["content"] for row in table]
    assert answers[6:] == [*answers[:5], answers[0]]


def test_an_answer_outlives_the_row_that_was_asked_for_it(bench: Bench) -> None:
    bench.run(rows=asking("abab"))
    bench.run("--update", rows=asking("abab")[2:])
    assert bench.sent == 2
    assert [row["deduplicated"] for row in bench.table()] == [True, True]
    again = [{**row, "custom_id": f"{row['custom_id']}-new"} for row in asking("bbaac")]
    bench.run("--update", rows=again)
    assert bench.sent == 3
    assert [row["deduplicated"] for row in bench.table()] == [True] * 4 + [False]


def test_copies_of_a_stopped_model_wait_and_those_of_others_settle(
    bench: Bench, simulate: Simulate
) -> None:
    rows = [*asking("aa", model="glm-4-air-250414"), *asking("bbb")]
    for row in rows[:2]:
        row["prompt"] += " [[denied]]"
    bench.run(rows=rows, code=3)
    done = bench.batchkit("status", "out", "--json")
    summary = json.loads(done.out)["summary"]
    assert (summary["ok"], summary["failed"], summary["deduplicated"]) == (3, 0, 2)
    kinder = simulate()
    bench.run(at=kinder)
    assert kinder.service.stats.requests == 1
    check_copies(bench.table())


@pytest.fixture
def half(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A run that ended when its originals had settled and no copy had."""
    with monkeypatch.context() as patched:
        patched.setattr(execution, "open_copies", lambda _shared: None)
        bench.run(rows=asking("aabcb"), code=3)
    assert bench.sent == 3
    return bench


def test_copies_settle_when_a_run_that_stopped_goes_on(half: Bench) -> None:
    half.run()
    assert half.sent == 3
    check_copies(half.table())
    assert half.run().code == 0


def test_a_copy_is_not_settled_with_another_answer_than_its_row_asks_for(half: Bench) -> None:
    rows = asking("aabcb")
    rows[1]["prompt"] = "What is 8?"
    half.run("--update", rows=rows)
    assert half.sent == 4
    assert [row["deduplicated"] for row in half.table()] == [False] * 4 + [True]


def test_documents_and_votes_are_equal_as_a_whole(bench: Bench) -> None:
    rows = [{"id": name, "text": text} for name, text in zip("abcd", "xyxx", strict=True)]
    write_rows(bench.here / "docs.jsonl", rows)
    (bench.here / "job.toml").write_text(
        'input = "docs.jsonl"\nid = "id"\nmodel = "glm-4-plus"\ndedupe = true\n'
        '[prompt]\nuser = "{{ text }}"\n[output]\nvotes = 3\n'
    )
    done = bench.batchkit("run", "job.toml", "--endpoint", bench.service.url, "-o", "out")
    assert (done.code, bench.sent) == (0, 6)
    table = bench.table()
    assert [row["deduplicated"] for row in table] == [False, False, True, True]
    assert [row["attempts"] for row in table] == [3, 3, 0, 0]
    assert [row["agreement"] for row in table] == [1.0] * 4
    assert table[0]["content"] == table[2]["content"] == table[3]["content"]


def test_dry_run_check_and_plan_count_what_is_asked(bench: Bench) -> None:
    done = bench.run("--dry-run", rows=asking("aabac"))
    assert [line.strip() for line in done.out.splitlines()] == [
        "3 new: would be asked",
        "2 copies: would get the answer of an equal row",
    ]
    done = bench.batchkit("check", "q.jsonl", "--dedupe")
    assert "glm-4-plus: 5 rows (2 ask what others ask), 3 requests" in done.err
    done = bench.batchkit("plan", "q.jsonl", "--dedupe", "--json")
    found = json.loads(done.out)
    assert (found["rows"], found["copies"]) == (3, 2)
    assert found["asked"][0]["requests"] == 3
    bench.run()
    assert bench.run("--dry-run").out.strip() == "5 kept: answered"


def test_a_sample_asks_originals_and_leaves_copies(bench: Bench) -> None:
    write_rows(bench.here / "q.jsonl", asking("aaaab"))
    words = ("q.jsonl", "--endpoint", bench.service.url, "--dedupe", "-o", "out")
    assert bench.batchkit("plan", *words, "--sample", "4").code == 0
    bench.run()
    assert bench.sent == 2
    check_copies(bench.table())


def test_dedupe_cannot_change_under_a_run(bench: Bench) -> None:
    bench.run(rows=asking("aab"))
    done = bench.batchkit("run", "q.jsonl", "--endpoint", bench.service.url, "-o", "out")
    assert done.code == 2
    assert done.err == "dedupe: out was begun with true; use another folder with -o\n"


def test_a_damaged_answer_is_named_and_taken_from_its_result_again(half: Bench) -> None:
    change(half, "UPDATE answer SET value = zeroblob(length(value))")
    done = half.run(code=3)
    for row in (0, 2):
        assert (
            f"out/journal.db: the answer to row {row}, kept for the rows that ask the same: "
            "a value does not match its checksum\n"
        ) in done.err
    assert done.err.endswith(
        "put back what was there, or give --reask-damaged, which takes answers that rows wait for "
        "from results, or asks for them again\n"
    )
    done = half.run("--reask-damaged")
    assert "2 kept answers were damaged and will be taken from results again" in done.err
    assert "rows were damaged" not in done.err
    assert half.sent == 3
    check_copies(half.table())


def test_a_damaged_answer_of_a_row_that_is_gone_is_asked_for_again(bench: Bench) -> None:
    """Its copies have no original any more: the first of them becomes one."""
    bench.run(rows=asking("aa"))
    rows = [row | {"custom_id": f"new-{n}"} for n, row in enumerate(asking("aaa"))]
    bench.run("--update", rows=rows)
    change(bench, "UPDATE answer SET value = zeroblob(length(value))")
    (bench.here / "out/results/part-00000.arrow").unlink()
    done = bench.run(code=3)
    assert "the answer to row 0, kept for the rows that ask the same: a value" in done.err
    assert done.err.endswith(
        "which asks those rows again and takes answers that rows wait for from results, "
        "or asks for them again\n"
    )
    bench.run("--reask-damaged")
    assert bench.sent == 2
    check_copies(bench.table())


def test_a_damaged_answer_that_nobody_waits_for_is_told_apart(bench: Bench) -> None:
    bench.run(rows=asking("aab"))
    bench.run("--update", rows=asking("acc"))
    change(bench, "UPDATE answer SET value = zeroblob(length(value))")
    done = bench.run(code=3)
    assert "a kept answer that no row waits for any more: a value" in done.err
    bench.run("--reask-damaged")
    assert bench.sent == 3
    check_copies(bench.table())


def test_a_missing_answer_stops_the_run_and_is_taken_from_its_result(half: Bench) -> None:
    change(half, "DELETE FROM answer")
    done = half.run(code=3)
    assert (
        "out/journal.db: the answer that row 1 waits for is missing; the file was damaged; "
        "run again with --reask-damaged" in done.err
    )
    half.run("--reask-damaged")
    assert half.sent == 3
    check_copies(half.table())


def change(bench: Bench, sql: str) -> None:
    with closing(sqlite3.connect(bench.here / "out" / "journal.db")) as db, db:
        db.execute(sql)
