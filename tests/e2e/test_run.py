"""Whole runs over HTTP against the simulated service."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from batchkit.models import builtin_models
from tests.e2e.conftest import Command, Simulate, prompts, summary_of, write_rows

FLASH = "glm-4-flash-250414"


def test_a_request_file_becomes_one_row_per_request_in_input_order(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    rows = [
        {"custom_id": "a-1", "method": "POST", "url": "/v4/chat/completions",
         "body": {"model": "GLM-4-Plus", "messages": [{"role": "user", "content": "one"}]}},
        {"custom_id": "a-2", "model": "glm-4-air-250414", "temperature": 0.2,
         "messages": [{"role": "user", "content": "two"}], "metadata": {"label": "x", "n": 1}},
        {"id": 3, "prompt": "Translate to English: 你好"},
        {"prompt": "no id"},
    ]  # fmt: skip
    write_rows(here / "mixed.jsonl", rows)
    done = batchkit("run", "mixed.jsonl", "--model", FLASH, "--endpoint", simulate().url)
    assert done.code == 0, done.err
    table = ds.dataset(here / "runs/mixed/results", format="arrow").to_table().to_pylist()
    assert [(r["row"], r["custom_id"], r["model"], r["status"]) for r in table] == [
        (0, "a-1", "glm-4-plus", "ok"),
        (1, "a-2", "glm-4-air-250414", "ok"),
        (2, "3", FLASH, "ok"),
        (3, "row-3", FLASH, "ok"),
    ]
    assert json.loads(table[1]["metadata"]) == {"label": "x", "n": 1}
    models = builtin_models()
    for row in table:
        price = models[row["model"]].price
        expected = price.input * row["prompt_tokens"] + price.output * row["completion_tokens"]
        assert row["cost"] == expected / 10**6
        assert row["total_tokens"] == row["prompt_tokens"] + row["completion_tokens"]
    summary = summary_of(here / "runs/mixed")
    assert Decimal(summary["cost"]) == sum(row["cost"] for row in table)
    assert summary["ok"] == summary["rows"] == 4


@pytest.mark.parametrize("kind", ["jsonl.gz", "parquet", "arrow"])
def test_every_kind_of_file_gives_the_same_answers(
    kind: str, batchkit: Command, simulate: Simulate, here: Path
) -> None:
    url = simulate().url
    plain = write_rows(here / "plain.jsonl", prompts(50))
    other = here / f"other.{kind}"
    if kind == "jsonl.gz":
        other.write_bytes(gzip.compress(plain.read_bytes()))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(prompts(50)), other)
    else:
        table = pa.Table.from_pylist(prompts(50))
        with pa.ipc.new_file(str(other), table.schema) as writer:
            writer.write_table(table)
    for path in (plain, other):
        assert batchkit("run", path, "--endpoint", url).code == 0
    columns = ["custom_id", "content", "cost", "prompt_tokens"]
    first, second = (
        ds.dataset(here / "runs" / name / "results", format="arrow").to_table(columns)
        for name in ("plain", "other")
    )
    assert first.equals(second)


def test_parts_are_read_by_polars_and_duckdb(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    path = write_rows(here / "q.jsonl", prompts(30))
    url = simulate().url
    assert batchkit("run", path, "--endpoint", url, "-o", "a").code == 0
    assert batchkit("run", path, "--endpoint", url, "-o", "p", "--format", "parquet").code == 0
    frame = pl.read_ipc(here / "a/results/*.arrow")
    rows = query("SELECT custom_id, content FROM 'p/results/*.parquet' ORDER BY row")
    assert frame.select("custom_id", "content").rows() == rows
    attempts = query("SELECT count(*), sum(cost) FROM 'p/attempts/*.parquet'")
    assert attempts == [(30, 0)]


def query(sql: str) -> list[Any]:
    relation = duckdb.sql(sql)
    assert relation is not None
    return relation.fetchall()


def test_kept_columns_come_back_with_their_types(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    kept = pa.table({
        "text": ["one", "two"],
        "label": pa.array(["x", None]).dictionary_encode(),
        "day": pa.array([0, 20_000], pa.int32()).cast(pa.date32()),
        "price": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        "tags": [["a"], []],
    })  # fmt: skip
    pq.write_table(kept, here / "docs.parquet")
    (here / "job.toml").write_text(
        'input = "docs.parquet"\nkeep = ["day", "price", "tags", "label"]\n'
        f'model = "{FLASH}"\n[prompt]\nuser = "{{{{ text }}}} on {{{{ day }}}}"\n',
        "utf-8",
    )
    assert batchkit("run", "job.toml", "--endpoint", simulate().url, "-o", "out").code == 0
    table = ds.dataset(here / "out/results", format="arrow").to_table()
    for name in ("day", "price", "tags"):
        assert table[name].type == kept[name].type
        assert table[name].to_pylist() == kept[name].to_pylist()
    assert table["label"].to_pylist() == ["x", None]


def test_running_again_sends_nothing_and_says_the_same(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate()
    write_rows(here / "q.jsonl", prompts(20))
    first = batchkit("run", "q.jsonl", "--endpoint", running.url, "--json")
    sent = running.service.stats.requests
    again = batchkit("run", "q.jsonl", "--endpoint", running.url, "--json")
    assert running.service.stats.requests == sent == 20
    before, after = json.loads(first.out), json.loads(again.out)
    for volatile in ("wall_s", "requests_per_s"):
        before.pop(volatile), after.pop(volatile)
    assert before == after


def test_faults_of_every_retryable_kind_lose_no_row(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    faults = dict.fromkeys(
        ("1302", "1303", "1305", "1312", "500", "1230", "1234", "html502", "reset", "cut",
         "network_error", "empty", "nonjson", "success_false"), 0.02
    )  # fmt: skip
    running = simulate(faults=faults)
    path = write_rows(here / "q.jsonl", prompts(300))
    done = batchkit("run", path, "--endpoint", running.url, "--json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["ok"] == 300
    assert summary["attempts"] == running.service.stats.requests > 300
    attempts = ds.dataset(here / "runs/q/attempts", format="arrow").to_table()
    assert attempts.num_rows == summary["attempts"]
    failed = [row for row in attempts.to_pylist() if row["error_kind"]]
    counted = sum(n for by_code in summary["errors"].values() for n in by_code.values())
    assert len(failed) == counted


def test_a_failed_row_says_why_and_the_others_go_on(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(marks={"[[filter]]": "filtered", "[[long]]": "1261"})
    rows = prompts(10)
    rows[3]["prompt"] = "bad [[filter]]"
    rows[7]["prompt"] = "long [[long]]"
    write_rows(here / "q.jsonl", rows)
    done = batchkit("run", "q.jsonl", "--endpoint", running.url)
    assert done.code == 1
    assert "2 (1 content_filtered 1301, 1 context_exceeded 1261)" in done.err
    table = ds.dataset(here / "runs/q/results", format="arrow").to_table().to_pylist()
    assert [r["error_code"] for r in table if r["status"] == "failed"] == ["1301", "1261"]


def test_in_flight_reaches_the_tiers_limit_and_stays_below(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(latency="0.2", tier="V0")
    write_rows(here / "q.jsonl", prompts(300, model="glm-4-air-250414"))
    assert batchkit("run", "q.jsonl", "--endpoint", running.url).code == 0
    assert running.service.stats.models["glm-4-air-250414"].max_in_flight == 30
    assert running.service.stats.refused == 0


def test_a_ceiling_can_be_given_for_each_model_and_for_one(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(latency="0.02")
    rows = prompts(20, model="glm-4-plus") + prompts(20, model="glm-4-air-250414")
    write_rows(here / "q.jsonl", [row | {"custom_id": str(n)} for n, row in enumerate(rows)])
    ceilings = ["--concurrency", "7", "--concurrency", "glm-4-plus=3"]
    assert batchkit("run", "q.jsonl", "--endpoint", running.url, *ceilings).code == 0
    models = running.service.stats.models
    assert models["glm-4-plus"].max_in_flight == 3
    assert models["glm-4-air-250414"].max_in_flight == 7


def test_a_budget_stops_the_run_before_it_is_exceeded(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(latency="0.01")
    write_rows(here / "q.jsonl", prompts(200, model="glm-4-plus", max_tokens=50))
    words = ["run", "q.jsonl", "--endpoint", running.url, "--json"]
    done = batchkit(*words, "--budget", "0.02")
    assert done.code == 3
    assert "the budget of 0.02 does not cover another request" in done.err
    spent = Decimal(json.loads(done.out)["cost"])
    assert Decimal("0.015") < spent <= Decimal("0.02")
    assert batchkit(*words, "--budget", "100").code == 0
