"""Results and exports are read by the libraries that people have, money to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from tests.e2e.conftest import Command, Simulate, prompts, summary_of, write_rows


def with_pyarrow(path: Path) -> list[Any]:
    dataset = ds.dataset(str(path), format="arrow" if path.suffix == ".arrow" else "parquet")
    costs: list[Any] = dataset.to_table().column("cost").to_pylist()
    return costs


def with_polars(path: Path) -> list[Any]:
    read = pl.read_ipc if path.suffix == ".arrow" else pl.read_parquet
    return read(path)["cost"].to_list()


def with_pandas(path: Path) -> list[Any]:
    read = pd.read_feather if path.suffix == ".arrow" else pd.read_parquet
    costs: list[Any] = read(path)["cost"].tolist()
    return costs


def with_duckdb(path: Path) -> list[Any]:
    with duckdb.connect() as db:
        if path.suffix == ".arrow":
            relation = db.from_arrow(ds.dataset(str(path), format="arrow"))
        else:
            relation = db.read_parquet(str(path))
        return [cost for (cost,) in relation.project("cost").fetchall()]


@pytest.mark.parametrize("read", [with_pyarrow, with_polars, with_pandas, with_duckdb])
@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_results_and_exports_are_read(
    batchkit: Command,
    simulate: Simulate,
    here: Path,
    kind: str,
    read: Callable[[Path], list[Any]],
) -> None:
    write_rows(here / "q.jsonl", prompts(30, model="glm-4-plus"))
    url = simulate().url
    assert batchkit("run", "q.jsonl", "--endpoint", url, "--format", kind, "-q").code == 0
    exported = here / f"all.{kind}"
    assert batchkit("export", "runs/q", "--to", kind, "-O", exported).code == 0
    cost = Decimal(summary_of(here / "runs/q")["cost"])
    (part,) = (here / "runs/q/results").iterdir()
    for path in (part, exported):
        found = read(path)
        assert (len(found), sum(found)) == (30, cost)
