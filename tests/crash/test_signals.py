"""Signals in each phase: what arrived is kept, the exit code and the words say how to go on."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import Signals

import pytest

from tests.crash.conftest import write_requests
from tests.crash.ledger import check_finished, read_ledger
from tests.crash.service import Service, serving
from tests.crash.tracing import needs_strace, spoiling
from tests.crash.victim import PART_ROWS, Victim, run, start

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


def every_signal(first: Signals) -> pytest.MarkDecorator:
    """All signals at full length, else `first`."""
    rest = [pytest.param(number, marks=pytest.mark.long) for number in CODES if number != first]
    return pytest.mark.parametrize("number", [first, *rest], ids=lambda number: number.name)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Answers at once, but for what asks it to be slow."""
    with serving(
        "--latency", "0.01", "--slow", "1.5", "--mark", "[[slow]]=slow", "--mark", "[[hang]]=hang"
    ) as running:
        yield running


class Bench:
    """One run of one file."""

    def __init__(self, here: Path, service: Service) -> None:
        self.here = here
        self.out = here / "out"
        self.service = service
        self.words = ["q.jsonl", "--endpoint", service.url, "--concurrency", "4"]

    def write(self, count: int, last: Sequence[str] = ()) -> None:
        """A file of `count` rows, and one for each word of `last`."""
        path = self.here / "q.jsonl"
        self.ids = write_requests(path, count)
        with path.open("a", encoding="utf-8") as file:
            for n, word in enumerate(last):
                row = {"model": "glm-4-plus", "prompt": f"{word} {n} {self.here}"}
                file.write(json.dumps(row) + "\n")

    def start(self, *words: str, tracer: Sequence[str] = ()) -> Victim:
        return start(self.here, *self.words, "-o", self.out, *words, tracer=tracer)

    def wait_for_requests(self, victim: Victim, count: int) -> None:
        begun = self.service.stats.requests
        victim.wait_until(lambda: self.service.stats.requests >= begun + count)

    def finish(self, *words: str) -> None:
        """The same command, left alone, goes on to the end."""
        ended = run(self.here, *self.words, "-o", self.out, *words)
        assert ended.code == 0, ended.err
        check_finished(self.out, self.ids)


@pytest.fixture
def bench(tmp_path: Path, service: Service) -> Bench:
    return Bench(tmp_path, service)


@every_signal(signal.SIGHUP)
def test_a_signal_while_planning_leaves_nothing_behind(number: Signals, bench: Bench) -> None:
    bench.write(60_000)
    victim = bench.start()
    victim.wait_until((bench.out / "journal.db-wal").exists)
    victim.send(number)
    victim.send(number)
    ended = victim.wait()
    assert ended.code == CODES[number]
    assert ended.err == (
        f"stopped by {number.name}, nothing was in flight; run the same command again to go on\n"
    )
    assert [path.name for path in bench.out.iterdir()] == ["run.lock"]
    assert bench.service.in_flight == 0


@every_signal(signal.SIGTERM)
def test_a_signal_lets_what_is_in_flight_finish(number: Signals, bench: Bench) -> None:
    bench.write(2_000)
    victim = bench.start()
    before = bench.service.stats
    bench.wait_for_requests(victim, 60)
    victim.send(number)
    ended = victim.wait()
    stats, ledger = bench.service.quiet_stats(), read_ledger(bench.out)
    assert ended.code == CODES[number]
    assert ledger is not None
    assert stats.answered - before.answered == len(ledger.results)
    assert stats.abandoned == before.abandoned
    assert ledger.unrecorded_at_most == 0
    assert f"stopped by {number.name}: {len(ledger.results):,} of 2,000 rows" in ended.err
    assert ended.err.endswith("run the same command again to go on\n")


def test_what_signals_stopped_goes_on_to_the_end(bench: Bench) -> None:
    bench.write(1000)
    before = bench.service.stats
    for number, code in CODES.items():
        victim = bench.start()
        bench.wait_for_requests(victim, 20)
        victim.send(number)
        assert victim.wait().code == code
    bench.finish()
    assert bench.service.stats.answered - before.answered == 1000


@every_signal(signal.SIGINT)
def test_a_second_signal_breaks_off_and_keeps_what_arrived(number: Signals, bench: Bench) -> None:
    bench.write(40, last=4 * ["[[hang]]"])
    before = bench.service.stats.answered
    victim = bench.start()
    victim.wait_until(
        lambda: bench.service.stats.answered == before + 40 and bench.service.in_flight == 4
    )
    victim.send(number)
    victim.wait_until(lambda: "a second signal breaks it off" in victim.said)
    victim.send(number)
    ended, ledger = victim.wait(10), read_ledger(bench.out)
    assert ended.code == CODES[number]
    assert ledger is not None
    assert (len(ledger.results), len(ledger.attempts)) == (40, 44)
    assert ledger.tally.total().unknown_attempts == 4
    assert ledger.unrecorded_at_most == 0


def test_the_drain_is_bounded(bench: Bench) -> None:
    """What does not end in time is broken off, and is not counted a second time as in flight."""
    bench.write(1, last=2 * ["[[hang]]"])
    before = bench.service.stats.answered
    victim = bench.start("--drain", "0.3")
    victim.wait_until(
        lambda: bench.service.stats.answered == before + 1 and bench.service.in_flight == 2
    )
    victim.send(signal.SIGTERM)
    ended, ledger = victim.wait(10), read_ledger(bench.out)
    assert ended.code == 143
    assert ledger is not None
    assert (len(ledger.results), len(ledger.attempts)) == (1, 3)
    assert ledger.unrecorded_at_most == 0


@needs_strace
@every_signal(signal.SIGTERM)
def test_a_signal_within_a_seal_lets_it_end(number: Signals, bench: Bench) -> None:
    bench.write(PART_ROWS)
    unfinished = bench.out / "results/part-00000.arrow.tmp"
    victim = bench.start(tracer=spoiling("fsync", [unfinished], "delay_exit=700000"))
    victim.wait_until(lambda: unfinished.exists() and unfinished.stat().st_size > 0)
    victim.send(number)
    assert victim.wait().code == CODES[number]
    check_finished(bench.out, bench.ids)


def test_a_signal_that_its_starter_ignores_does_not_stop_a_run(bench: Bench) -> None:
    """As `nohup` has it."""
    bench.write(100)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        victim = bench.start()
    finally:
        signal.signal(signal.SIGHUP, ignored)
    bench.wait_for_requests(victim, 10)
    victim.send(signal.SIGHUP)
    assert victim.wait().code == 0
