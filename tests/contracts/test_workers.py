"""What a driver may rely on, wherever its workers live: in this process, or in others."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from batchkit.models import builtin_models
from batchkit.providers.codec import Dialect
from batchkit.records import Completion, Failure, Outcome, Request
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.server import Running, serve_in_thread
from batchkit.verdicts import CUT_OFF
from batchkit.workers.frames import (
    Address,
    Batch,
    Ended,
    Report,
    Row,
    WorkerConfig,
    decode_ended,
    decode_report,
    encode_batch,
    encode_config,
)
from batchkit.workers.home import Home, InProcess, LostError
from batchkit.workers.process import Process
from batchkit.workers.remote import Remote, Workers
from tests.fakes import until

pytestmark = pytest.mark.anyio

PLUS = "glm-4-plus"
KEY = "0123456789abcdef.0123456789abcdef"
ENVIRON = {**os.environ, "A_KEY": KEY}
SLOTS = 12
ROWS = 150
HOMES = [InProcess, Process]
NewHome = Callable[[dict[str, str]], Home]


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    """Wants the key; whoever asks it to hang waits for ever."""
    options = SimulatorOptions(
        latency="lognormal:0.04,0.5", marks={"[[hang]]": "hang", "[[1301]]": "1301"}, keys=(KEY,)
    )
    with serve_in_thread(options) as running:
        yield running


def config_for(service: Running, look_s: float = 0.5) -> WorkerConfig:
    address = Address(service.url, Dialect.GLM, "A_KEY")
    return WorkerConfig([address], trust_env=False, look_s=look_s)


def body(prompt: str) -> bytes:
    return msgspec.json.encode(
        {"model": PLUS, "messages": [{"role": "user", "content": prompt}], "max_tokens": 20}
    )


def rows(*prompts: str, first: int = 1) -> bytes:
    numbered = enumerate(prompts, first)
    return encode_batch(Batch([Row(n, 0, 30.0, body(prompt)) for n, prompt in numbered], []))


def ended(report: Report) -> list[Ended]:
    return [decode_ended(one) for one in report.ended]


async def call(
    home: Home,
    given: bytes = b"",
    *,
    ack: int = 0,
    wait: float = 10.0,
    least: int = 1,
    most: int = 100,
) -> Report:
    return decode_report(await home.exchange(given, ack, wait, least, most))


@asynccontextmanager
async def started(new_home: NewHome, service: Running, look_s: float = 0.5) -> AsyncIterator[Home]:
    home = new_home(ENVIRON)
    try:
        await home.start(encode_config(config_for(service, look_s)), 7)
        yield home
    finally:
        await home.close()


@pytest.mark.parametrize("new_home", HOMES)
async def test_rows_go_in_and_outcomes_come_out(new_home: NewHome, service: Running) -> None:
    """The key is found in the worker's environment; answers and refusals are read there."""
    async with started(new_home, service) as home:
        report = await call(home, rows("a", "[[1301]] b"), least=2)
    outcomes = {one.number: one.outcome for one in ended(report)}
    assert (report.epoch, report.first, set(outcomes)) == (7, 1, {1, 2})
    assert isinstance(outcomes[1], Completion)
    assert outcomes[1].content
    assert isinstance(outcomes[2], Failure)
    assert outcomes[2].code == "1301"


@pytest.mark.parametrize("new_home", HOMES)
async def test_what_ended_is_kept_until_it_is_acknowledged(
    new_home: NewHome, service: Running
) -> None:
    async with started(new_home, service) as home:
        first = await call(home, rows("a", "b", "c"), least=3)
        again = await call(home, wait=0.0)
        rest = await call(home, ack=2, wait=0.0)
        nothing = await call(home, ack=3, wait=0.0)
    assert again.ended == first.ended
    assert (rest.first, rest.ended) == (3, first.ended[2:])
    assert (nothing.first, nothing.ended) == (4, [])


@pytest.mark.parametrize("new_home", HOMES)
async def test_a_row_that_is_handed_in_twice_runs_once(new_home: NewHome, service: Running) -> None:
    """As after a call whose answer was lost."""
    before = service.service.stats.requests
    async with started(new_home, service) as home:
        await call(home, rows("a", "b"), wait=0.0)
        report = await call(home, rows("a", "b", "c"), least=3)
        more = await call(home, ack=3, wait=0.05)
    assert sorted(one.number for one in ended(report)) == [1, 2, 3]
    assert more.ended == []
    assert service.service.stats.requests - before == 3


@pytest.mark.parametrize("new_home", HOMES)
async def test_a_report_has_as_many_rows_as_were_asked_for(
    new_home: NewHome, service: Running
) -> None:
    async with started(new_home, service) as home:
        first = await call(home, rows("a", "b", "c"), least=3, most=2)
        rest = await call(home, ack=2, wait=0.0)
    assert (len(first.ended), len(rest.ended)) == (2, 1)


@pytest.mark.parametrize("new_home", HOMES)
async def test_a_row_that_is_dropped_is_closed_at_the_service(
    new_home: NewHome, service: Running
) -> None:
    """Also one that never came to be sent."""
    before = service.service.stats
    async with started(new_home, service) as home:
        await call(home, rows("[[hang]] a", "[[hang]] b"), wait=0.01)
        await until(lambda: in_flight(service) == 2)
        unsent = Row(3, 0, 30.0, body("[[hang]] c"))
        report = await call(home, encode_batch(Batch([unsent], [1, 3])), least=2)
        await until(lambda: in_flight(service) == 1)
    assert sorted((one.number, one.outcome) for one in ended(report)) == [
        (number, Failure(CUT_OFF, "broken off before an answer came")) for number in (1, 3)
    ]
    await until(lambda: in_flight(service) == 0)
    after = service.service.stats
    assert after.abandoned - before.abandoned == after.requests - before.requests


