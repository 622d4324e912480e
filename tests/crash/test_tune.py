"""`batchkit tune` on a process that runs: at once, without its lock, and never by surprise."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from batchkit.status import read_status
from tests.crash.conftest import write_requests
from tests.crash.ledger import check_finished
from tests.crash.service import Service, serving
from tests.crash.victim import ENVIRONMENT, Victim, run, start

NO_MORE = "the table has no more, 9 were asked for"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving("--latency", "0.05") as running:
        yield running


class Said(NamedTuple):
    code: int
    err: str


def tune(out: Path, *words: str) -> Said:
    command = [sys.executable, "-m", "batchkit.cli", "tune", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.stdout == ""
    return Said(done.returncode, done.stderr)


class Bench:
    """A run of plus (50 slots) and airx (5), begun with few of them."""

    def __init__(self, here: Path, service: Service) -> None:
        self.here, self.out, self.service = here, here / "out", service
        self.words = ["q.jsonl", "--endpoint", service.url, "-o", "out"]

    def start(self, rows: int, *words: str) -> Victim:
        self.ids = write_requests(self.here / "q.jsonl", rows, ("glm-4-plus", "glm-4-airx"))
        return start(self.here, *self.words, *words)

    def wait_for(self, victim: Victim, plus: int, airx: int) -> None:
        """Wait until so many are in flight."""

        def holds() -> bool:
            models = self.service.stats.models
            return (models["glm-4-plus"].in_flight, models["glm-4-airx"].in_flight) == (plus, airx)

        victim.wait_until(holds)
        assert victim.is_running


@pytest.fixture
def bench(tmp_path: Path, service: Service) -> Bench:
    return Bench(tmp_path, service)


def test_slots_are_taken_away_and_given_while_it_runs_and_no_row_is_lost(bench: Bench) -> None:
    victim = bench.start(1600, "--concurrency", "4")
    bench.wait_for(victim, 4, 4)
    said = tune(bench.out, "--concurrency", "glm-4-plus=30", "--concurrency", "GLM-4-AIRX=9")
    assert (said.code, said.err.splitlines()) == (
        0,
        [
            "glm-4-plus: at most 30 requests in flight, 4 before",
            f"glm-4-airx: at most 5 requests in flight, 4 before; {NO_MORE}",
        ],
    )
    bench.wait_for(victim, 30, 5)
    assert tune(bench.out, "--concurrency", "2").code == 0
    bench.wait_for(victim, 2, 2)
    assert tune(bench.out, "--concurrency", "50").code == 0
    assert victim.wait().code == 0
    check_finished(bench.out, bench.ids)


def test_a_pause_sends_nothing_is_shown_and_ends(bench: Bench) -> None:
    victim = bench.start(800, "--concurrency", "4")
    bench.wait_for(victim, 4, 4)
    said = tune(bench.out, "--pause")
    assert said.code == 0
    assert said.err.startswith("paused: nothing more is sent; ")
    bench.wait_for(victim, 0, 0)
    begun = bench.service.stats.requests
    victim.wait_until(lambda: read_status(bench.out, "").state == "paused")
    assert bench.service.stats.requests == begun
    assert tune(bench.out, "--resume", "--concurrency", "40").err.endswith("not paused\n")
    assert victim.wait().code == 0
    check_finished(bench.out, bench.ids)


def test_a_stop_while_paused_works_and_the_pause_does_not_outlive_the_process(
    bench: Bench,
) -> None:
    victim = bench.start(400, "--concurrency", "4")
    bench.wait_for(victim, 4, 4)
    assert tune(bench.out, "--pause").code == 0
    bench.wait_for(victim, 0, 0)
    victim.send(signal.SIGINT)
    assert victim.wait(10).code == 130
    assert tune(bench.out, "--resume") == (
        2,
        f"{bench.out}: nothing is running here; start it with batchkit run\n",
    )
    assert list(bench.out.glob("*tune*")) == []
    assert run(bench.here, *bench.words).code == 0
    check_finished(bench.out, bench.ids)


def test_a_model_that_the_run_does_not_have_is_refused_and_nothing_changes(bench: Bench) -> None:
    victim = bench.start(3000, "--concurrency", "2")
    bench.wait_for(victim, 2, 2)
    assert tune(bench.out, "--concurrency", "glm-9=3", "--pause") == (
        2,
        "--concurrency: 'glm-9' is no model of this run: glm-4-airx, glm-4-plus\n",
    )
    bench.wait_for(victim, 2, 2)
    victim.kill()
