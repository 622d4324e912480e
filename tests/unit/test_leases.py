"""Leases: what other runs on this machine hold, also when one is killed, stopped or cut off."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec
import pytest

from batchkit.leases import LOAN_S, TROUBLE, Leases, is_busy
from batchkit.shares import Account, Ask, Share

ACCOUNT = Account("http://x", "k", "m")
ASK = Ask(account=ACCOUNT, cap=60, most=60, needs=60, holds=0, in_flight=0, knows=0, longest_s=4.0)


class Run:
    """A run that has in flight all that it may."""

    def __init__(self, folder: Path) -> None:
        self.leases = Leases(folder)
        self.ceiling = 0
        self.in_flight = 0

    def ask(self, now: float, **changes: object) -> Share:
        asks = msgspec.structs.replace(
            ASK, holds=max(self.ceiling, self.in_flight), in_flight=self.in_flight, **changes
        )
        (share,) = self.leases.exchange([asks], now)
        self.ceiling = share.ceiling
        self.in_flight = max(self.in_flight, share.ceiling)
        return share

    def kill(self) -> None:
        """What the kernel does to a killed process."""
        os.close(self.leases._lock)
        self.leases._db.close()


def test_a_run_alone_has_all_for_a_while(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.ask(0.0) == Share(60, 60, 1, 0, lent_until=LOAN_S)
    assert run.ask(3.0).lent_until == 3.0 + LOAN_S


def test_a_second_run_gets_what_the_first_gives_back(tmp_path: Path) -> None:
    first, second = Run(tmp_path), Run(tmp_path)
    assert (first.ask(0.0).ceiling, second.ask(0.0).ceiling) == (60, 0)
    assert first.ask(0.2).ceiling == 30
    assert second.ask(0.2).ceiling == 0  # the first has still 60 in flight
    first.in_flight = 41
    first.ask(0.4)
    assert second.ask(0.4).ceiling == 19
    first.in_flight = 30
    first.ask(0.6)
    assert second.ask(0.6).ceiling == 30


def test_what_is_given_back_at_the_end_is_free_at_once(tmp_path: Path) -> None:
    first, second = Run(tmp_path), Run(tmp_path)
    first.ask(0.0)
    second.ask(0.0)
    first.leases.close(is_quiet=True)
    assert second.ask(0.2) == Share(60, 60, 1, 0, lent_until=0.2 + LOAN_S)
    second.leases.close(is_quiet=True)
    assert list((tmp_path / "leases").iterdir()) == []


@pytest.mark.parametrize("how", ["killed", "broken off"])
def test_requests_that_nobody_waits_for_keep_their_slots_until_they_must_have_ended(
    how: str, tmp_path: Path
) -> None:
    first, second = Run(tmp_path), Run(tmp_path)
    first.ask(0.0)
    second.ask(0.0)
    if how == "killed":
        first.kill()
    else:
        first.leases.close(is_quiet=False)
    assert second.ask(1.0) == Share(0, 1, 1, 0, lent_until=1.0 + LOAN_S)
    assert second.ask(4.9).ceiling == 0
    assert second.ask(5.0).ceiling == 60
    assert len(list((tmp_path / "leases").iterdir())) == 1


def test_a_run_that_is_stopped_loses_its_loan_and_asks_anew(tmp_path: Path) -> None:
    stopped, other = Run(tmp_path), Run(tmp_path)
    loan = stopped.ask(0.0).lent_until
    assert other.ask(loan - 0.1).ceiling == 0
    assert other.ask(loan).ceiling == 0  # its requests may be in flight still
    assert other.ask(loan + 4.0).ceiling == 60
    assert stopped.in_flight == 60  # as it believes: it has not read the answers
    assert stopped.ask(loan + 5.0).ceiling == 0
    stopped.in_flight = 0
    assert other.ask(loan + 5.2).ceiling == 30
    other.in_flight = 30
    other.ask(loan + 5.4)
    assert stopped.ask(loan + 5.4).ceiling == 30


def test_other_accounts_are_none_of_its_business(tmp_path: Path) -> None:
    first, second = Run(tmp_path), Run(tmp_path)
    first.ask(0.0)
    for account in (
        Account("http://y", "k", "m"),
        Account("http://x", "l", "m"),
        Account("http://x", "k", "n"),
    ):
        (share,) = second.leases.exchange([msgspec.structs.replace(ASK, account=account)], 0.0)
        assert (share.ceiling, share.runs) == (60, 1)


def test_the_wall_is_what_an_earlier_run_has_learned_until_the_living_know_better(
    tmp_path: Path,
) -> None:
    first, second = Run(tmp_path), Run(tmp_path)
    assert first.ask(0.0, start=40).known == 40
    assert first.ask(0.2, heard=-10, knows=30).known == 30
    first.in_flight = first.ceiling = 15
    first.ask(0.4, knows=15, most=15, needs=15)
    assert second.ask(0.4, start=40).known == 15
    for run in (first, second):
        run.leases.close(is_quiet=True)
    third = Run(tmp_path)
    assert third.ask(1.0, start=44).known == 44


def test_a_state_folder_that_cannot_be_used_is_trouble_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "leases.db").write_bytes(b"not a database, and long enough to be one" * 99)
    with pytest.raises(TROUBLE):
        Leases(tmp_path)
    assert list((tmp_path / "leases").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TROUBLE):
        Leases(tmp_path / "file")


def test_a_table_that_another_process_holds_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchkit.leases._BUSY_S", 0.0)
    run = Run(tmp_path)
    holder = sqlite3.connect(tmp_path / "leases.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as error:
        run.ask(0.0)
    assert is_busy(error.value)
    assert not is_busy(OSError())
    holder.close()
    assert run.ask(0.0).ceiling == 60
