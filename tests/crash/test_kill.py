"""SIGKILL at random moments: nothing that was committed is lost, and little is asked again."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from random import Random

import pytest

from batchkit.plan import BLOCK_ROWS
from tests.crash.conftest import write_documents, write_requests
from tests.crash.ledger import Ledger, check_finished, lasting, read_ledger, summary, table
from tests.crash.service import Service, serving
from tests.crash.tracing import spoiling, tracing_works
from tests.crash.victim import Victim, run, start

pytestmark = pytest.mark.timeout(300)  # a dozen processes, one after the other

SLOTS = 8  # of each of three models
ROWS = 1200
DOCUMENTS = 100
ANSWERS = 26  # of a model until a start is killed: a lane's third of a part, and what came first
FAULTS = {
    "reset": 0.01,
    "cut": 0.01,
    "1302": 0.03,
    "500": 0.01,
    "network_error": 0.01,
    "html502": 0.005,
}
SITES = [
    ("fsync", "run.json.tmp", 1),
    ("fdatasync", "journal.db-wal", 3),
    ("pwrite64", "journal.db-wal", 20),
    ("fsync", "results/part-{part:05}.arrow.tmp", 1),
    ("unlink", "results/part-{part:05}.arrow.tmp", 1),
    ("rename", "results/part-{part:05}.arrow.tmp", 1),
    ("write", "attempts/part-{part:05}.arrow.tmp", 2),
    ("rename", "attempts/part-{part:05}.arrow.tmp", 1),
    ("fsync", "attempts", 1),
    ("fdatasync", "journal.db-wal", 1),
]
"""Where a kill hits, in this order: system call, file (next part), which of a thread's calls."""
EAGER_SITES = [
    ("pwrite64", "journal.db-wal", 3),  # the plan without rows
    ("fdatasync", "journal.db-wal", 4),  # the first rows
    ("fdatasync", "journal.db-wal", 8),  # more of them beside the sending
    ("pwrite64", "journal.db-wal", 30),
    ("fsync", "results/part-{part:05}.arrow.tmp", 1),
    ("fdatasync", "journal.db-wal", 6),
]
WAL_SITES = [("fdatasync", "journal.db-wal", 3), ("pwrite64", "journal.db-wal", 20)]
RENAME = ("rename", "results/part-{part:05}.arrow.tmp", 1)


