"""Rows that go on to another model, under a virtual clock: which, when, what is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest

from batchkit import verdicts
from batchkit.assembly import Assembly
from batchkit.document import Document
from batchkit.errors import ErrorKind, Stops
from batchkit.journal import Settled
from batchkit.life import Fed
from batchkit.models import Model, Price
from batchkit.onward import OVERLOADED_FOR_S, Onward, Step
from batchkit.records import Failure, Outcome, Result, Usage
from batchkit.stopping import Cause, Stopper, StopReason
from batchkit.verdicts import BY_CODE
from tests.pool_bench import ANSWER_COST, MODEL, Bench, Memory, Scripted, failed, request

pytestmark = pytest.mark.anyio

DEAR = Model(name="dear", concurrency=4, max_output=100, price=Price(Decimal(10), Decimal(20)))
SMALL = msgspec.structs.replace(DEAR, name="small", context=100)
GOES_ON = {"overloaded", "server_error", "timeout", "connection", "bad_response", "network_error"}


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


class Pair:
    """A pool whose rows go on to another one."""

    def __init__(
        self,
        first: Mapping[str, Sequence[Outcome]],
        then: Mapping[str, Sequence[Outcome]] | None = None,
        *,
        model: Model = DEAR,
    ) -> None:
        self.memory = Memory()
        self.then = Bench(Scripted(then or {}), model=model, givers=1, memory=self.memory)
        self.first = Bench(Scripted(first), onward=[self.then.step], memory=self.memory)

    async def run(self, ids: Sequence[str]) -> float:
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(self.then.run, [])
            await self.first.run(ids)
            self.then.feed.let_go()
        return anyio.current_time() - began

    def asked(self, custom_id: str) -> list[tuple[int, str, str | None]]:
        """Attempts of a row: number, model, code."""
        return [
            (a.attempt, a.model, a.error_code)
            for a in self.memory.attempts
            if a.custom_id == custom_id
        ]


async def test_a_row_that_is_refused_for_long_goes_on() -> None:
    pair = Pair({"a": [failed("1305")] * 1000})
    seconds = await pair.run(["a", *(f"r{n}" for n in range(400))])
    *refused, last = pair.asked("a")
    assert last == (len(refused) + 1, "dear", None)
    assert {model for _, model, _ in refused} == {"m"}
    result = pair.memory.settled["a"].result
    assert (result.model, result.status, result.cost) == ("m", "ok", 10 * ANSWER_COST)
    assert result.usage == Usage(10, 0, 5)
    assert result.total_s > OVERLOADED_FOR_S
    assert seconds > OVERLOADED_FOR_S


async def test_a_row_that_is_refused_now_and_then_stays() -> None:
    pair = Pair({"a": [failed("1305")] * 4})
    await pair.run(["a", *(f"r{n}" for n in range(400))])
    assert {model for _, model, _ in pair.asked("a")} == {"m"}


async def test_when_nobody_is_answered_each_row_is_tried_once_and_goes_on() -> None:
    ids = [f"r{n}" for n in range(400)]
    pair = Pair({i: [failed("1305")] * 1000 for i in ids})
    seconds = await pair.run(ids)
    assert [s.result.status for s in pair.memory.settled.values()] == ["ok"] * 400
    assert seconds < 5 * OVERLOADED_FOR_S
    assert [number for number, model, _ in pair.asked("r399") if model == "m"] == [1]
    assert not pair.first.stopper.is_stopping


async def test_too_many_of_our_own_in_flight_is_no_reason_to_go_on() -> None:
    pair = Pair({"a": [failed("1302")] * 30})
    await pair.run(["a", *(f"r{n}" for n in range(4000))])
    assert {model for _, model, _ in pair.asked("a")} == {"m"}


async def test_a_row_whose_attempts_are_used_up_goes_on_and_begins_anew() -> None:
    pair = Pair({"a": [failed("500", 500)] * 3}, {"a": [failed("500", 500)] * 2})
    await pair.run(["a"])
    assert pair.asked("a") == [
        (1, "m", "500"),
        (2, "m", "500"),
        (3, "m", "500"),
        (4, "dear", "500"),
        (5, "dear", "500"),
        (6, "dear", None),
    ]
    assert pair.memory.settled["a"].result.attempts == 6


async def test_what_the_first_model_was_paid_is_in_the_rows_cost() -> None:
    broken = Failure(verdicts.NETWORK_ERROR, "broke off", usage=Usage(10, 0, 5))
    pair = Pair({"a": [broken] * 3})
    await pair.run(["a"])
    result = pair.memory.settled["a"].result
    assert result.cost == 3 * ANSWER_COST + 10 * ANSWER_COST
    assert result.usage == Usage(40, 0, 20)
    assert sum(a.cost for a in pair.memory.attempts) == result.cost


async def test_too_long_a_prompt_goes_on_to_a_larger_context_only() -> None:
    larger = msgspec.structs.replace(DEAR, context=MODEL.context + 1)
    pair = Pair({"a": [failed("1261", 400)]}, model=larger)
    await pair.run(["a"])
    assert pair.asked("a") == [(1, "m", "1261"), (2, "dear", None)]
    pair = Pair({"a": [failed("1261", 400)]}, model=DEAR)
    await pair.run(["a"])
    assert pair.memory.settled["a"].result.error_kind is ErrorKind.CONTEXT_EXCEEDED
    assert len(pair.asked("a")) == 1


@pytest.mark.parametrize("code", sorted(BY_CODE))
async def test_only_failures_that_are_not_the_rows_go_on(code: str) -> None:
    """Nothing that the content filter refuses, nothing that stops a model or the job."""
    verdict = BY_CODE[code]
    step = Step(DEAR, None, Stopper(), lambda _request: True)  # type: ignore[arg-type]
    goes = Onward(MODEL, [step]).step(request(0, "a"), Failure(verdict, "")) is not None
    assert goes is (verdict.stops is Stops.ROW and verdict.kind in GOES_ON)


async def test_arrears_stop_the_run_and_send_nothing_on() -> None:
    pair = Pair({"a": [failed("1113")]})
    await pair.run(["a"])
    assert pair.first.run_stopper.is_stopping
    assert pair.then.provider.sent == []


async def test_a_row_whose_next_model_has_stopped_waits_for_the_run_to_go_on() -> None:
    pair = Pair({"a": [failed("500", 500)] * 3})
    pair.then.stopper.stop(StopReason(Cause.FATAL, "no access"))
    await pair.run(["a", "b"])
    assert list(pair.memory.settled) == ["b"]
    assert len(pair.asked("a")) == 3


async def test_an_overloaded_row_whose_next_model_has_stopped_goes_on_trying() -> None:
    pair = Pair({"a": [failed("1305")] * 12})
    pair.then.stopper.stop(StopReason(Cause.FATAL, "no access"))
    await pair.run(["a", *(f"r{n}" for n in range(400))])
    assert pair.memory.settled["a"].result.status == "ok"
    assert {model for _, model, _ in pair.asked("a")} == {"m"}


def test_a_model_that_has_stopped_is_passed_over() -> None:
    stopped, alive = (
        Step(DEAR, None, Stopper(), lambda _request: True)  # type: ignore[arg-type]
        for _ in range(2)
    )
    stopped.stopper.stop(StopReason(Cause.FATAL, "no access"))
    onward = Onward(MODEL, [stopped, alive])
    assert onward.step(request(0, "a"), failed("500", 500)) is alive


def test_a_request_that_does_not_fit_is_passed_over() -> None:
    never = Step(SMALL, None, Stopper(), lambda _request: False)  # type: ignore[arg-type]
    always = Step(DEAR, None, Stopper(), lambda _request: True)  # type: ignore[arg-type]
    failure = failed("500", 500)
    assert Onward(MODEL, [never, always]).step(request(0, "a"), failure) is always
    assert Onward(MODEL, [never]).step(request(0, "a"), failure) is None
    assert Onward(MODEL, []).step(request(0, "a"), failure) is None


async def test_the_other_model_takes_rows_no_faster_than_it_works_them_off() -> None:
    """What waits there is bounded, however many rows go on at once."""
    ids = [f"r{n}" for n in range(300)]
    pair = Pair({i: [failed("500", 500)] * 3 for i in ids})
    pair.then.feed._low = 5
    pair.then.provider.latency_s = 30.0
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, len(pair.then.feed))
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await pair.run(ids)
        group.cancel_scope.cancel()
    assert 0 < most <= 5
    assert len(pair.memory.settled) == 300


async def test_an_idle_model_is_not_taken_for_one_that_answers_nobody() -> None:
    """The first row comes long after the run began, and is refused at first."""
    pair = Pair({"a": [failed("1305")] * 1000}, {"a": [failed("1305")] * 3})
    await pair.run(["a", *(f"r{n}" for n in range(8000))])
    assert not pair.then.stopper.is_stopping
    assert pair.memory.settled["a"].result.status == "ok"


@pytest.mark.parametrize("slow", [False, True], ids=["ends there", "ends here"])
async def test_a_chunk_goes_on_alone_and_its_document_settles_once(slow: bool) -> None:
    """Whichever lane brings the last answer, and whenever the first one hears of it."""
    chunks = [msgspec.structs.replace(request(0, "d"), chunk=number) for number in (1, 2)]

    def join(answers: Sequence[Result]) -> Result:
        text = "|".join(answer.content or "" for answer in answers)
        return msgspec.structs.replace(answers[-1], content=text)

    assembly = Assembly(Document(chunks, join, "join"), None)
    pair = Pair({"d/1": [failed("500", 500)] * 3})
    pair.first.provider.latencies["d/2"] = [1000.0 if slow else 1.0]
    async with anyio.create_task_group() as group:
        group.start_soon(pair.then.run, [])
        await pair.first.run_fed([Fed(chunk, None, assembly) for chunk in chunks])
        pair.then.feed.let_go()
    (result,) = [r.result for r in pair.memory.records if isinstance(r, Settled)]
    assert (result.content, result.attempts, result.cost) == ("yes|yes", 5, 11 * ANSWER_COST)
    assert {(a.chunk, a.model) for a in pair.memory.attempts} == {(1, "m"), (1, "dear"), (2, "m")}
