"""Rows that are several requests, end to end: one result each, and asked again only in part."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow.dataset as ds
import pytest

from batchkit import opening
from batchkit.document import Document
from batchkit.inputs import open_input
from batchkit.spec import load_spec
from tests.e2e.conftest import Command, Done, Simulate, summary_of, write_rows

Rows = list[dict[str, Any]]
Form = Literal["arrow", "parquet"]

JOB = """
input = "docs.jsonl"
id = "id"
keep = ["title"]
model = "glm-4-plus"
[prompt]
user = "{{ chunk }}/{{ chunks }} {{ text }}"
[params]
max_tokens = 40
[split]
column = "text"
tokens = 30
"""
JOIN = '[join]\nuser = "Join {{ title }}:{% for a in answers %}\\n{{ a }}{% endfor %}"\n'
SCHEMA = (
    '[join]\nby = "union"\n[output]\n'
    'schema = { type = "object", required = ["names"], additionalProperties = false, '
    'properties = { names = { type = "array", items = { type = "string" } } } }\n'
)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PART_ROWS", 4)


def text(name: str, chunks: int) -> str:
    """A text of paragraphs that fill a chunk each."""
    return "\n\n".join(f"{name} paragraph {n} {'word ' * 12}".strip() for n in range(chunks))


def docs(*chunks: int) -> Rows:
    return [
        {"id": f"d{n}", "title": f"T{n}", "text": text(f"d{n}", count)}
        for n, count in enumerate(chunks)
    ]


class Bench:
    """One run of a job over `docs.jsonl`, asked of one simulated service."""

    def __init__(self, batchkit: Command, simulate: Simulate, here: Path) -> None:
        self.here = here
        self.simulate = simulate
        self.service = simulate(record=True, marks={"[[filter]]": "filtered"})
        self._batchkit = batchkit
        self.job(JOB)

    def job(self, words: str) -> None:
        (self.here / "job.toml").write_text(words)

    def run(self, *words: str, rows: Rows | None = None, code: int = 0) -> Done:
        if rows is not None:
            write_rows(self.here / "docs.jsonl", rows)
        done = self._batchkit(
            "run", "job.toml", "--endpoint", self.service.url, "-o", "out", *words
        )
        assert done.code == code, done.err
        return done

    def check(self, *words: str) -> Done:
        return self._batchkit("check", "job.toml", *words)

    @property
    def sent(self) -> int:
        return self.service.service.stats.requests

    def mended(self) -> None:
        """The service refuses nothing any more, and counts from zero."""
        self.service = self.simulate(record=True)

    def table(self, folder: str = "results", form: Form = "arrow") -> Rows:
        found: Rows = ds.dataset(self.here / "out" / folder, format=form).to_table().to_pylist()
        return found

    def attempts(self) -> Counter[tuple[int, int | None]]:
        return Counter((one["row"], one["chunk"]) for one in self.table("attempts"))

    def money_adds_up(self) -> None:
        table, attempts, summary = (
            self.table(),
            self.table("attempts"),
            summary_of(self.here / "out"),
        )
        for name in ("cost", "prompt_tokens", "completion_tokens"):
            assert sum(row[name] for row in table) == sum(one[name] for one in attempts)
        assert Decimal(summary["cost"]) == sum(row["cost"] for row in table)
        assert summary["attempts"] == len(attempts) == sum(row["attempts"] for row in table)
        assert summary["rows"] == summary["ok"] + summary["failed"] == len(table)


@pytest.fixture
def bench(batchkit: Command, simulate: Simulate, here: Path) -> Bench:
    return Bench(batchkit, simulate, here)


def test_a_document_is_one_row_and_its_chunks_are_seen_in_attempts(bench: Bench) -> None:
    bench.run(rows=docs(3, 1, 5))
    table = bench.table()
    assert [(r["custom_id"], r["status"], r["attempts"], r["title"]) for r in table] == [
        ("d0", "ok", 3, "T0"),
        ("d1", "ok", 1, "T1"),
        ("d2", "ok", 5, "T2"),
    ]
    assert len(table[2]["content"].split("\n\n")) == 5
    one_each = [(0, 1), (0, 2), (0, 3), (1, None), *((2, n) for n in range(1, 6))]
    assert bench.attempts() == Counter(one_each)
    bench.money_adds_up()


def test_outputs_of_chunks_are_united_into_a_typed_column(bench: Bench) -> None:
    bench.job(JOB + SCHEMA)
    bench.run(rows=docs(3))
    (row,) = bench.table()
    assert json.loads(row["content"]) == row["output"]
    assert len(row["output"]["names"]) == len(set(row["output"]["names"])) > 0


def test_a_last_request_joins_the_answers(bench: Bench) -> None:
    bench.job(JOB + JOIN)
    bench.run(rows=docs(3))
    (row,) = bench.table()
    last = [one for one in bench.table("attempts") if one["chunk"] == 4]
    assert (row["status"], row["attempts"], len(last)) == ("ok", 4, 1)
    assert row["total_tokens"] > last[0]["prompt_tokens"]
    bench.money_adds_up()


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_only_the_chunk_that_failed_is_asked_again(bench: Bench, form: Form) -> None:
    """Also when the row has long been in a sealed part."""
    rows = docs(3, 3, 3, 3, 3)
    rows[1]["text"] = rows[1]["text"].replace("d1 paragraph 1", "d1 paragraph [[filter]]")
    bench.run("--format", form, rows=rows, code=1)
    failed = bench.table(form=form)[1]
    assert (failed["status"], failed["error_kind"]) == ("failed", "content_filtered")
    assert failed["error_message"].startswith("chunk 2 of 3: ")
    bench.mended()
    bench.run("--format", form, "--retry-failed")
    assert bench.sent == 1
    row = bench.table(form=form)[1]
    assert (row["status"], row["attempts"]) == ("ok", 4)
    assert len(row["content"].split("\n\n")) == 3


def test_a_failed_join_is_asked_again_alone(bench: Bench) -> None:
    bench.job(JOB + JOIN)
    rows = docs(3, 3)
    rows[0]["title"] = "[[filter]]"
    bench.run(rows=rows, code=1)
    assert bench.table()[0]["error_message"].startswith("join: ")
    bench.mended()
    bench.run("--retry-failed")
    assert bench.sent == 1
    bench.money_adds_up()


def test_a_failed_row_keeps_its_answers_through_a_changed_join(bench: Bench) -> None:
    bench.job(JOB + JOIN.replace("{{ a }}", "{{ a.nothing }}"))
    bench.run(rows=docs(3, 2), code=1)
    assert bench.table()[0]["error_message"] == "join: join.user:2: a value has no such part"
    bench.mended()
    bench.job(JOB + JOIN)
    bench.run("--update")
    assert bench.sent == 2
    assert [row["attempts"] for row in bench.table()] == [4, 3]
    bench.money_adds_up()


def test_a_changed_document_alone_is_asked_and_keeps_what_it_spent(bench: Bench) -> None:
    rows = docs(3, 3, 3)
    bench.run(rows=rows)
    before = bench.table()
    rows[1]["text"] += "!"
    done = bench.run(rows=rows, code=2)
    assert "1 changed; 1 to ask" in done.err
    bench.mended()
    bench.run("--update")
    after = bench.table()
    assert bench.sent == 3
    assert [after[0], after[2]] == [before[0], before[2]]
    assert after[1]["attempts"] == 6
    bench.money_adds_up()


def test_a_document_that_became_one_request_keeps_what_it_spent(bench: Bench) -> None:
    bench.run(rows=docs(3))
    (before,) = bench.table()
    bench.run("--update", rows=[{"id": "d0", "title": "T", "text": "short"}])
    (after,) = bench.table()
    assert (after["attempts"], after["status"]) == (4, "ok")
    assert after["cost"] > before["cost"]
    assert bench.attempts() == Counter([(0, 1), (0, 2), (0, 3), (0, None)])
    bench.money_adds_up()


def test_a_bad_document_is_named_before_anything_is_sent(bench: Bench) -> None:
    rows = docs(3, 3)
    rows[1]["text"] = 17
    done = bench.run(rows=rows, code=2)
    assert done.err.startswith(
        "docs.jsonl:2: split: column 'text': expected text, got a number\n"
        "1 of 2 rows cannot be sent"
    )
    assert bench.sent == 0
    bench.run("--skip-invalid", code=1)
    assert [row["error_kind"] for row in bench.table()] == [None, "invalid_row"]


def test_check_and_dry_run_count_requests(bench: Bench) -> None:
    bench.job(JOB + JOIN)
    write_rows(bench.here / "docs.jsonl", docs(3, 1, 5))
    checked = bench.check()
    assert "3 rows, 11 requests, about" in checked.err
    assert "3 new: would be asked, in 11 requests" in bench.run("--dry-run").out
    bench.run()
    assert bench.sent == 11
    prompt_tokens = int(checked.err.split("about ")[1].split()[0].replace(",", ""))
    assert prompt_tokens >= summary_of(bench.here / "out")["prompt_tokens"]


def test_a_budget_counts_every_chunk_and_a_stopped_run_goes_on(bench: Bench) -> None:
    done = bench.run("--budget", "0.004", rows=docs(3, 3, 3, 3), code=3)
    assert "the budget of 0.004 does not cover another request" in done.err
    sent = bench.sent
    assert 0 < sent < 12
    bench.run("--budget", "1")
    assert bench.sent == 12
    assert {row["status"] for row in bench.table()} == {"ok"}
    bench.money_adds_up()


VOTES = """
input = "docs.jsonl"
id = "id"
model = "glm-4-plus"
[prompt]
user = "{{ title }}"
[params]
max_tokens = 40
[output]
votes = 3
"""


def test_votes_are_counted_and_their_agreement_is_a_column(bench: Bench) -> None:
    bench.job(VOTES)
    bench.run(rows=docs(1, 1))
    table = bench.table()
    assert [(row["agreement"], row["attempts"]) for row in table] == [(1.0, 3), (1.0, 3)]
    assert bench.attempts() == Counter((row, vote) for row in (0, 1) for vote in (1, 2, 3))
    bench.money_adds_up()


def test_the_agreement_of_a_sealed_row_survives_a_retry_of_others(bench: Bench) -> None:
    bench.job(VOTES)
    rows = docs(1, 1, 1)
    rows[1]["title"] = "[[filter]]"
    bench.run(rows=rows, code=1)
    failed = bench.table()[1]
    assert failed["error_message"].startswith("vote 1 of 3: ")
    assert failed["agreement"] is None
    bench.mended()
    bench.run("--retry-failed")
    assert bench.sent == 3
    assert [row["agreement"] for row in bench.table()] == [1.0, 1.0, 1.0]


def test_votes_are_cast_on_request_rows_too(bench: Bench) -> None:
    bench.job('input = "docs.jsonl"\nmodel = "glm-4-plus"\n[output]\nvotes = 2\n')
    bench.run(rows=[{"id": "a", "prompt": "x", "metadata": {"k": 1}}])
    (row,) = bench.table()
    assert (row["custom_id"], row["metadata"], row["attempts"]) == ("a", '{"k":1}', 2)


GROUP = """
input = "docs.jsonl"
keep = ["lang"]
model = "glm-4-plus"
[group]
by = "doc"
[prompt]
user = "{% for r in rows %}{{ r.text }}\\n{% endfor %}"
[params]
max_tokens = 40
[split]
column = "text"
tokens = 60
"""


def segments(*counts: int) -> Rows:
    return [
        {"doc": f"doc-{n}", "lang": "en", "text": f"{n}.{m} {'word ' * 12}".strip()}
        for n, count in enumerate(counts)
        for m in range(count)
    ]


def test_neighbouring_rows_are_one_document(bench: Bench) -> None:
    bench.job(GROUP)
    bench.run(rows=segments(2, 7, 1))
    assert [(row["custom_id"], row["row"], row["lang"]) for row in bench.table()] == [
        ("doc-0", 0, "en"),
        ("doc-1", 1, "en"),
        ("doc-2", 2, "en"),
    ]
    assert bench.attempts() == Counter([(0, None), *((1, n) for n in (1, 2, 3, 4)), (2, None)])
    assert len(bench.table()[1]["content"].split("\n")) == 4


def test_the_input_of_a_grouped_run_does_not_stand_beside_its_results(
    bench: Bench, batchkit: Command
) -> None:
    bench.job(GROUP)
    bench.run(rows=segments(2))
    done = batchkit("export", "out", "--to", "jsonl", "--with-input")
    assert done.code == 2
    assert "a row of this run is several rows of its input ([group])" in done.err


def test_a_group_that_comes_again_is_a_repeated_id(bench: Bench) -> None:
    bench.job(GROUP)
    rows = segments(2, 1)
    done = bench.run(rows=[*rows, rows[0]], code=2)
    assert "custom_id 'doc-0' was used before, on line 1; ids must be unique" in done.err


def test_a_group_of_which_one_row_changed_is_asked_again(bench: Bench) -> None:
    bench.job(GROUP)
    rows = segments(1, 1, 1)
    bench.run(rows=rows)
    rows[1]["text"] += "!"
    bench.mended()
    bench.run("--update", rows=rows)
    assert bench.sent == 1


def test_a_trial_shows_a_documents_first_request(bench: Bench, batchkit: Command) -> None:
    write_rows(bench.here / "docs.jsonl", docs(2))
    done = batchkit("try", "job.toml", "--endpoint", bench.service.url, "--json")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert shown["messages"][0]["content"].startswith("1/2 d0 paragraph 0")
    assert shown["attempts"] == 2


def test_a_plan_counts_the_requests_of_documents(bench: Bench, batchkit: Command) -> None:
    bench.job(JOB + JOIN)
    write_rows(bench.here / "docs.jsonl", docs(3, 1, 5))
    done = batchkit("plan", "job.toml", "--endpoint", "sim", "--json")
    (asked,) = json.loads(done.out)["asked"]
    assert (asked["rows"], asked["requests"], asked["completion_tokens_most"]) == (3, 11, 440)
    assert "glm-4-plus: 3 rows, 11 requests," in batchkit("plan", "job.toml").out


def test_labels_are_voted_on(bench: Bench) -> None:
    bench.job(VOTES + '[labels]\nvalues = ["good", "bad"]\n')
    bench.run(rows=docs(1, 1))
    table = bench.table()
    assert {row["output"]["label"] for row in table} <= {"good", "bad"}
    assert [row["agreement"] for row in table] == [1.0, 1.0]


TRANSLATE = """
input = "docs.jsonl"
keep = ["text"]
model = "glm-4-plus"
[group]
by = "doc"
[prompt]
user = "Into {{ translate.target }}: {{ text }}"
[translate]
text = "text"
target = "German"
check = ["numbers"]
[params]
max_tokens = 40
[split]
column = "text"
tokens = 60
"""


def test_whole_articles_are_translated_and_each_chunk_is_held_against_its_own_text(
    bench: Bench,
) -> None:
    """The simulator gives back the source of a translation, so what passes the check is whole."""
    bench.job(TRANSLATE)
    rows = segments(2, 7)
    bench.run("--limit", "2", rows=rows)
    table = bench.table()
    assert [(row["status"], row["text"]) for row in table] == [
        ("ok", rows[0]["text"]),
        ("ok", rows[2]["text"]),
    ]
    assert [row["attempts"] for row in table] == [1, 4]
    given = open_input(load_spec(bench.here / "job.toml"))
    _, second = (given.rendering().build(raw) for raw in given.source.scan())
    assert isinstance(second, Document)
    sources = [chunk.source for chunk in second.chunks]
    assert "\n".join(map(str, sources)) == "\n".join(row["text"] for row in rows[2:])
