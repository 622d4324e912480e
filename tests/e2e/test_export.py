"""Exports: every format says the same, of finished runs and of runs that go on."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from batchkit import opening, read_batch_output
from batchkit.writers import To
from tests.e2e.conftest import Command, Simulate, prompts, write_rows

COLUMNS = ["row", "custom_id", "status", "content", "cost"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PART_ROWS", 10)


@pytest.fixture
def run(batchkit: Command, simulate: Simulate, here: Path) -> list[dict[str, Any]]:
    """The results of a run of 25 rows, one of them failed, in `out`."""
    rows = prompts(25, model="glm-4-plus", metadata={"n": 1})
    rows[3]["prompt"] = 'comma, "quote"\nand line [[filter]]'
    write_rows(here / "q.jsonl", rows)
    url = simulate(marks={"[[filter]]": "filtered"}).url
    assert batchkit("run", "q.jsonl", "--endpoint", url, "-o", "out").code == 1
    found: list[dict[str, Any]] = (
        ds.dataset(here / "out/results", format="arrow").to_table().to_pylist()
    )
    return found


def test_arrow_and_parquet_hold_the_results_as_they_are(
    run: list[dict[str, Any]], batchkit: Command, here: Path
) -> None:
    assert batchkit("export", "out", "--to", "parquet", "-O", "r.parquet").code == 0
    assert batchkit("export", "out", "--to", "arrow", "-O", "r.arrow").code == 0
    assert pq.read_table(here / "r.parquet").to_pylist() == run
    with pa.memory_map(str(here / "r.arrow")) as source:
        assert pa.ipc.open_file(source).read_all().to_pylist() == run


def test_jsonl_and_csv_say_the_same(run: list[dict[str, Any]], batchkit: Command) -> None:
    chosen = ["--columns", ",".join(COLUMNS)]
    lines = batchkit("export", "out", "--to", "jsonl", *chosen).out.splitlines()
    rows = [json.loads(line) for line in lines]
    expected = [
        {name: f"{row[name]:f}" if name == "cost" else row[name] for name in COLUMNS} for row in run
    ]
    assert rows == expected
    text = batchkit("export", "out", "--to", "csv", *chosen).out
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    as_text = [{k: "" if v is None else str(v) for k, v in row.items()} for row in expected]
    assert table == as_text


def test_only_failed_rows_can_be_taken(run: list[dict[str, Any]], batchkit: Command) -> None:
    done = batchkit("export", "out", "--to", "jsonl", "--only", "failed")
    (row,) = [json.loads(line) for line in done.out.splitlines()]
    assert (row["row"], row["error_code"]) == (3, "1301")
    assert "1 rows" in done.err


def test_openai_lines_are_batch_output(run: list[dict[str, Any]], batchkit: Command) -> None:
    lines = batchkit("export", "out", "--to", "openai").out.splitlines()
    first, failed = json.loads(lines[0]), json.loads(lines[3])
    body = first["response"]["body"]
    assert (first["custom_id"], first["error"]) == ("q-0", None)
    assert first["response"]["status_code"] == 200
    assert body["choices"][0]["message"] == {"role": "assistant", "content": run[0]["content"]}
    assert body["usage"]["prompt_tokens"] == run[0]["prompt_tokens"]
    assert failed["response"] is None
    assert failed["error"]["code"] == "1301"


def test_openai_lines_are_read_back(run: list[dict[str, Any]], batchkit: Command) -> None:
    assert batchkit("export", "out", "--to", "openai", "-O", "batch.jsonl").code == 0
    table = read_batch_output("batch.jsonl")
    names = [name for name in table.column_names if name not in {"http_status", "total_tokens"}]
    settled = [row for row in run if row["status"] == "ok"]
    assert [row for row in table.select(names).to_pylist() if row["status"] == "ok"] == [
        {name: row[name] for name in names} for row in settled
    ]
    (failed,) = [row for row in table.to_pylist() if row["status"] == "failed"]
    assert (failed["custom_id"], failed["error_code"]) == ("q-3", "1301")


def test_the_inputs_columns_come_along(run: list[dict[str, Any]], batchkit: Command) -> None:
    words = ["--to", "jsonl", "--with-input", "--columns", "row,prompt,input_model,content"]
    done = batchkit("export", "out", *words, "--only", "ok")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert len(rows) == 24
    assert rows[7] == {
        "row": 8,
        "prompt": "Question 8?",
        "input_model": "glm-4-plus",
        "content": run[8]["content"],
    }


def test_a_changed_input_is_not_joined(
    run: list[dict[str, Any]], batchkit: Command, here: Path
) -> None:
    moved = (here / "q.jsonl").rename(here / "moved.jsonl")
    write_rows(here / "q.jsonl", prompts(25))
    done = batchkit("export", "out", "--to", "csv", "--with-input", "-O", "r.csv")
    assert (done.code, (here / "r.csv").exists()) == (2, False)
    assert "q.jsonl: is not the input of this run, or was changed since" in done.err
    assert batchkit("export", "out", "--to", "csv", "--with-input", moved).code == 0


def test_an_export_goes_to_a_url(run: list[dict[str, Any]], batchkit: Command) -> None:
    memory = fsspec.filesystem("memory")
    for to in To:
        assert batchkit("export", "out", "--to", to, "-O", f"memory://export/r.{to}").code == 0
    with memory.open("/export/r.parquet") as file:
        assert pq.read_table(file).to_pylist() == run
    assert memory.cat("/export/r.csv").count(b"\r\n") >= 25
    memory.rm("/export", recursive=True)


def test_a_run_that_goes_on_is_exported_as_it_is(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(3000))
    words = ["run", "q.jsonl", "--endpoint", simulate(latency="0.05").url, "--concurrency", "20"]
    launcher = (
        "import sys; from batchkit import opening; opening.PART_ROWS = 50\n"
        "from batchkit.cli import main; sys.exit(main())"
    )
    with subprocess.Popen([sys.executable, "-c", launcher, *words, "-q"]) as process:
        counts: list[int] = []
        while process.poll() is None and (not counts or counts[-1] < 200):
            done = batchkit("export", "runs/q", "--to", "jsonl", "--columns", "row")
            if done.code == 0:
                rows = [json.loads(line)["row"] for line in done.out.splitlines()]
                assert rows == sorted(set(rows))
                assert f"{3000 - len(rows):,} rows have not settled yet" in done.err
                counts.append(len(rows))
        process.kill()
    assert counts == sorted(counts)
    assert counts[-1] >= 200


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["nowhere", "--to", "csv"], "nowhere: no run here"),
        (["out", "--to", "xlsx"], "--to: expected one of arrow, parquet, jsonl, csv, openai"),
        (
            ["out", "--to", "csv", "--columns", "price"],
            "--columns: no column 'price'; there are row",
        ),
        (["out", "--to", "csv", "-O", "no/such/file.csv"], "no such file"),
        (["out", "--to", "csv", "-O", "nope://x/y"], "nope://x/y: cannot be opened: protocol"),
        (["out", "--to", "jsonl", "--defuse"], "--defuse: is for csv, not for jsonl; leave it out"),
        (["out", "--to", "openai", "--with-input"], "--with-input: the openai format has its own"),
        (["out", "--to", "openai", "--columns", "row"], "--columns: the openai format has its own"),
        (["out", "--to", "csv", "--with-input", "x.jsonl"], "x.jsonl: there is no such file"),
    ],
)
def test_what_cannot_be_exported_is_said(
    words: list[str], fault: str, run: list[dict[str, Any]], batchkit: Command
) -> None:
    done = batchkit("export", *words)
    assert (done.code, fault in done.err) == (2, True), done.err