class Attack:
    """One run, killed again and again, and the same requests in a run that is left alone.

    The service holds what a start asks beyond so many requests of each model, so that none ends
    before it is killed, nor uses up the rows of the next: every kill hits, however fast things are.
    """

    def __init__(
        self,
        here: Path,
        service: Service,
        rng: Random,
        spec: str,
        ids: list[str],
        *options: str,
        only_attacked: Sequence[str] = (),
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        """`options` are those of both, `only_attacked` of the one that is killed."""
        self.kills = 0
        self.early_kills = 0  # while the input was still being checked
        self._block_rows = block_rows
        self._here, self._service, self._rng, self._ids = here, service, rng, ids
        self._ledger: Ledger | None = None
        self._words = [spec, "--endpoint", service.url, "--concurrency", str(SLOTS), "-q"]
        self._words += options
        assert run(here, *self._words, "-o", "calm").code == 0
        self._words += only_attacked
        attempts = table(here / "calm", "attempts")
        self.requests = len({(attempt["row"], attempt["chunk"]) for attempt in attempts})
        self._before = service.quiet_stats()

    def kill_at_random(self) -> None:
        """At once, while it starts, or while requests are on their way."""
        self._service.control(hold_after=ANSWERS, faults=FAULTS)
        victim = self._start()
        if self._rng.random() < 0.3:
            time.sleep(self._rng.uniform(0, 0.8))
        else:
            begun = self._service.stats.requests
            victim.wait_until(lambda: self._service.stats.requests > begun)
            time.sleep(self._rng.uniform(0, 0.2))
        victim.kill()
        self._killed(victim)

    def kill_at(self, syscall: str, name: str, call: int, *, answers: int | None = ANSWERS) -> None:
        """Start, and kill at the `call`-th `syscall` on one of the run's files.

        `answers` of each model lead there, or as many as there are; without faults, since a row
        that waits to be asked again would be held then.
        """
        self._service.control(hold_after=answers, faults={})
        out = self._here / "out"
        part = next(n for n in count() if not (out / f"results/part-{n:05}.arrow").exists())
        path = out / name.format(part=part)
        tracer = spoiling(syscall, [path], "signal=KILL", when=str(call))
        victim = self._start(tracer)
        self._killed(victim)

    def finish(self, *, alike: bool = True) -> None:
        """Left alone, the run ends as if nothing had happened: `alike` to one without kills."""
        self._service.control(hold_after=None, faults=FAULTS)
        assert self._start().wait().code == 0
        self._check()
        out = self._here / "out"
        check_finished(out, self._ids)
        if alike:
            assert lasting(out) == lasting(self._here / "calm")
        totals, stats = summary(out), self._service.quiet_stats()
        lost = totals["in_flight_at_kills"]
        assert stats.requests - self._before.requests <= totals["attempts"] + lost
        outrun = sum(totals["errors"].get("outrun", {}).values())  # some had been answered too
        repeated = stats.answered - self._before.answered - self.requests
        sys.stdout.write(f"{self.kills} kills, {repeated} answers asked again, bound {lost}\n")
        assert 0 <= repeated <= lost + outrun

    def _start(self, tracer: Sequence[str] = ()) -> Victim:
        words: list[str | Path] = [*self._words, "-o", self._here / "out"]
        return start(self._here, *words, tracer=tracer, block_rows=self._block_rows)

    def _killed(self, victim: Victim) -> None:
        assert victim.wait().code == -signal.SIGKILL
        self._check()
        self.kills += 1
        if self._ledger is not None:
            self.early_kills += self._ledger.total_rows < len(self._ids)

    def _check(self) -> None:
        """What stood in the folder before stands there still; what is unrecorded is bounded."""
        stats = self._service.quiet_stats()
        ledger = read_ledger(self._here / "out")
        if ledger is None:
            assert stats.requests == self._before.requests
            return
        assert self._ledger is None or ledger.includes(self._ledger)
        unrecorded = stats.requests - self._before.requests - len(ledger.attempts)
        assert unrecorded <= ledger.unrecorded_at_most
        self._ledger = ledger


def faulty_service() -> AbstractContextManager[Service]:
    faults = [word for name, chance in FAULTS.items() for word in ("--fault", f"{name}={chance}")]
    return serving("--latency", "lognormal:0.04,0.5", *faults)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 18))]
)
def test_kills_at_any_moment_lose_nothing(seed: int, tmp_path: Path) -> None:
    """No committed answer is lost, and no more is asked again than was under way."""
    with faulty_service() as service:
        ids = write_requests(tmp_path / "q.jsonl", ROWS)
        attack = Attack(tmp_path, service, Random(seed), "q.jsonl", ids)
        for _ in range(2):
            attack.kill_at_random()
        for site in SITES if tracing_works() else []:
            attack.kill_at(*site)
        for _ in range(2):
            attack.kill_at_random()
        attack.finish()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 10))]
)
def test_kills_in_the_middle_of_documents_ask_only_unanswered_chunks_again(
    seed: int, tmp_path: Path
) -> None:
    """The answers of a document's chunks are as safe as those of rows, its last request too."""
    with faulty_service() as service:
        ids = write_documents(tmp_path, DOCUMENTS)
        attack = Attack(tmp_path, service, Random(seed), "job.toml", ids)
        assert attack.requests > 5 * DOCUMENTS
        for site in WAL_SITES if tracing_works() else []:
            attack.kill_at(*site)
        for _ in range(2):
            attack.kill_at_random()
        if tracing_works():
            attack.kill_at(*RENAME, answers=None)  # a run cannot end without it
        attack.finish()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 10))]
)
def test_kills_in_a_run_with_equal_rows_ask_none_of_them_twice(seed: int, tmp_path: Path) -> None:
    """The answer that copies wait for is as safe as its original's result."""
    with faulty_service() as service:
        ids = write_requests(tmp_path / "q.jsonl", 2 * ROWS, distinct=ROWS // 2)
        attack = Attack(tmp_path, service, Random(seed), "q.jsonl", ids, "--dedupe")
        assert attack.requests == ROWS // 2
        for site in [*WAL_SITES, RENAME] if tracing_works() else []:
            attack.kill_at(*site)
        for _ in range(3):
            attack.kill_at_random()
        attack.finish()
    assert summary(tmp_path / "out")["deduplicated"] == 3 * ROWS // 2


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 10))]
)
def test_kills_while_the_input_is_still_checked_lose_nothing(seed: int, tmp_path: Path) -> None:
    """What was planned of the input is as safe as what was answered, and never asked again."""
    with faulty_service() as service:
        ids = write_requests(tmp_path / "q.jsonl", ROWS)
        attack = Attack(
            tmp_path,
            service,
            Random(seed),
            "q.jsonl",
            ids,
            only_attacked=["--eager"],
            block_rows=16,
        )
        for site in EAGER_SITES if tracing_works() else []:
            attack.kill_at(*site)
        for _ in range(3):
            attack.kill_at_random()
        attack.finish()
    assert attack.early_kills >= 3 or not tracing_works()


def test_kills_lose_nothing_while_rows_are_asked_twice_or_go_on(tmp_path: Path) -> None:
    """Two attempts of a row at a time, or of two models: what a kill leaves is bounded as well.

    Which model a row ends with is chance, so the results are those of no other run.
    """
    options = ["--hedge", "--max-attempts", "2", "--fallback", "glm-4-flashx-250414,glm-4-airx"]
    with faulty_service() as service:
        ids = write_requests(tmp_path / "q.jsonl", ROWS)
        attack = Attack(tmp_path, service, Random(7), "q.jsonl", ids, *options)
        for _ in range(5):
            attack.kill_at_random()
        attack.finish(alike=False)
