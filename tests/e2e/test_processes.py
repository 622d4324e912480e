"""Runs that worker processes send for, by the command line."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds

from tests.e2e.conftest import Command, Simulate, prompts, write_rows
from tests.e2e.test_status import wait_for_rows


def test_workers_make_no_difference_to_the_results(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    """Refusals, faults and the key included."""
    write_rows(here / "q.jsonl", prompts(300, max_tokens=20))
    url = simulate(faults={"1302": 0.05, "500": 0.02, "reset": 0.02}, latency="0.01").url
    found = []
    for processes in ("0", "2"):
        out = here / processes
        words = ["--endpoint", url, "--processes", processes, "-o", out]
        done = batchkit("run", "q.jsonl", *words, "--json")
        assert (done.code, json.loads(done.out)["ok"]) == (0, 300), done.err
        columns = ["row", "custom_id", "status", "content", "http_status", "error_kind"]
        table = ds.dataset(out / "results", format="arrow").to_table(columns=columns)
        found.append(table.to_pylist())
        (started,) = [event for event in events(out) if event["event"] == "started"]
        assert started["processes"] == max(1, int(processes))
    assert found[0] == found[1]


def test_workers_can_be_sent_to_the_simulated_service_of_the_run(
    batchkit: Command, here: Path
) -> None:
    """Its key is in no environment but theirs."""
    write_rows(here / "q.jsonl", prompts(50))
    done = batchkit("run", "q.jsonl", "--endpoint", "sim", "--processes", "2", "--json")
    assert (done.code, json.loads(done.out)["ok"]) == (0, 50), done.err


def test_a_refused_key_names_its_variable_whoever_sends(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(20))
    words = ["--endpoint", simulate(check_key=True).url, "--processes", "2"]
    done = batchkit("run", "q.jsonl", *words)
    assert done.code == 3
    assert "check the key in ZAI_API_KEY and run again" in done.err


def test_status_shows_how_busy_the_workers_are(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(2000))
    words = ["--endpoint", simulate(latency="0.2").url, "--concurrency", "20", "--processes", "2"]
    command = [sys.executable, "-m", "batchkit.cli", "run", "q.jsonl", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        status = wait_for_rows(batchkit, process)
        text = batchkit("status", "runs/q").out
        process.send_signal(signal.SIGINT)
    assert len(status["live"]["worker_cpus"]) == 2
    assert re.search(r"^\d+% \+ \d+% \+ \d+% of a core, 2 workers$", text, re.MULTILINE)
    assert process.returncode == 130


def test_a_number_of_processes_that_makes_no_sense_is_refused(
    batchkit: Command, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(1))
    done = batchkit("run", "q.jsonl", "--endpoint", "sim", "--processes", "999")
    assert (done.code, done.err) == (2, "--processes: expected 0 to 64, got 999\n")


def events(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
