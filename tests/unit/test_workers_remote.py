"""Workers that are lost: replaced, given up, taken over for; no time passes."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batchkit.records import Completion, Failure, Outcome, Usage
from batchkit.verdicts import CUT_OFF
from batchkit.workers.frames import Report, WorkerConfig, decode_batch, encode_ended, encode_report
from batchkit.workers.home import LostError
from batchkit.workers.remote import START_S, Busy, Workers

pytestmark = pytest.mark.anyio
CONFIG = WorkerConfig([], trust_env=False)


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


class FakeHome:
    """Answers every row at once with its own name, until its life is over."""

    def __init__(self, name: str, *, life_s: float = 1e9, start_s: float = 0.0) -> None:
        self.name = name
        self.rows = 0
        self.is_closed = False
        self._life_s = life_s
        self._start_s = start_s
        self._epoch = 0
        self._first = 1

    async def start(self, config: bytes, epoch: int) -> None:
        await anyio.sleep(self._start_s)
        self._epoch = epoch
        self._ends_at = anyio.current_time() + self._life_s

    async def exchange(
        self, rows: bytes, ack: int, wait: float, min_rows: int, max_rows: int
    ) -> bytes:
        await anyio.sleep(0.01)
        if anyio.current_time() >= self._ends_at:
            raise LostError("ended by itself")
        self._first = ack + 1
        batch = decode_batch(rows).rows if rows else []
        self.rows += len(batch)
        answer = Completion(self.name, "stop", Usage())
        ended = [encode_ended(row.number, answer) for row in batch]
        return encode_report(Report(self._epoch, self._first, ended, 2.0, 0.5))

    def kill(self) -> None: ...

    async def wait_gone(self) -> None: ...

    async def close(self) -> None:
        self.is_closed = True


class Bench:
    """Workers whose homes are scripted, the last of them for ever."""

    def __init__(self, count: int, *homes: FakeHome) -> None:
        self.homes = list(homes)
        self.made: list[FakeHome] = []
        self.last = FakeHome("last")
        self.notices: list[str] = []
        self.workers = Workers(
            CONFIG,
            count,
            new_home=self._new,
            last_home=lambda: self.last,
            notice=self.notices.append,
        )

    def _new(self) -> FakeHome:
        self.made.append(self.homes.pop(0))
        return self.made[-1]

    async def ask(self) -> Outcome:
        return await self.workers.exchange(0, b"", 60.0)


async def test_attempts_go_to_whoever_has_the_fewest() -> None:
    bench = Bench(2, FakeHome("a"), FakeHome("b"))
    async with anyio.create_task_group() as group:
        await group.start(bench.workers.run)
        await anyio.sleep(1)
        async with anyio.create_task_group() as asking:
            for _ in range(10):
                asking.start_soon(bench.ask)
        group.cancel_scope.cancel()
    assert [home.rows for home in bench.made] == [5, 5]
    assert all(home.is_closed for home in bench.made)
    assert bench.notices == []


async def test_rows_wait_until_each_worker_has_been_started_or_has_failed_to() -> None:
    """The first to be there would get them all."""
    bench = Bench(2, FakeHome("a", start_s=1), FakeHome("b", start_s=5))
    async with anyio.create_task_group() as group:
        await group.start(bench.workers.run)
        assert anyio.current_time() >= 5
        group.cancel_scope.cancel()


async def test_a_worker_that_ends_late_is_replaced_as_often_as_it_takes() -> None:
    lives = [FakeHome(f"{n}", life_s=100) for n in range(20)]
    bench = Bench(1, *lives, FakeHome("good"))
    async with anyio.create_task_group() as group:
        await group.start(bench.workers.run)
        await anyio.sleep(2500)
        assert await bench.ask() == Completion("good", "stop", Usage())
        group.cancel_scope.cancel()
    assert bench.notices == [f"{n} ended by itself" for n in range(20)]
    assert all(home.is_closed for home in bench.made)


async def test_a_place_whose_workers_keep_ending_young_is_given_up() -> None:
    """The run goes on with those that are left."""
    bench = Bench(2, FakeHome("good"), *(FakeHome("bad", life_s=1) for _ in range(3)))
    async with anyio.create_task_group() as group:
        await group.start(bench.workers.run)
        await anyio.sleep(100)
        assert await bench.ask() == Completion("good", "stop", Usage())
        group.cancel_scope.cancel()
    assert bench.notices == 3 * ["bad ended by itself"]


async def test_when_no_worker_can_be_kept_alive_this_process_sends() -> None:
    bench = Bench(1, *(FakeHome("bad", life_s=0) for _ in range(3)))
    async with anyio.create_task_group() as group:
        await group.start(bench.workers.run)
        await anyio.sleep(100)
        assert await bench.ask() == Completion("last", "stop", Usage())
        group.cancel_scope.cancel()
    assert bench.notices == [
        *(3 * ["bad ended by itself"]),
        "no worker process can be kept alive; this process sends by itself",
    ]
    assert bench.last.is_closed


async def test_a_worker_that_does_not_start_is_another_that_ended_young() -> None:
    bench = Bench(1, FakeHome("slow", start_s=2 * START_S), FakeHome("good"))
    async with anyio.create_task_group() as group:
        await group.start(bench.workers.run)
        assert anyio.current_time() == pytest.approx(START_S, abs=1)
        assert await bench.ask() == Completion("good", "stop", Usage())
        group.cancel_scope.cancel()
    assert bench.notices == ["slow did not start in time"]
    assert bench.made[0].is_closed


async def test_rows_of_a_lost_worker_may_have_been_billed_and_are_told() -> None:
    class Deaf(FakeHome):
        async def exchange(
            self, rows: bytes, ack: int, wait: float, min_rows: int, max_rows: int
        ) -> bytes:
            await anyio.sleep(1)
            raise LostError("ended by itself")

    bench = Bench(1, Deaf("deaf"), FakeHome("good"))
    async with anyio.create_task_group() as group:
        await group.start(bench.workers.run)
        lost = await bench.ask()
        group.cancel_scope.cancel()
    assert isinstance(lost, Failure)
    assert lost.verdict == CUT_OFF
    assert bench.notices == ["deaf ended by itself; what it had in flight (1) is asked again"]


async def test_the_load_is_that_since_the_last_look() -> None:
    bench = Bench(1, FakeHome("a"))
    async with anyio.create_task_group() as group:
        await group.start(bench.workers.run)
        await anyio.sleep(1)
        first, second = bench.workers.busy(), bench.workers.busy()
        group.cancel_scope.cancel()
    assert (len(first.cpus), first.cpus[0] > 0, first.lag_s) == (1, True, 0.5)
    assert second == Busy((0.0,), 0.0)
