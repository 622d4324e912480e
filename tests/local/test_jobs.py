"""The small jobs on the local model, whose answers are held to their form as they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import batchkit
from batchkit.errors import UsageError
from tests.local.test_server import ROOT, unavailable

MODEL = "smollm2-135m-instruct"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("job", "rows", "fields"),
    [
        ("quickstart", 4, None),
        ("classify_intents", 2, {"label"}),
        ("extract_receipts", 2, {"company", "date", "address", "total"}),
    ],
)
def test_a_small_job_runs_on_the_local_model(
    job: str,
    rows: int,
    fields: set[str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    spec, out = ROOT / "jobs" / job / "job.toml", tmp_path / "out"
    options: dict[str, Any] = {"endpoint": "local", "model": MODEL, "limit": rows, "out": out}
    try:
        summary = batchkit.run(spec, **options)
    except UsageError as error:
        unavailable(str(error))
    assert (summary.rows, summary.ok) == (rows, rows), summary.failed_rows
    for row in batchkit.read_results(out).to_pylist():
        assert row["content"].strip()
        if fields is not None:
            assert row["output"].keys() == fields
