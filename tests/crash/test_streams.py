"""Streams that are closed or that nobody reads never stop a run and never change its exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.conftest import write_requests
from tests.crash.ledger import check_finished
from tests.crash.service import Service, serving
from tests.crash.victim import ENVIRONMENT, command


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving("--latency", "0.01", "--mark", "Question 0007 of=filtered") as running:
        yield running


BROKEN = ["{run} <&- >&- 2>&-", "{run} -v --json 2>&1 | true"]
BROKEN_TOO = [
    "{run} 2>&-",
    "{run} >&-",
    "{run} -v --json 2>&1 >/dev/null | head -1",
    "{run} --json 2>/dev/null | true",
    "{run} --json >/dev/full 2>/dev/full",
]


@pytest.mark.parametrize(
    "shell", [*BROKEN, *(pytest.param(shell, marks=pytest.mark.long) for shell in BROKEN_TOO)]
)
def test_a_run_does_not_need_its_streams(shell: str, service: Service, tmp_path: Path) -> None:
    ids = write_requests(tmp_path / "q.jsonl", 60)
    run = command("q.jsonl", "--endpoint", service.url, "-o", "out")
    words = f"set -o pipefail; {shell.format(run=run)}"
    done = subprocess.run(
        ["bash", "-c", words],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 1, done.stderr
    check_finished(tmp_path / "out", ids)


def test_talk_never_goes_to_stdout(service: Service, tmp_path: Path) -> None:
    """Not even when there is no stderr: stdout is for results."""
    write_requests(tmp_path / "q.jsonl", 10)
    run = command("q.jsonl", "--endpoint", service.url, "-o", "out", "-v", "--json")
    done = subprocess.run(
        ["bash", "-c", f"{run} 2>&-"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert json.loads(done.stdout)["rows"] == 10
