"""Processes with one key: the account's cap holds, whoever comes, is killed or is stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchkit.status import read_status
from tests.crash.conftest import write_requests
from tests.crash.service import Service, serving
from tests.crash.victim import Victim, start

CAP = 50  # of glm-4-plus at V0
MODELS = ("glm-4-plus",)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving("--latency", "lognormal:0.3,0.3") as running:
        yield running


class Account:
    """Processes that share an account, and the account as the service sees it."""

    def __init__(self, here: Path, service: Service) -> None:
        self._here, self._service = here, service
        self._victims: dict[str, Victim] = {}

    def start(self, name: str) -> Victim:
        here = self._here / name
        here.mkdir()
        write_requests(here / "q.jsonl", 6_000, MODELS)
        words = ["q.jsonl", "--endpoint", self._service.url, "-o", "out"]
        victim = start(here, *words, state=self._here / "state")
        self._victims[name] = victim
        return victim

    def shares(self) -> list[int]:
        """The slots of each process that runs, as `status` says."""
        looks = [
            read_status(self._here / name / "out", "")
            for name, victim in self._victims.items()
            if victim.is_running and (self._here / name / "out/journal.db").exists()
        ]
        return [model.limit for look in looks if look.live for model in look.live.models]

    def wait_for(self, *shares: int) -> None:
        """Wait until the processes have these slots, and all of them are in use."""
        watched = next(victim for victim in self._victims.values() if victim.is_running)
        watched.wait_until(
            lambda: sorted(self.shares()) == sorted(shares) and self._service.in_flight >= CAP - 2
        )
        assert watched.is_running

    def stop(self) -> None:
        running = [victim for victim in self._victims.values() if victim.is_running]
        for victim in running:
            victim.send(signal.SIGTERM)
        assert [victim.wait().code for victim in running] == [143] * len(running)

    def check(self) -> None:
        """The cap was reached and held, and nobody was refused."""
        stats = self._service.quiet_stats()
        assert stats.models["glm-4-plus"].max_in_flight == CAP
        assert (stats.refused, stats.codes) == (0, {})


@pytest.fixture
def account(tmp_path: Path, service: Service) -> Account:
    return Account(tmp_path, service)


def test_three_processes_and_a_kill_never_exceed_the_cap_and_keep_it_full(
    account: Account,
) -> None:
    account.start("a")
    account.wait_for(50)
    killed = account.start("b")
    account.start("c")
    account.wait_for(16, 17, 17)
    killed.kill()
    account.wait_for(25, 25)
    account.stop()
    account.check()


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_process_that_is_stopped_loses_its_slots_and_asks_anew_when_it_goes_on(
    account: Account,
) -> None:
    account.start("a")
    frozen = account.start("b")
    account.wait_for(25, 25)
    frozen.send(signal.SIGSTOP)
    account.wait_for(25, 50)  # the frozen one still says what it had
    frozen.send(signal.SIGCONT)
    account.wait_for(25, 25)
    account.stop()
    account.check()