@pytest.mark.parametrize("new_home", HOMES)
async def test_a_worker_that_hears_nothing_breaks_off_by_itself(
    new_home: NewHome, service: Running
) -> None:
    async with started(new_home, service, look_s=0.01) as home:
        await call(home, rows("[[hang]] a"), wait=0.0)
        await until(lambda: in_flight(service) == 1)
        await until(lambda: in_flight(service) == 0)
        report = await call(home, rows("b", first=2), least=2)  # and is of use again
    first, second = ended(report)
    assert first.outcome == Failure(CUT_OFF, "broken off before an answer came")
    assert isinstance(second.outcome, Completion)


def in_flight(service: Running) -> int:
    return sum(model.in_flight for model in service.service.stats.models.values())


class Spoiled:
    """A home whose worker goes wrong when it is told to."""

    def __init__(self, home: Home, spoil: str) -> None:
        self._home = home
        self._spoil = spoil
        self.is_spoiled = False

    @property
    def name(self) -> str:
        return self._home.name

    async def start(self, config: bytes, epoch: int) -> None:
        await self._home.start(config, epoch)

    async def exchange(
        self, rows: bytes, ack: int, wait: float, min_rows: int, max_rows: int
    ) -> bytes:
        if self.is_spoiled and self._spoil == "stalled":
            await anyio.sleep_forever()
        if self.is_spoiled and self._spoil == "lost":
            raise LostError("ended by itself")
        return await self._home.exchange(rows, ack, wait, min_rows, max_rows)

    def spoil(self) -> None:
        self.is_spoiled = True
        number = getattr(signal, self._spoil, None)
        if number is not None:
            assert isinstance(self._home, Process)
            os.kill(self._home.pid, number)

    def kill(self) -> None:
        self._home.kill()

    async def wait_gone(self) -> None:
        await self._home.wait_gone()

    async def close(self) -> None:
        await self._home.close()


class Job:
    """`ROWS` rows over `SLOTS` slots, each asked until it is answered; the first ones are slow."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._left = iter(range(ROWS))
        self.answered: Counter[int] = Counter()
        self.failures: list[Failure] = []

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(SLOTS):
                group.start_soon(self._slot)

    async def _slot(self) -> None:
        for row in self._left:
            while isinstance(outcome := await self._ask(row), Failure):
                self.failures.append(outcome)
            self.answered[row] += 1

    async def _ask(self, row: int) -> Outcome:
        words = f"Question {row}?" if row >= SLOTS else f"[[slow]] {row}"
        prompt = [{"role": "user", "content": words}]
        request = Request(row, f"q-{row}", PLUS, prompt, {"max_tokens": 20}, 10)
        sent = self._remote.prepare(request, builtin_models()[PLUS])
        return await self._remote.exchange(sent, 30.0)


@pytest.mark.parametrize(
    ("new_home", "spoil"),
    [
        (InProcess, "lost"),
        (InProcess, "stalled"),
        (Process, "SIGKILL"),
        (Process, "SIGSTOP"),
        (Process, "stalled"),
    ],
)
async def test_a_worker_that_is_lost_loses_nothing(new_home: NewHome, spoil: str) -> None:
    """Every row is answered, what was in flight is all that is asked twice, the cap holds."""
    homes: list[Spoiled] = []
    notices: list[str] = []

    def new() -> Spoiled:
        homes.append(Spoiled(new_home(ENVIRON), spoil))
        return homes[-1]

    options = SimulatorOptions(
        latency="0.01", limits={PLUS: 1000}, marks={"[[slow]]": "slow"}, slow_s=2.0, keys=(KEY,)
    )
    with serve_in_thread(options) as service:
        workers = Workers(
            config_for(service, look_s=0.05), 2, new_home=new, last_home=new, notice=notices.append
        )
        async with anyio.create_task_group() as group:
            await group.start(workers.run)
            job = Job(Remote(workers, 0, Dialect.GLM))
            async with anyio.create_task_group() as asking:
                asking.start_soon(job.run)
                await until(lambda: in_flight(service) == SLOTS)
                homes[0].spoil()
            group.cancel_scope.cancel()
        stats = service.service.stats
    assert (len(homes), len(notices)) == (3, 1), notices  # it was replaced
    lost = Failure(CUT_OFF, "the worker that sent it was lost before an answer came")
    assert job.answered == Counter(range(ROWS))
    assert job.failures == SLOTS // 2 * [lost]
    assert stats.requests <= ROWS + len(job.failures)
    assert stats.models[PLUS].max_in_flight <= SLOTS


async def test_a_bug_in_a_worker_is_not_kept_from_its_driver(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: object, body: bytes, timeout_s: float) -> Outcome:
        raise ZeroDivisionError

    monkeypatch.setattr("batchkit.workers.worker.Provider.exchange", broken)
    async with started(InProcess, service) as home:
        with pytest.raises(ZeroDivisionError):
            await call(home, rows("a"))


async def test_a_process_that_ends_by_itself_is_a_lost_worker(service: Running) -> None:
    """As one would that has a bug: what it cannot decode is one."""
    async with started(Process, service) as home:
        with pytest.raises(LostError, match="ended by itself"):
            await call(home, b"\xff")


async def test_a_process_that_cannot_begin_is_a_lost_worker(
    service: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    home = Process(ENVIRON)
    with pytest.raises(LostError, match="no such file or directory"):
        await home.start(encode_config(config_for(service)), 1)
    await home.close()
