"""Looking at a run from another process, while it goes on and afterwards."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import batchkit as bk
from batchkit.commands import status as status_command
from tests.e2e.conftest import Command, Simulate, prompts, write_rows


def test_status_of_a_finished_run_is_its_summary(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(20))
    run = batchkit("run", "q.jsonl", "--endpoint", simulate().url, "--json")
    status = json.loads(batchkit("status", "runs/q", "--json").out)
    assert status["state"] == "complete"
    assert status["rows_left"] == 0
    assert status["summary"] == json.loads(run.out)
    text = batchkit("status", "runs/q").out
    assert text.startswith("complete, 0 rows left\n")


def test_status_of_a_running_run_tells_what_it_is_doing(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(2000))
    words = ["run", "q.jsonl", "--endpoint", simulate(latency="0.2").url, "--concurrency", "20"]
    command = [sys.executable, "-m", "batchkit.cli", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        status = wait_for_rows(batchkit, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert status["state"] == "running"
    assert status["live"]["pid"] == process.pid
    (model,) = status["live"]["models"]
    assert (model["name"], model["limit"]) == ("glm-4-flash-250414", 20)
    assert 0 < model["in_flight"] <= 20
    assert process.returncode == 130
    assert b"stopped by SIGINT" in said
    assert b"run the same command again to go on" in said
    stopped = json.loads(batchkit("status", "runs/q", "--json").out)
    assert stopped["state"] == "stopped"
    assert stopped["live"] is None


def test_a_watch_goes_on_until_the_run_has_ended(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    """On a terminal of its own, where each look takes the place of the last."""
    write_rows(here / "q.jsonl", prompts(400))
    words = ["run", "q.jsonl", "--endpoint", simulate(latency="0.2").url, "--concurrency", "40"]
    with subprocess.Popen([sys.executable, "-m", "batchkit.cli", *words, "-q"]) as process:
        wait_for_rows(batchkit, process)
        shown = _on_a_terminal(
            [sys.executable, "-m", "batchkit.cli", "status", "runs/q", "--watch"]
        )
    assert process.returncode == 0
    assert "running, " in shown
    assert "\x1b[2K" in shown  # a line is cleared and drawn again
    assert "complete, 0 rows left" in shown[shown.rindex("rows left") - 20 :]


def test_a_watch_off_a_terminal_prints_one_look_after_another(
    batchkit: Command, simulate: Simulate, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_command, "_EVERY_ELSEWHERE_S", 0.2)
    write_rows(here / "q.jsonl", prompts(400))
    words = ["run", "q.jsonl", "--endpoint", simulate(latency="0.2").url, "--concurrency", "40"]
    with subprocess.Popen([sys.executable, "-m", "batchkit.cli", *words, "-q"]) as process:
        wait_for_rows(batchkit, process)
        done = batchkit("status", "runs/q", "--watch", "--json")
    states = [json.loads(line)["state"] for line in done.out.splitlines()]
    assert (done.code, states[0], states[-1]) == (0, "running", "complete")


def _on_a_terminal(command: list[str]) -> str:
    """What a command shows on a terminal, escape sequences included."""
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        while True:
            try:
                block = os.read(ours, 4096)
            except OSError:  # the other end was closed
                break
            if not block:
                break
            shown += block
    os.close(ours)
    return shown.decode()


def wait_for_rows(batchkit: Command, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        done = batchkit("status", "runs/q", "--json")
        status: dict[str, Any] = json.loads(done.out) if done.code == 0 else {}
        live = status.get("live") or {"models": []}
        if status and status["summary"]["ok"] and any(m["in_flight"] for m in live["models"]):
            return status
        time.sleep(0.1)
    raise AssertionError("the run never showed rows in flight")


def test_the_log_has_an_event_a_line_and_no_text_of_rows(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    rows = prompts(5)
    rows[2]["prompt"] = "secret words [[filter]]"
    write_rows(here / "q.jsonl", rows)
    running = simulate(marks={"[[filter]]": "filtered"})
    assert batchkit("run", "q.jsonl", "--endpoint", running.url, "-v").code == 1
    text = (here / "runs/q/log.jsonl").read_text("utf-8")
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert events == ["started", "estimated", "row_failed", "part_sealed", "measured", "ended"]
    assert "secret" not in text


def test_refusals_are_told_in_bursts_and_the_limit_as_it_changes(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(300))
    running = simulate(limits={"glm-4-flash-250414": 10}, latency="0.02")
    assert batchkit("run", "q.jsonl", "--endpoint", running.url, "--concurrency", "60").code == 0
    log = [json.loads(line) for line in (here / "runs/q/log.jsonl").read_bytes().splitlines()]
    summary = json.loads((here / "runs/q/summary.json").read_bytes())
    bursts = [line for line in log if line["event"] == "refused_burst"]
    assert summary["refused"] >= 10
    assert sum(line["refusals"] for line in bursts) == summary["refused"]
    assert len(bursts) <= 3
    assert any(line["event"] == "limit_changed" for line in log)


def test_answers_stand_in_the_log_only_when_asked_for(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(3))
    words = ("run", "q.jsonl", "--endpoint", simulate().url, "--log-content")
    assert batchkit(*words).code == 0
    log = [json.loads(line) for line in (here / "runs/q/log.jsonl").read_bytes().splitlines()]
    logged = {line["row"]: line["content"] for line in log if line["event"] == "row_ok"}
    answers = bk.read_results(here / "runs/q")["content"].to_pylist()
    assert logged == dict(enumerate(answers))


def test_the_python_api_runs_and_reads(simulate: Simulate, here: Path) -> None:
    path = write_rows(here / "q.jsonl", prompts(10))
    summary = bk.run(path, endpoint=simulate().url, out=here / "out")
    assert (summary.ok, summary.exit_code) == (10, 0)
    table = bk.read_results(here / "out")
    assert table["custom_id"].to_pylist() == [f"q-{n}" for n in range(10)]


@pytest.mark.anyio
async def test_the_async_twin_runs_in_a_loop_that_runs_already(
    simulate: Simulate, here: Path
) -> None:
    path = write_rows(here / "q.jsonl", prompts(10))
    summary = await bk.run_async(path, endpoint=simulate().url, out=here / "out")
    assert summary.ok == 10


def test_the_api_raises_what_the_command_line_says(simulate: Simulate, here: Path) -> None:
    path = write_rows(here / "q.jsonl", prompts(10))
    with pytest.raises(bk.UsageError, match="not in the model table"):
        bk.run(path, model="gpt-9", endpoint=simulate().url)
    with pytest.raises(bk.StoppedError, match="429/1113 the account is in arrears"):
        bk.run(path, endpoint=simulate(arrears_after=3).url, concurrency=1)
