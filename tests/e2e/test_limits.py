"""The account allows less than the table says: found, kept, and known to the next run."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.e2e.conftest import Command, Simulate, prompts, write_rows

FLASH = "glm-4-flash-250414"


def first_limit(folder: Path) -> int:
    """How many requests might be in flight when the first of a run began."""
    attempts = pl.read_ipc(str(folder / "attempts/*.arrow")).sort("started_at")
    return int(attempts["limit"][0])


def test_the_account_allows_less_than_the_table(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    # Answers that take long beside what a busy machine adds, so that refusals are heard in time.
    running = simulate(limits={FLASH: 20}, latency="lognormal:0.15,0.3")
    write_rows(here / "q.jsonl", prompts(800))
    words = ["run", "q.jsonl", "--endpoint", running.url, "--concurrency", "60", "--json"]
    first = json.loads(batchkit(*words, "-o", "first").out)
    assert first["ok"] == 800
    assert running.service.stats.models[FLASH].max_in_flight == 20
    assert first["refused"] < 160

    known = batchkit("models").out.splitlines()[-1].split()
    assert known[0] == FLASH
    assert 15 <= int(known[1]) <= 25

    assert json.loads(batchkit(*words, "-o", "second", "--limit", "60").out)["ok"] == 60
    assert (first_limit(here / "first"), first_limit(here / "second")) == (60, int(known[1]))
    assert batchkit("models", "--forget").out == "1 learned limits forgotten\n"
    assert "learned" not in batchkit("models").out


def test_a_state_folder_that_cannot_be_used_is_told_once_and_stops_nothing(
    batchkit: Command, simulate: Simulate, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = simulate()
    write_rows(here / "q.jsonl", prompts(30))
    command = ["run", "q.jsonl", "--endpoint", running.url]
    (here / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "file"))
    nowhere = batchkit(*command, "-o", "first")
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))
    (here / "state/batchkit").mkdir(parents=True)
    (here / "state/batchkit/leases.db").write_bytes(b"not a database, but long enough " * 99)
    damaged = batchkit(*command, "-o", "second")
    for done, folder, fault in (
        (nowhere, here / "file/batchkit", "not a directory"),
        (damaged, here / "state/batchkit", "file is not a database"),
    ):
        assert done.code == 0
        words = (
            f"{folder}: the state folder cannot be used: {fault}; the run goes on without "
            "knowing of others with the same key; mend it, or set XDG_STATE_HOME"
        )
        assert [line for line in done.err.splitlines() if "state folder" in line] == [words]


def test_a_run_on_the_simulator_in_its_own_process_shares_with_nobody(
    batchkit: Command, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(3))
    assert batchkit("run", "q.jsonl", "--endpoint", "sim").code == 0
    assert not (here / ".state/batchkit/leases.db").exists()
