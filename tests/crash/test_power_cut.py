"""A power cut anywhere: what was committed is there, and nothing half-done is taken for done."""

from __future__ import annotations

import shutil
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.crash.conftest import write_requests
from tests.crash.ledger import Ledger, check_finished, lasting, read_ledger, summary, take_ledger
from tests.crash.recording import Call, Disk, Survival, read_calls, recorder
from tests.crash.service import Service, serving
from tests.crash.tracing import needs_strace
from tests.crash.victim import run

pytestmark = needs_strace
MODELS = ("glm-4-plus", "glm-4-air-250414")
ROWS = 180
FAULTS = {"reset": 0.02, "network_error": 0.02, "1302": 0.02}


class Recorded:
    """Starts of one run, recorded call by call."""

    def __init__(self, here: Path, service: Service) -> None:
        self.here = here
        self.service = service
        self.ids = write_requests(here / "q.jsonl", ROWS, MODELS)
        self.words = ["q.jsonl", "--endpoint", service.url, "--concurrency", "5", "-q"]
        self.calls: list[Call] = []

    def start(self, *words: str, code: int = 0) -> None:
        trace = self.here / "trace"
        tracer = recorder(trace)
        ended = run(self.here, *self.words, "-o", self.here / "out", *words, tracer=tracer)
        assert ended.code == code, ended.err
        self.calls += read_calls(trace, self.here)

    def disks(self) -> Iterator[tuple[int, Disk]]:
        """The disk after each call."""
        disk = Disk()
        for number, call in enumerate(self.calls, 1):
            disk.do(call)
            yield number, disk

    def lay_out(self, disk: Disk, survival: Survival, rng: Random) -> Path:
        scratch = self.here / "left"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        disk.write_to(scratch, survival, rng)
        return scratch / "out"


class States:
    """What a run comes to, commit by commit."""

    def __init__(self, recorded: Recorded) -> None:
        self.after: list[int] = [0]  # so many calls
        self._states: list[Ledger | None] = [None]
        for number, disk in recorded.disks():
            if recorded.calls[number - 1][:2] == ("sync", "out/journal.db-wal"):
                out = recorded.lay_out(disk, Survival.NOTHING, Random(number))
                self.after.append(number)
                self._states.append(take_ledger(out))

    def around(self, calls: int) -> list[Ledger | None]:
        """The last committed state after so many calls, and the one that may be there already."""
        index = bisect_right(self.after, calls)
        return self._states[index - 1 : index + 1]


@pytest.fixture
def service() -> Iterator[Service]:
    faults = [word for name, chance in FAULTS.items() for word in ("--fault", f"{name}={chance}")]
    with serving("--latency", "0.005", *faults) as running:
        yield running


def stopped_and_finished(recorded: Recorded) -> None:
    recorded.start("--budget", "0.002", code=3)
    recorded.start()


def failed_rows_asked_again(recorded: Recorded) -> None:
    recorded.service.control(faults={"filtered": 0.05})
    recorded.start(code=1)
    recorded.service.control(faults={})
    recorded.start("--retry-failed")


def rows_removed(recorded: Recorded) -> None:
    recorded.start()
    lines = (recorded.here / "q.jsonl").read_text("utf-8").splitlines(keepends=True)
    (recorded.here / "q.jsonl").write_text("".join(lines[5:110]), "utf-8")
    recorded.start("--update")


@pytest.mark.parametrize(
    ("story", "share"),
    [
        (rows_removed, 0.05),
        *(
            pytest.param(story, 1, marks=pytest.mark.long)
            for story in (stopped_and_finished, failed_rows_asked_again, rows_removed)
        ),
    ],
)
@pytest.mark.timeout(600)
def test_a_power_cut_leaves_whole_commits(
    story: Callable[[Recorded], None], share: float, service: Service, tmp_path: Path
) -> None:
    """Whatever was not synced is lost, or not, or in part: what is left is what was committed."""
    recorded, rng = Recorded(tmp_path, service), Random(0)
    story(recorded)
    states = States(recorded)
    assert len(states.after) > 30
    cuts = 0
    for number, disk in recorded.disks():
        for survival in Survival:
            if rng.random() < share:
                left = take_ledger(recorded.lay_out(disk, survival, rng))
                assert left in states.around(number), (number, survival)
                cuts += 1
    sys.stdout.write(f"{cuts} power cuts among {len(recorded.calls)} calls\n")


@pytest.mark.parametrize("cuts", [2, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_a_run_goes_on_after_a_power_cut(cuts: int, service: Service, tmp_path: Path) -> None:
    """The same results as without one, and no more asked again than was under way."""
    recorded, rng = Recorded(tmp_path, service), Random(0)
    recorded.start()
    chosen = {rng.randrange(len(recorded.calls)) for _ in range(cuts)}
    for number, disk in recorded.disks():
        if number not in chosen:
            continue
        out = recorded.lay_out(disk, rng.choice(list(Survival)), rng)
        ledger, before = read_ledger(out), service.quiet_stats()
        assert run(tmp_path, *recorded.words, "-o", out).code == 0
        check_finished(out, recorded.ids)
        assert lasting(out) == lasting(tmp_path / "out")
        asked = service.quiet_stats().answered - before.answered
        assert asked <= ROWS - (len(ledger.results) if ledger else 0)
        lost = summary(out)["in_flight_at_kills"]
        assert lost == (ledger.unrecorded_at_most if ledger else 0)
