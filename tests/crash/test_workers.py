"""Worker processes of a real run: killed, stopped, signalled with it, and orphaned."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest

from tests.crash.conftest import write_requests
from tests.crash.ledger import check_finished, read_ledger, summary
from tests.crash.service import Service, serving
from tests.crash.victim import ENVIRONMENT, Victim, run, start

SLOTS = 8
KEY = "fedcba9876543210.fedcba9876543210"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")


@pytest.fixture
def service() -> Iterator[Service]:
    """Lets far more in than the runs may send: what it has in flight is their doing."""
    with serving(
        "--latency", "0.03", "--mark", "[[hang]]=hang", "--limit", "glm-4-plus=1000"
    ) as running:
        yield running


class Bench:
    """One run of one file with two workers."""

    def __init__(self, here: Path, service: Service) -> None:
        self.here = here
        self.out = here / "out"
        self.service = service
        words = ["--endpoint", service.url, "--concurrency", str(SLOTS), "--processes", "2"]
        self.words = ["q.jsonl", *words, "-o", str(self.out)]

    def write(self, count: int) -> None:
        self.ids = write_requests(self.here / "q.jsonl", count, ("glm-4-plus",))

    def start(self) -> Victim:
        """In a group of its own, as in a terminal."""
        return start(self.here, *self.words, start_new_session=True)

    def wait_for_requests(self, victim: Victim, count: int) -> None:
        victim.wait_until(lambda: self.service.stats.requests >= count)
        assert victim.is_running

    def finish(self) -> None:
        ended = run(self.here, *self.words)
        assert ended.code == 0, ended.err
        check_finished(self.out, self.ids)


@pytest.fixture
def bench(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setitem(ENVIRONMENT, "ZAI_API_KEY", KEY)
    return Bench(tmp_path, service)


def workers_of(victim: Victim) -> list[int]:
    """The processes that `victim` has started and that still run."""
    return [pid for pid in _children(victim.pid) if _state(pid) not in {"Z", None}]


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(_state(pid) not in {"Z", None} for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda one: one.name)
def test_a_run_outlives_its_workers(number: Signals, bench: Bench) -> None:
    """Nothing is lost, what was in flight there is all that is asked again, the cap holds."""
    bench.write(300)
    victim = bench.start()
    bench.wait_for_requests(victim, 60)
    before = workers_of(victim)
    os.kill(before[0], number)
    victim.wait_until(lambda: bool(set(workers_of(victim)) - set(before)))
    after = workers_of(victim)
    ended = victim.wait()
    assert ended.code == 0, ended.err
    check_finished(bench.out, bench.ids)
    stats = bench.service.stats
    totals = summary(bench.out)
    assert f"worker process {before[0]} " in ended.err
    assert totals["unknown_billing_attempts"] <= SLOTS
    assert totals["attempts"] == 300 + totals["unknown_billing_attempts"]
    assert stats.requests <= totals["attempts"]
    assert stats.models["glm-4-plus"].max_in_flight == SLOTS
    wait_gone([*before, *after])


def test_ctrl_c_reaches_the_workers_too_and_they_drain(bench: Bench) -> None:
    bench.write(400)
    victim = bench.start()
    bench.wait_for_requests(victim, 60)
    workers = workers_of(victim)
    os.killpg(victim.pid, signal.SIGINT)
    ended = victim.wait()
    stats, ledger = bench.service.quiet_stats(), read_ledger(bench.out)
    assert ended.code == 130
    assert "worker process" not in ended.err
    assert ledger is not None
    assert (stats.answered, stats.abandoned) == (len(ledger.results), 0)
    wait_gone(workers)
    bench.finish()
    assert bench.service.stats.answered == 400


def test_a_second_signal_breaks_off_what_workers_have_in_flight(bench: Bench) -> None:
    bench.write(0)
    with (bench.here / "q.jsonl").open("w", encoding="utf-8") as file:
        for n in range(SLOTS):
            file.write(f'{{"model": "glm-4-plus", "prompt": "[[hang]] {n}"}}\n')
    victim = bench.start()
    victim.wait_until(lambda: bench.service.in_flight == SLOTS)
    workers = workers_of(victim)
    os.killpg(victim.pid, signal.SIGTERM)
    victim.wait_until(lambda: "a second signal breaks it off" in victim.said)
    os.killpg(victim.pid, signal.SIGTERM)
    ended, ledger = victim.wait(10), read_ledger(bench.out)
    assert ended.code == 143
    assert ledger is not None
    assert ledger.tally.total().unknown_attempts == SLOTS
    assert ledger.unrecorded_at_most == 0
    assert bench.service.quiet_stats().abandoned == SLOTS
    wait_gone(workers)


@pytest.mark.parametrize("is_stopped", [False, True], ids=["running", "stopped"])
def test_workers_die_with_their_run(bench: Bench, is_stopped: bool) -> None:
    """Also those that are stopped; and the run goes on from where it was."""
    bench.write(300)
    victim = bench.start()
    bench.wait_for_requests(victim, 60)
    workers = workers_of(victim)
    assert len(workers) == 2
    if is_stopped:
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
    victim.kill()
    wait_gone(workers)
    stats, ledger = bench.service.quiet_stats(), read_ledger(bench.out)
    assert ledger is not None
    assert stats.requests - len(ledger.attempts) <= ledger.unrecorded_at_most
    bench.finish()


def test_the_key_is_in_a_workers_environment_and_nowhere_else(bench: Bench) -> None:
    """Nor do workers share a stream with the run."""
    bench.write(300)
    victim = bench.start()
    bench.wait_for_requests(victim, 60)
    for pid in workers_of(victim):
        here = Path(f"/proc/{pid}")
        assert f"ZAI_API_KEY={KEY}".encode() in (here / "environ").read_bytes().split(b"\0")
        assert KEY.encode() not in (here / "cmdline").read_bytes()
        assert KEY.encode() not in (here / "comm").read_bytes()
        assert {(here / "fd" / number).readlink() for number in "012"} == {Path("/dev/null")}
    assert victim.wait().code == 0
    assert KEY not in victim.said
    for path in bench.out.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
