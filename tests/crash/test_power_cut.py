"""A power cut anywhere: what had been committed is there, and nothing half-done is taken for done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.crash.conftest import write_requests
from tests.crash.ledger import Ledger, check_finished, lasting, summary, take_ledger
from tests.crash.recording import Call, Disk, Survival, read_calls, recorder
from tests.crash.service import Service, serving
from tests.crash.tracing import needs_strace
from tests.crash.victim import run

pytestmark = needs_strace
MODELS = ("glm-4-plus", "glm-4-air-250414")
SLOTS = 5


class Recorded:
    """Runs in one folder, recorded call by call, with the state at each commit."""

    def __init__(self, here: Path, service: Service) -> None:
        self.here = here
        self.ids = write_requests(here / "q.jsonl", 180, MODELS)
        self.words = ["q.jsonl", "--endpoint", service.url, "--concurrency", str(SLOTS), "-q"]
        self.calls: list[Call] = []

    def record(self, *words: str, code: int = 0) -> None:
        trace = self.here / "trace"
        out = self.here / "out"
        ended = run(self.here, *self.words, "-o", out, *words, tracer=recorder(trace))
        assert ended.code == code, ended.err
        self.calls += read_calls(trace, self.here)

    def commits(self) -> list[int]:
        """After how many calls each commit is durable."""
        return [
            n for n, call in enumerate(self.calls, 1) if call[:2] == ("sync", "out/journal.db-wal")
        ]


def cuts(recorded: Recorded, rng: Random, share: float) -> Iterator[tuple[int, Disk]]:
    """The disk after some of the calls."""
    disk = Disk()
    for n, call in enumerate(recorded.calls, 1):
        disk.do(call)
        if rng.random() < share:
            yield n, disk


def ledger_after(disk: Disk, scratch: Path, survival: Survival, rng: Random) -> Ledger | None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    disk.write_to(scratch, survival, rng)
    return take_ledger(scratch / "out")


@pytest.fixture
def faulty() -> Iterator[Service]:
    with serving("--latency", "0.005", "--fault", "reset=0.02", "--fault", "network_error=0.02") as s:
        yield s


def test_a_power_cut_leaves_whole_commits(faulty: Service, tmp_path: Path, long: bool) -> None:
    """Whatever was not synced is lost, or not, or in part: the state is that of a commit."""
    recorded, rng = Recorded(tmp_path, faulty), Random(0)
    recorded.record()
    scratch = tmp_path / "scratch"
    boundaries = set(recorded.commits())
    states: list[Ledger | None] = []
    state: Ledger | None = None
    disk = Disk()
    for n, call in enumerate(recorded.calls, 1):
        disk.do(call)
        if n in boundaries:
            state = ledger_after(disk, scratch, Survival.NOTHING, rng)
        states.append(state)
    print(len(recorded.calls), len(boundaries))
    left = 0
    disk = Disk()
    for n, call in enumerate(recorded.calls, 1):
        disk.do(call)
        for survival in Survival:
            if not long and rng.random() > 0.05: continue
            found = ledger_after(disk, scratch, survival, rng)
            nxt = next((states[m-1] for m in sorted(boundaries) if m > n), states[-1])
            assert found in (states[n-1], nxt), (n, call[:2], survival)
            left += 1
    print(left)
