"""One pool with a scripted provider and a recorder in memory, for a loop whose clock jumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import anyio

from batchkit.attempts import Attempts
from batchkit.clock import LoopClock
from batchkit.feed import Feed
from batchkit.gate import Gate
from batchkit.hedge import Hedging
from batchkit.journal import Record, Settled
from batchkit.life import Fed
from batchkit.models import Model, Price
from batchkit.onward import Onward, Step
from batchkit.pool import Pool
from batchkit.purse import Purse
from batchkit.records import Attempt, Completion, Failure, Outcome, Prior, Request, Usage
from batchkit.retry import RetryPolicy
from batchkit.room import FixedLimit
from batchkit.stopping import Stopper
from batchkit.verdicts import verdict_for

MODEL = Model(name="m", concurrency=4, max_output=100, price=Price(Decimal(1), Decimal(2)))
IN, OUT = 10**6, 2 * 10**6  # PICO per token
ANSWER = Completion("yes", "stop", Usage(10, 0, 5))
ANSWER_COST = 10 * IN + 5 * OUT


def failed(code: str, status: int = 429, **rest: Any) -> Failure:
    return Failure(verdict_for(status, code), "words", http_status=status, code=code, **rest)


class Memory:
    """A recorder that keeps everything."""

    has_room = True

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.commit_s = 0.0

    def put(self, record: Record) -> int:
        self.records.append(record)
        return len(self.records)

    async def wait_room(self) -> None:
        pass

    async def wait_durable(self, number: int) -> None:
        """At once, or when a commit of `commit_s` has ended."""
        await anyio.sleep(self.commit_s)

    @property
    def settled(self) -> dict[str, Settled]:
        return {r.result.custom_id: r for r in self.records if isinstance(r, Settled)}

    @property
    def attempts(self) -> list[Attempt]:
        every = [r if isinstance(r, Attempt) else r.attempt for r in self.records]
        return [attempt for attempt in every if attempt is not None]


class Committing(Memory):
    """A recorder whose records become durable now and then, and which has room for a few."""

    def __init__(self, backlog: int) -> None:
        super().__init__()
        self.backlog = backlog
        self.unwritten = 0
        self._committed = anyio.Event()

    @property
    def has_room(self) -> bool:  # type: ignore[override]
        return self.unwritten < self.backlog

    def put(self, record: Record) -> int:
        self.unwritten += 1
        return super().put(record)

    async def commit(self) -> None:
        """Commit what there is now and then, until cancelled."""
        while True:
            await anyio.sleep(10.0)
            self.unwritten = 0
            self._committed.set()
            self._committed = anyio.Event()

    async def wait_room(self) -> None:
        while not self.has_room:
            await self._committed.wait()

    async def wait_durable(self, number: int) -> None:
        while number > len(self.records) - self.unwritten:
            await self._committed.wait()


class Scripted:
    """A provider that answers each request from its script, and `ANSWER` when that is used up.

    An exchange takes the next of its request's `latencies`, and `latency_s` when those are used up.
    """

    def __init__(
        self,
        scripts: Mapping[str, Sequence[Outcome]],
        latency_s: float = 1.0,
        *,
        latencies: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.scripts = {custom_id: list(script) for custom_id, script in scripts.items()}
        self.latencies = {one: list(seconds) for one, seconds in (latencies or {}).items()}
        self.latency_s = latency_s
        self.in_flight = 0
        self.max_in_flight = 0
        self.sent: list[str] = []

    def prepare(self, request: Request, model: Model) -> bytes:
        chunk = "" if request.chunk is None else f"/{request.chunk}"
        return f"{request.custom_id}{chunk}".encode()

    async def exchange(self, body: bytes, timeout_s: float) -> Outcome:
        assert timeout_s == 60.0
        custom_id = body.decode()
        self.sent.append(custom_id)
        latencies = self.latencies.get(custom_id)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await anyio.sleep(latencies.pop(0) if latencies else self.latency_s)
        finally:
            self.in_flight -= 1
        script = self.scripts.get(custom_id)
        return script.pop(0) if script else ANSWER


class Bench:
    """One pool with everything around it."""

    def __init__(
        self,
        provider: Scripted,
        *,
        slots: int = 4,
        read: Any = None,
        budget: int | None = None,
        hedge: bool = False,
        model: Model = MODEL,
        onward: Sequence[Step] = (),
        givers: int = 0,
        memory: Memory | None = None,
    ) -> None:
        clock = LoopClock()
        self.model = model
        self.provider = provider
        self.memory = memory or Memory()
        self.run_stopper = Stopper()
        self.stopper = self.run_stopper.child()
        self.feed: Feed[Fed] = Feed(100_000, givers=givers)
        self.gate = Gate(FixedLimit(slots), clock=clock.now)
        self.slots = slots
        self.purse = None if budget is None else Purse(budget, 0)
        attempts = Attempts(
            model,
            provider=provider,
            gate=self.gate,
            recorder=self.memory,
            run_stopper=self.run_stopper,
            timeout_s=60.0,
            purse=self.purse,
            quota=None,
            clock=clock,
        )
        self.pool = Pool(
            attempts,
            feed=self.feed,
            stopper=self.stopper,
            run_stopper=self.run_stopper,
            policy=RetryPolicy(max_attempts=3),
            read=read,
            key_env="SOME_KEY",
            most_backing_off=8,
            rng=Random(1),
            asking=Hedging(attempts, is_last=lambda: self.feed.is_exhausted) if hedge else None,
            onward=Onward(model, onward),
        )

    @property
    def step(self) -> Step:
        """This pool as one that rows of another may go on to."""
        return Step(self.model, self.feed, self.stopper, lambda _request: True)

    async def run(self, ids: Sequence[str], prior: Mapping[str, Prior] | None = None) -> float:
        """Run `ids` through the pool; the (virtual) seconds it took."""
        rows = [Fed(request(row, i), (prior or {}).get(i)) for row, i in enumerate(ids)]
        return await self.run_fed(rows)

    async def run_fed(self, fed: list[Fed]) -> float:
        """Run what a feeder gave; the (virtual) seconds it took."""
        began = anyio.current_time()
        await self.feed.put(fed)
        self.pool.end_of_input()
        await self.pool.run(self.slots)
        assert self.gate.in_flight == 0
        return anyio.current_time() - began


def request(row: int, custom_id: str) -> Request:
    message = {"role": "user", "content": "ten chars!"}
    return Request(row, custom_id, "m", [message], {"max_tokens": 20}, 8)
