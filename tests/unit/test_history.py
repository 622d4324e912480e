"""What finished runs measured is found again by what the job asks, and never stops anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit.estimate import Sums
from batchkit.history import STALE_S, History, Measured
from batchkit.records import Usage


def measured(rows: int = 3, at: float = 1000.0, **rest: str) -> Measured:
    sums = Sums()
    for _ in range(rows):
        sums.add(100, Usage(80, 10, 7), 0.5)
    keys = {"job": "j", "endpoint": "https://e/v4", "model": "m"} | rest
    return Measured(**keys, at=at, rows=rows, sums=sums, expected_cost=1.0, cost=1.5, wall_s=9.0)


def test_a_measurement_is_found_by_job_endpoint_and_model(tmp_path: Path) -> None:
    history, kept = History(tmp_path), measured()
    history.keep(kept)
    assert history.find("j", "https://e/v4", "m", now=1001.0) == kept
    for other in (("x", "https://e/v4", "m"), ("j", "sim", "m"), ("j", "https://e/v4", "x")):
        assert history.find(*other, now=1001.0) is None


def test_a_stale_measurement_is_not_found(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.keep(measured())
    assert history.find("j", "https://e/v4", "m", now=1000.0 + STALE_S) is None


def test_a_few_rows_do_not_replace_many(tmp_path: Path) -> None:
    history, many, few = History(tmp_path), measured(100), measured(5, at=2000.0)
    history.keep(many)
    history.keep(few)
    assert history.find("j", "https://e/v4", "m", now=2001.0) == many
    late = measured(5, at=1000.0 + STALE_S + 1)
    history.keep(late)
    assert history.find("j", "https://e/v4", "m", now=late.at) == late


@pytest.mark.parametrize("content", [b"no database", b""], ids=["foreign", "empty"])
def test_a_file_that_cannot_be_used_holds_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(content)
    history = History(tmp_path)
    history.keep(measured())
    found = history.find("j", "https://e/v4", "m", now=1001.0)
    assert found == (None if content else measured())


def test_a_folder_that_cannot_be_made_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    history = History(tmp_path / "file" / "state")
    history.keep(measured())
    assert history.find("j", "https://e/v4", "m", now=1001.0) is None
