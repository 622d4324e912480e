"""Steering: whoever lends, the user's wishes, and what is kept for the next run."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchkit.learned import Evidence, LearnedLimits
from batchkit.leases import LOAN_S
from batchkit.shares import Account, Alone, Ask, Lender, Share
from batchkit.steering import Steering
from batchkit.tuning import Answer, Tune, Wishes

pytestmark = pytest.mark.anyio

STATE = Path("state")


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return 1e9 + self.at


class FakeReins:
    """A lane of 50 slots, 10 of which the user allows."""

    def __init__(self, name: str, model: str | None = None) -> None:
        self.name = name
        self.model = model or name
        self.account = Account("http://x", "k", name)
        self.table, self.allowed, self.in_flight, self.ceiling, self.runs = 50, 10, 4, 0, 1
        self.is_paused = False
        self.start: int | None = None
        self.evidence = Evidence()
        self.taken: list[Share] = []

    def ask(self) -> Ask:
        return Ask(account=self.account, cap=50, most=10, needs=10, holds=0, in_flight=4, knows=10)

    def take(self, share: Share, heard: int, now: float) -> None:
        assert (heard, now >= 1e9) == (0, True)
        self.taken.append(share)

    def words(self, wanted: int) -> str:
        return f"{self.name}: {wanted}"

    def allow(self, slots: int) -> None:
        self.allowed = slots

    def pause(self, *, is_paused: bool) -> None:
        self.is_paused = is_paused


class Failing:
    """Lends all that is wanted, after the troubles that it was given."""

    def __init__(self, *troubles: Exception | None) -> None:
        self.troubles = list(troubles)
        self.closed: list[bool] = []

    def exchange(self, asks: Sequence[Ask], now: float) -> list[Share]:
        if self.troubles and (trouble := self.troubles.pop(0)) is not None:
            raise trouble
        return [Share(7, 7, 2, 0, lent_until=now + LOAN_S) for _ in asks]

    def close(self, *, is_quiet: bool) -> None:
        self.closed.append(is_quiet)


class Bench:
    def __init__(self, folder: Path, lender: Lender, *, refusal: str | None = None) -> None:
        self.reins = [FakeReins("m"), FakeReins("n")]
        self.said: list[str] = []
        self.rooms: list[dict[str, int]] = []
        self.learned = LearnedLimits(folder)
        self.clock = Clock()
        self._refusal = refusal
        reins: Any = self.reins
        self.steering = Steering(
            reins,
            lender,
            state=STATE,
            wishes=Wishes(folder, self.clock.wall),
            learned=self.learned,
            make_room=self._make_room,
            say=self.said.append,
            clock=self.clock,
        )

    async def _make_room(self, slots: Any) -> str | None:
        self.rooms.append(dict(slots))
        return self._refusal


def busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


async def test_trouble_is_told_once_and_the_run_goes_on_alone(tmp_path: Path) -> None:
    lender = Failing(None, OSError(28, "No space left on device"), OSError(5, "never seen"))
    bench = Bench(tmp_path, lender)
    for _ in range(3):
        await bench.steering._share()
    assert [share.ceiling for share in bench.reins[0].taken] == [7, 10, 10]
    assert [line.partition("; ")[0] for line in bench.said] == [
        "state: the state folder cannot be used: no space left on device"
    ]
    assert lender.closed == [False]


async def test_a_table_that_is_busy_is_asked_again_until_the_loan_runs_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Failing(None, busy(), busy()))
    await bench.steering.start()
    bench.clock.at = LOAN_S - 0.1
    await bench.steering._share()
    assert (len(bench.reins[0].taken), bench.said) == (1, [])
    bench.clock.at = LOAN_S
    await bench.steering._share()
    assert [share.ceiling for share in bench.reins[0].taken] == [7, 10]
    assert len(bench.said) == 1


async def test_who_waits_for_a_share_is_told_why(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Alone())
    async with anyio.create_task_group() as group:
        group.start_soon(bench.steering.run)
        with anyio.fail_after(5):
            while len(bench.reins[0].taken) < 1:  # noqa: ASYNC110  # it tells no event
                await anyio.sleep(0.01)
            bench.clock.at = 3.0
            while not bench.said:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert bench.said == [
        f"{name}: other runs have requests in flight in all 50 slots of the account; "
        "waiting for a share"
        for name in ("m", "n")
    ]


async def test_what_the_user_wants_is_done_when_there_is_room_for_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Alone())
    tune = Tune(concurrency={"m": 99, "": 20}, paused=True)
    assert await bench.steering.tune(tune) == Answer(
        lines=["m: 20", "n: 20", "paused: nothing more is sent; 8 requests in flight finish"]
    )
    assert bench.rooms == [{"m": 20, "n": 20}]
    assert [reins.allowed for reins in bench.reins] == [20, 20]
    assert bench.steering.is_paused
    answer = await bench.steering.tune(Tune(concurrency={"n": 99}, paused=False))
    assert answer == Answer(lines=["n: 99", "not paused"])
    assert bench.rooms[1] == {"m": 20, "n": 50}
    assert [reins.allowed for reins in bench.reins] == [20, 50]
    assert not bench.steering.is_paused


@pytest.mark.parametrize(
    ("refusal", "tune", "fault"),
    [
        ("no room", Tune(concurrency={"": 3}), "no room"),
        (None, Tune(concurrency={"x": 3}), "--concurrency: 'x' is no model of this run: m, n"),
    ],
)
async def test_what_cannot_be_done_is_refused_as_a_whole(
    refusal: str | None, tune: Tune, fault: str, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, Alone(), refusal=refusal)
    paused = Tune(concurrency=tune.concurrency, paused=True)
    assert await bench.steering.tune(paused) == Answer(refused=fault)
    assert [reins.allowed for reins in bench.reins] == [10, 10]
    assert not bench.steering.is_paused


async def test_a_models_lanes_share_what_the_user_allows_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Alone())
    bench.reins.append(FakeReins("m (long)", "m"))
    bench.reins[-1].table = 2
    answer = await bench.steering.tune(Tune(concurrency={"m": 20}))
    assert answer == Answer(lines=["m: 18", "m (long): 2"])
    assert [one.allowed for one in bench.reins] == [18, 10, 2]
    await bench.steering.tune(Tune(concurrency={"m": 1}))
    assert [one.allowed for one in bench.reins] == [1, 10, 1]


async def test_what_was_learned_is_kept_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Alone())
    bench.reins[0].evidence.note(33, is_walled=True, now=bench.clock.wall())
    bench.steering.keep()
    (kept,) = bench.learned.all()
    assert (kept.endpoint, kept.key, kept.model, kept.slots) == ("http://x", "k", "m", 33)
    bench.learned.forget()
    bench.steering.keep()
    assert bench.learned.all() == []
