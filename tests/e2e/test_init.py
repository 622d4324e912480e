"""A first job file: written from a data file's columns, and good as it stands."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchkit.recipe import open_recipe
from batchkit.spec import load_spec
from batchkit.starter import new_job
from tests.e2e.conftest import Command, write_rows

TICKETS = [
    {"id": n, "text": f"The machine took card number {n}.", "label": ["card", "pin"][n % 2]}
    for n in range(12)
]
RECEIPTS = [
    {"id": f"r{n}", "text": f"Shop, total {n}", "shop": "Shop", "day": "2024-05-17", "total": n}
    for n in range(4)
]
NEWS = [{"id": n, "doc": 1, "en": f"Text {n}.", "zh_CN": f"文本{n}。"} for n in range(4)]


@pytest.mark.parametrize(
    ("kind", "rows", "found"),
    [
        (
            "classify",
            TICKETS,
            {
                "id": "id",
                "keep": ["label"],
                "labels": {"column": "label", "multiple": False},
                "score": {"gold": "label"},
            },
        ),
        (
            "extract",
            RECEIPTS,
            {
                "id": "id",
                "keep": ["shop", "day", "total"],
                "score": {"gold": {"shop": "shop", "day": "day", "total": "total"}},
            },
        ),
        (
            "translate",
            NEWS,
            {
                "id": "id",
                "keep": ["zh_CN"],
                "translate": {"text": "en", "target": "zh-CN"},
                "score": {"gold": "zh_CN"},
            },
        ),
    ],
)
def test_a_job_file_is_written_and_runs(
    kind: str, rows: list[Any], found: dict[str, Any], here: Path, batchkit: Command
) -> None:
    write_rows(here / "d.jsonl", rows)
    done = batchkit("init", kind, "d.jsonl")
    assert (done.code, done.out) == (0, "")
    assert done.err == "d.toml: written; look at it, then: batchkit try d.toml\n"
    job = tomllib.loads((here / "d.toml").read_text("utf-8"))
    assert {name: job[name] for name in found} == found
    assert batchkit("check", "d.toml").code == 0
    assert batchkit("try", "d.toml", "-n", "1", "--endpoint", "sim").code == 0


def test_types_of_fields_are_those_of_the_columns(here: Path) -> None:
    write_rows(here / "d.jsonl", [row | {"paid": True, "tax": 0.5} for row in RECEIPTS])
    job = tomllib.loads(new_job("extract", here / "d.jsonl", here))
    assert job["output"]["schema"]["properties"] == {
        "shop": {"type": ["string", "null"]},
        "day": {"type": ["string", "null"], "format": "date"},
        "total": {"type": ["integer", "null"]},
        "paid": {"type": ["boolean", "null"]},
        "tax": {"type": ["number", "null"]},
    }


def test_a_column_of_lists_is_several_labels(here: Path) -> None:
    table = pa.table({"text": ["a text", "another"], "labels": [["joy"], ["joy", "fear"]]})
    pq.write_table(table, here / "d.parquet")
    job = tomllib.loads(new_job("classify", here / "d.parquet", here))
    assert job["labels"] == {"column": "labels", "multiple": True}


def test_a_file_that_is_there_is_left_alone(here: Path, batchkit: Command) -> None:
    write_rows(here / "d.jsonl", TICKETS)
    (here / "d.toml").write_text("mine")
    done = batchkit("init", "classify", "d.jsonl")
    assert (done.code, done.err) == (2, "d.toml: is there already; give another name with -O\n")
    assert (here / "d.toml").read_text() == "mine"
    assert batchkit("init", "classify", "d.jsonl", "-O", "-").out.startswith(
        "# Columns: text, label"
    )


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"prompt": "Hi"}], "its rows are requests already; run it as it is"),
        ([{"id": 1, "n": 2}], "has no column of text; the columns are id, n"),
        ([{}], "holds no rows with columns"),
    ],
)
def test_a_file_that_no_job_can_be_written_for_is_named(
    rows: list[Any], fault: str, here: Path, batchkit: Command
) -> None:
    write_rows(here / "d.jsonl", rows)
    done = batchkit("init", "extract", "d.jsonl")
    assert (done.code, done.out) == (2, "")
    assert fault in done.err
    assert not (here / "d.toml").exists()


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(NAMES, min_size=2, max_size=4, unique=True),
    kind=st.sampled_from(["classify", "extract", "translate"]),
)
def test_columns_of_any_name_become_a_file_that_is_read(
    names: list[str], kind: str, here: Path
) -> None:
    """Names are text in the file: never its syntax, a template's, or another line."""
    if {"messages", "prompt", "body"} & set(names):
        return
    rows = [dict.fromkeys(names, f"text {n}") for n in range(3)]
    (here / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    job = tomllib.loads(new_job(kind, here / "d.jsonl", here))
    assert set(job["keep"]) <= set(names)
    assert job["input"] == "d.jsonl"
    (here / "d.toml").write_text(new_job(kind, here / "d.jsonl", here), "utf-8")
    assert open_recipe(load_spec(here / "d.toml")).template is not None
