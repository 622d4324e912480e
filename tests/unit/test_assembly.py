"""Rows that are several requests: settled as one, asked again for no more than they lack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import msgspec
import pytest

from batchkit.assembly import Assembly
from batchkit.document import Document, Join
from batchkit.errors import ErrorKind
from batchkit.journal import EndedChunk, SettledChunk
from batchkit.life import Fed
from batchkit.records import Completion, Outcome, Prior, Request, Result, Usage
from batchkit.stopping import Cause, StopReason
from tests.pool_bench import ANSWER, ANSWER_COST, Bench, Scripted, failed

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


def says(text: str) -> Completion:
    return msgspec.structs.replace(ANSWER, content=text)


def chunk(number: int, row: int = 0, text: str = "") -> Request:
    message = {"role": "user", "content": text or f"chunk {number}"}
    return Request(row, f"d{row}", "m", [message], {"max_tokens": 20}, 8, chunk=number)


def in_order(answers: Sequence[Result]) -> Result:
    text = "|".join(answer.content or "" for answer in answers)
    return msgspec.structs.replace(answers[-1], content=text)


def asked_to_join(answers: Sequence[Result]) -> Request:
    text = "|".join(answer.content or "" for answer in answers)
    return chunk(len(answers) + 1, answers[0].row, text)


def document(count: int, row: int = 0, join: Join = in_order) -> Document:
    last = 9 if join is asked_to_join else None
    chunks = [chunk(number, row) for number in range(1, count + 1)]
    return Document(chunks, join, "join", last_tokens=last, metadata='{"a":1}', keep=["kept"])


def feed_of(
    one: Document, prior: Prior | None = None, settled: Iterable[SettledChunk] = ()
) -> list[Fed]:
    assembly = Assembly(one, prior, settled)
    chunks = assembly.missing() or one.chunks[-1:]
    return [Fed(chunk, assembly.prior(chunk), assembly) for chunk in chunks]


def ended(bench: Bench) -> list[SettledChunk]:
    return [r.settled for r in bench.memory.records if isinstance(r, EndedChunk)]


async def run_document(
    scripts: dict[str, list[Outcome]], count: int = 3, join: Join = in_order
) -> tuple[Bench, Result]:
    bench = Bench(Scripted(scripts))
    await bench.run_fed(feed_of(document(count, join=join)))
    return bench, bench.memory.settled["d0"].result


async def test_chunks_settle_into_one_row_with_the_sum_of_what_they_cost() -> None:
    scripts: dict[str, list[Outcome]] = {
        "d0/1": [says("a")],
        "d0/2": [failed("500", 500), says("b")],
        "d0/3": [says("c")],
    }
    bench, result = await run_document(scripts)
    assert (result.status, result.content, result.attempts) == ("ok", "a|b|c", 4)
    assert (result.cost, result.usage) == (3 * ANSWER_COST, Usage(30, 0, 15))
    assert (result.metadata, result.keep) == ('{"a":1}', ["kept"])
    told = [(a.chunk, a.attempt, a.error_code) for a in bench.memory.attempts]
    assert sorted(told, key=str) == [(1, 1, None), (2, 1, "500"), (2, 2, None), (3, 1, None)]


async def test_a_rows_chunks_are_in_flight_together() -> None:
    bench = Bench(Scripted({}))
    seconds = await bench.run_fed([*feed_of(document(4)), *feed_of(document(4, row=1))])
    assert bench.provider.max_in_flight == 4
    assert seconds == pytest.approx(2.0, abs=0.1)
    assert list(bench.memory.settled) == ["d0", "d1"]


async def test_the_row_is_handed_over_after_its_last_chunk() -> None:
    bench, _ = await run_document({})
    kinds = [type(record).__name__ for record in bench.memory.records]
    assert kinds == ["EndedChunk"] * 3 + ["Settled"]
    assert [one.chunk for one in ended(bench)] == [1, 2, 3]


async def test_a_chunk_that_fails_fails_the_row_by_name_after_the_others_have_ended() -> None:
    scripts: dict[str, list[Outcome]] = {"d0/2": [failed("1301", 400)], "d0/3": [says("kept")]}
    bench, result = await run_document(scripts)
    assert (result.status, result.error_kind) == ("failed", ErrorKind.CONTENT_FILTERED)
    assert result.error_message == "chunk 2 of 3: words"
    assert (result.attempts, result.cost) == (3, 2 * ANSWER_COST)
    assert [(one.chunk, one.result.status) for one in ended(bench)] == [
        (1, "ok"),
        (2, "failed"),
        (3, "ok"),
    ]


async def test_only_what_is_missing_is_asked_again() -> None:
    bench, _ = await run_document({"d0/2": [failed("1301", 400)], "d0/3": [says("kept")]})
    answered = [one for one in ended(bench) if one.result.status == "ok"]
    prior = Prior(3, Usage(20, 0, 10), 2 * ANSWER_COST, 5.0, chunks={1: 1, 2: 1, 3: 1})
    again = Bench(Scripted({"d0/2": [says("at last")]}))
    await again.run_fed(feed_of(document(3), prior, answered))
    result = again.memory.settled["d0"].result
    assert again.provider.sent == ["d0/2"]
    assert (result.status, result.content) == ("ok", "yes|at last|kept")
    assert (result.attempts, result.cost) == (4, 3 * ANSWER_COST)
    assert [(a.chunk, a.attempt) for a in again.memory.attempts] == [(2, 2)]


async def test_an_answer_counts_only_for_the_request_that_it_was_given_to() -> None:
    bench, _ = await run_document({})
    known = ended(bench)
    changed = document(3)
    changed.chunks[1] = chunk(2, text="something else")
    again = Bench(Scripted({}))
    await again.run_fed(feed_of(changed, Prior(3, chunks={1: 1, 2: 1, 3: 1}), known))
    assert again.provider.sent == ["d0/2"]


async def test_a_row_whose_chunks_are_all_there_settles_without_a_request() -> None:
    bench, result = await run_document({})
    again = Bench(Scripted({}))
    prior = Prior(3, result.usage, result.cost, 5.0, chunks={1: 1, 2: 1, 3: 1})
    await again.run_fed(feed_of(document(3), prior, ended(bench)))
    assert again.provider.sent == []
    now = again.memory.settled["d0"].result
    assert (now.content, now.attempts, now.cost) == (result.content, 3, result.cost)


async def test_what_earlier_versions_of_a_row_spent_stays_its_own() -> None:
    bench = Bench(Scripted({}))
    prior = Prior(5, Usage(9, 0, 9), 77, 5.0, chunks={1: 1, 7: 4})
    await bench.run_fed(feed_of(document(2), prior))
    result = bench.memory.settled["d0"].result
    assert (result.attempts, result.cost) == (7, 2 * ANSWER_COST + 77)


async def test_a_last_request_can_join_the_answers() -> None:
    scripts: dict[str, list[Outcome]] = {"d0/1": [says("a")], "d0/3": [says("joined")]}
    bench, result = await run_document(scripts, count=2, join=asked_to_join)
    assert bench.provider.sent == ["d0/1", "d0/2", "d0/3"]
    assert (result.status, result.content, result.attempts) == ("ok", "joined", 3)
    assert result.cost == 3 * ANSWER_COST
    assert [a.chunk for a in bench.memory.attempts] == [1, 2, 3]


async def test_a_join_that_fails_is_asked_again_alone() -> None:
    bench, result = await run_document({"d0/3": [failed("1301", 400)]}, 2, asked_to_join)
    assert result.error_message == "join: words"
    answered = [one for one in ended(bench) if one.result.status == "ok"]
    again = Bench(Scripted({}))
    prior = Prior(3, chunks={1: 1, 2: 1, 3: 1})
    await again.run_fed(feed_of(document(2, join=asked_to_join), prior, answered))
    assert again.provider.sent == ["d0/3"]
    assert again.memory.settled["d0"].result.status == "ok"


async def test_no_join_is_asked_over_a_chunk_that_failed() -> None:
    bench, result = await run_document({"d0/1": [failed("1301", 400)]}, 2, asked_to_join)
    assert bench.provider.sent == ["d0/1", "d0/2"]
    assert result.error_message == "chunk 1 of 2: words"


async def test_a_stop_between_two_chunks_leaves_the_row_open() -> None:
    bench = Bench(Scripted({}), slots=1)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.run_fed, feed_of(document(3)))
        await anyio.sleep(1.5)
        bench.run_stopper.stop(StopReason(Cause.SIGNAL, "stopped"))
    assert [one.chunk for one in ended(bench)] == [1, 2]
    assert bench.memory.settled == {}


async def test_a_stop_before_the_join_leaves_the_row_open() -> None:
    bench = Bench(Scripted({}), slots=2)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.run_fed, feed_of(document(2, join=asked_to_join)))
        await anyio.sleep(0.5)
        bench.run_stopper.stop(StopReason(Cause.SIGNAL, "stopped"))
    assert [one.chunk for one in ended(bench)] == [1, 2]
    assert bench.memory.settled == {}
