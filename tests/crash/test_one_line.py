"""Trouble that turns up between two steps is one line and an exit code, never a traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.conftest import write_requests
from tests.crash.ledger import check_finished
from tests.crash.service import Service, serving
from tests.crash.victim import PART_ROWS, run, start

NANO = '[models."glm-5-nano"]\nconcurrency = 4\nprice = { input = "1", output = "1" }\n'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    table = tmp_path_factory.mktemp("models") / "more.toml"
    table.write_text(NANO, "utf-8")
    with serving("--latency", "0.03", "--models", str(table)) as running:
        yield running


def test_a_budget_in_two_currencies(service: Service, tmp_path: Path) -> None:
    write_requests(tmp_path / "q.jsonl", 4, ("glm-4-plus", "glm-5-nano"))
    dollars = NANO.replace("output", 'currency = "USD", output')
    (tmp_path / "more.toml").write_text(dollars, "utf-8")
    words = ["q.jsonl", "--endpoint", service.url, "--models", "more.toml", "--budget", "1"]
    ended = run(tmp_path, *words)
    assert ended.code == 2
    assert ended.err.endswith("--budget: the models cost CNY and USD; a budget has one currency\n")


def test_a_model_that_was_in_flight_at_a_kill_and_is_in_no_table_any_more(
    service: Service, tmp_path: Path
) -> None:
    ids = write_requests(tmp_path / "q.jsonl", 60, ("glm-5-nano",))
    (tmp_path / "more.toml").write_text(NANO, "utf-8")
    words = ["q.jsonl", "--endpoint", service.url, "-o", "out"]
    victim = start(tmp_path, *words, "--models", "more.toml")
    before = service.stats.answered
    victim.wait_until(lambda: service.stats.answered >= before + 8)
    victim.kill()
    write_requests(tmp_path / "q.jsonl", 60, ("glm-4-plus",))
    ended = run(tmp_path, *words, "--update")
    assert ended.code == 0, ended.err
    assert "glm-5-nano: the last start was killed with at most" in ended.err
    check_finished(tmp_path / "out", ids)


def test_a_value_that_is_damaged_while_the_run_goes_on(service: Service, tmp_path: Path) -> None:
    """It is noticed when its part is sealed; the run stops, and does not look complete."""
    write_requests(tmp_path / "q.jsonl", PART_ROWS, ("glm-4-plus",))
    words = ["q.jsonl", "--endpoint", service.url, "-o", "out", "--concurrency", "2", "-q"]
    victim = start(tmp_path, *words)
    before = service.stats.answered
    victim.wait_until(lambda: service.stats.answered >= before + 8)
    with closing(sqlite3.connect(tmp_path / "out/journal.db", isolation_level=None)) as journal:
        ((row,),) = journal.execute("SELECT min(row) FROM result")
        damage = "UPDATE result SET value = CAST(x'00' || value AS BLOB) WHERE row = ?"
        assert journal.execute(damage, (row,)).rowcount == 1
    ended = victim.wait()
    fault = f"out/journal.db: result of row {row}: the value does not match its checksum"
    assert ended.code == 3, ended.err
    assert ended.err.startswith(fault)
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out/summary.json").exists()
    ended = run(tmp_path, *words, "--reask-damaged")
    assert ended.code == 0, ended.err
