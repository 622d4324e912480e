"""`run --eager`: a signal while rows are sent and the others are still checked."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchkit.journal import Journal
from batchkit.plan import Plan, decode_plan
from tests.crash.conftest import write_requests
from tests.crash.ledger import check_finished, read_ledger
from tests.crash.service import Service, serving
from tests.crash.victim import Victim, start

BLOCK = 8  # rows
ROWS = 4000


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving("--latency", "0.01", "--mark", "[[hang]]=hang") as running:
        yield running


class Bench:
    """One run over one file, whose check takes longer than its first answers."""

    def __init__(self, here: Path, service: Service) -> None:
        self.here = here
        self.out = here / "out"
        self.service = service

    def start(self, *words: str) -> Victim:
        fixed = ["q.jsonl", "--endpoint", self.service.url, "--concurrency", "4"]
        return start(self.here, *fixed, "-o", self.out, *words, block_rows=BLOCK)

    def wait_for_requests(self, victim: Victim, count: int) -> None:
        begun = self.service.stats.requests
        victim.wait_until(lambda: self.service.stats.requests >= begun + count)

    def plan(self) -> Plan:
        with closing(Journal.open(self.out / "journal.db", read_only=True)) as journal:
            blob = journal.get("plan")
        assert blob is not None
        return decode_plan(blob)


@pytest.fixture
def bench(tmp_path: Path, service: Service) -> Bench:
    return Bench(tmp_path, service)


@pytest.mark.parametrize("how", [[], ["--eager"]], ids=["checked first", "eager"])
def test_a_signal_ends_the_check_too_and_the_run_goes_on(bench: Bench, how: list[str]) -> None:
    ids = write_requests(bench.here / "q.jsonl", ROWS)
    victim = bench.start("--eager")
    bench.wait_for_requests(victim, 20)
    victim.send(signal.SIGINT)
    ended = victim.wait()
    plan, ledger = bench.plan(), read_ledger(bench.out)
    assert ended.code == 130
    assert f"of {plan.rows:,} rows checked so far are safe" in ended.err
    assert (plan.is_whole, plan.rows < ROWS, plan.rows % BLOCK) == (False, True, 0)
    assert ledger is not None
    assert ledger.at_kill == []
    assert bench.start(*how).wait().code == 0
    check_finished(bench.out, ids)
    assert bench.plan().rows == ROWS


def test_a_second_signal_breaks_the_check_off_with_the_requests(bench: Bench) -> None:
    write_requests(bench.here / "q.jsonl", ROWS)
    with (bench.here / "q.jsonl").open("r+", encoding="utf-8") as file:
        rows = file.readlines()
        hanging = {"model": "glm-4-plus", "prompt": f"[[hang]] {bench.here}"}
        file.seek(0)
        file.writelines([json.dumps(hanging) + "\n", *rows])
    victim = bench.start("--eager")
    bench.wait_for_requests(victim, 20)
    victim.send(signal.SIGINT)
    victim.wait_until(lambda: "SIGINT" in victim.said)
    victim.send(signal.SIGINT)
    assert victim.wait().code == 130
    assert not bench.plan().is_whole
    assert read_ledger(bench.out) is not None
