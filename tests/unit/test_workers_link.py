"""A driver's side of a worker, against a worker that does as it is told; no time passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import pytest

from batchkit.records import Completion, Failure, Outcome, Usage
from batchkit.verdicts import CUT_OFF
from batchkit.workers.frames import Batch, Report, decode_batch, encode_ended, encode_report
from batchkit.workers.home import LostError
from batchkit.workers.link import GRACE_S, LET_GO_S, SILENT_LOOKS, WAIT_S, Link

pytestmark = pytest.mark.anyio
ANSWER = Completion("yes", "stop", Usage(1, 0, 1))
BEAT_S = 0.5
LOST = Failure(CUT_OFF, "the worker that sent it was lost before an answer came")


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


class FakeHome:
    """Ends rows when told to, and answers no call while it is silent."""

    name = "a fake"

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.calls = 0
        self.is_silent = False
        self.is_lost = False
        self.gone = anyio.Event()
        self.is_killed = False
        self._ended: list[Any] = []
        self._first = 1

    def end(self, number: int, outcome: Outcome = ANSWER) -> None:
        self._ended.append(encode_ended(number, outcome))

    @property
    def numbers(self) -> list[int]:
        return [row.number for batch in self.batches for row in batch.rows]

    async def exchange(
        self, rows: bytes, ack: int, wait: float, min_rows: int, max_rows: int
    ) -> bytes:
        if rows:
            self.batches.append(decode_batch(rows))
        self.calls += 1
        if len(self._ended) < min_rows:
            await anyio.sleep(wait)
        if self.is_lost:
            raise LostError("ended by itself")
        if self.is_silent:
            await anyio.sleep_forever()
        del self._ended[: ack + 1 - self._first]
        self._first = ack + 1
        return encode_report(Report(3, self._first, self._ended[:max_rows], 0.25, 0.125))

    async def start(self, config: bytes, epoch: int) -> None: ...

    def kill(self) -> None:
        self.is_killed = True

    async def wait_gone(self) -> None:
        await self.gone.wait()

    async def close(self) -> None: ...


class Bench:
    """A link, and what became of those who asked."""

    def __init__(self) -> None:
        self.home = FakeHome()
        self.link = Link(self.home, 3, beat_s=BEAT_S)
        self.outcomes: dict[bytes, Outcome | None] = {}
        self.ended_at: dict[bytes, float] = {}
        self.lost: str | None = None

    async def ask(self, body: bytes, timeout_s: float = 60.0) -> None:
        self.outcomes[body] = await self.link.ask(0, body, timeout_s)
        self.ended_at[body] = anyio.current_time()

    async def converse(self) -> None:
        try:
            await self.link.converse()
        except LostError as error:
            self.lost = str(error)
            await self.link.fence()


async def with_bench(script: Callable[[Bench, anyio.abc.TaskGroup], Any]) -> Bench:
    bench = Bench()
    async with anyio.create_task_group() as group:
        group.start_soon(bench.converse)
        await script(bench, group)
        group.cancel_scope.cancel()
    return bench


async def test_every_asker_gets_the_outcome_of_its_own_row() -> None:
    other = Failure(CUT_OFF, "other")

    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        async with anyio.create_task_group() as asking:
            for body in (b"a", b"b", b"c"):
                asking.start_soon(bench.ask, body)
            await anyio.sleep(1)
            assert bench.home.numbers == [1, 2, 3]
            bench.home.end(3)
            bench.home.end(1, other)
            await anyio.sleep(1)
            bench.home.end(2)

    bench = await with_bench(script)
    assert bench.outcomes == {b"a": other, b"b": ANSWER, b"c": ANSWER}
    assert (bench.link.in_flight, bench.link.cpu_s, bench.link.lag_s) == (0, 0.25, 0.125)


async def test_those_who_were_answered_hand_in_their_next_rows_with_the_next_call() -> None:
    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        async def two(name: bytes) -> None:
            await bench.ask(name + b"1")
            await bench.ask(name + b"2")

        group.start_soon(two, b"a")
        group.start_soon(two, b"b")
        await anyio.sleep(1)
        bench.home.end(1)
        bench.home.end(2)
        calls = bench.home.calls
        await anyio.sleep(3 * WAIT_S)
        assert bench.home.calls <= calls + 5
        assert [len(batch.rows) for batch in bench.home.batches] == [2, 2]

    await with_bench(script)


async def test_calls_are_few_however_many_rows_end() -> None:
    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        for n in range(1000):
            group.start_soon(bench.ask, b"%d" % n)
        await anyio.sleep(1)
        calls = bench.home.calls
        for number in range(1, 1001):
            bench.home.end(number)
            await anyio.sleep(0.0001)
        assert bench.home.calls - calls <= 0.1 / 0.002 + 2
        await anyio.sleep(2 * WAIT_S)
        assert len(bench.outcomes) == 1000
        idle_since = bench.home.calls
        await anyio.sleep(10 * BEAT_S)
        assert bench.home.calls - idle_since <= 11

    await with_bench(script)


async def test_more_rows_than_a_report_holds_come_with_the_next() -> None:
    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        for n in range(1000):
            group.start_soon(bench.ask, b"%d" % n)
        await anyio.sleep(1)
        for number in range(1, 1001):
            bench.home.end(number)
        await anyio.sleep(2 * WAIT_S)
        assert len(bench.outcomes) == 1000

    await with_bench(script)


async def test_rows_of_a_lost_worker_end_when_it_is_gone_and_a_moment_later() -> None:
    """Those it never got can be asked elsewhere at once."""

    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        group.start_soon(bench.ask, b"sent")
        await anyio.sleep(1.5 * WAIT_S)
        bench.home.is_lost = True
        group.start_soon(bench.ask, b"unsent")
        await anyio.sleep(1)
        assert (bench.lost, bench.home.is_killed) == ("ended by itself", True)
        assert bench.outcomes == {b"unsent": None}
        await anyio.sleep(5)
        bench.home.gone.set()
        gone_at = anyio.current_time()
        await anyio.sleep(5)
        assert bench.outcomes[b"sent"] == LOST
        assert bench.ended_at[b"sent"] == pytest.approx(gone_at + GRACE_S)

    await with_bench(script)


async def test_a_worker_that_cannot_be_ended_is_fenced_until_its_last_request_must_have() -> None:
    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        began = anyio.current_time()
        group.start_soon(bench.ask, b"short", 10.0)
        group.start_soon(bench.ask, b"long", 60.0)
        await anyio.sleep(1)
        bench.home.is_lost = True
        await anyio.sleep(100)
        assert bench.outcomes == {b"short": LOST, b"long": LOST}
        for ended_at in bench.ended_at.values():
            assert ended_at - began == pytest.approx(60 + GRACE_S, abs=0.1)

    await with_bench(script)


async def test_a_silent_worker_is_lost_after_some_looks_not_before() -> None:
    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        group.start_soon(bench.ask, b"a")
        await anyio.sleep(1)
        for _ in range(3 * SILENT_LOOKS):  # as long as it is heard in between
            bench.link.look()
            await anyio.sleep(1)
        bench.home.is_silent = True
        await anyio.sleep(1000)  # seconds do not count: this process may have been stopped
        for _ in range(SILENT_LOOKS):
            assert bench.lost is None
            bench.link.look()
        bench.link.look()
        await anyio.sleep(1)
        assert bench.lost == "does not answer"

    await with_bench(script)


async def test_who_is_cancelled_waits_until_the_worker_has_let_go() -> None:
    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        async def let_go() -> None:
            await anyio.sleep(0.5)
            assert [batch.drop for batch in bench.home.batches] == [[], [1]]
            assert bench.link.in_flight == 1
            bench.home.end(1, Failure(CUT_OFF, "broken off"))

        async with anyio.create_task_group() as asking:
            asking.start_soon(bench.ask, b"a")
            await anyio.sleep(1)
            asking.cancel_scope.cancel()
            began = anyio.current_time()
            group.start_soon(let_go)
        assert anyio.current_time() - began == pytest.approx(0.5, abs=2 * WAIT_S)
        assert (bench.link.in_flight, bench.outcomes) == (0, {})

    await with_bench(script)


async def test_who_is_cancelled_does_not_wait_for_ever() -> None:
    async def script(bench: Bench, group: anyio.abc.TaskGroup) -> None:
        async with anyio.create_task_group() as asking:
            asking.start_soon(bench.ask, b"a")
            await anyio.sleep(1)
            asking.cancel_scope.cancel()
            began = anyio.current_time()
        assert anyio.current_time() - began == pytest.approx(LET_GO_S)
        assert bench.link.in_flight == 0

    await with_bench(script)
