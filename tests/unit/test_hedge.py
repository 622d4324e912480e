"""Stragglers asked a second time, under a virtual clock: who wins, what it costs, when not."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batchkit.errors import Billing, ErrorKind
from batchkit.hedge import SEEN_LEAST, Usual
from batchkit.records import Completion, Prior, Request, Usage
from batchkit.stopping import Cause, StopReason
from tests.pool_bench import ANSWER_COST, IN, OUT, Bench, Scripted, failed, request

pytestmark = pytest.mark.anyio

IDS = [*(f"r{n}" for n in range(40)), "slow"]
BOUND = 23 * IN + 20 * OUT  # of an attempt: a prompt of 10 bytes with its overhead, 20 tokens


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


def attempts_of(bench: Bench, custom_id: str) -> list[tuple[Any, ...]]:
    return [
        (a.attempt, a.error_kind, a.billing)
        for a in sorted(bench.memory.attempts, key=lambda a: a.attempt)
        if a.custom_id == custom_id
    ]


async def test_the_second_attempt_wins_and_the_first_may_have_been_billed() -> None:
    bench = Bench(Scripted({}, latencies={"slow": [500.0, 1.0]}), hedge=True)
    seconds = await bench.run(IDS)
    assert seconds < 15
    result = bench.memory.settled["slow"].result
    assert (result.status, result.attempts, result.cost) == ("ok", 2, ANSWER_COST)
    assert attempts_of(bench, "slow") == [
        (1, ErrorKind.OUTRUN, Billing.UNKNOWN),
        (2, None, Billing.BILLED),
    ]
    assert [a.bound for a in bench.memory.attempts if a.error_kind] == [BOUND]
    assert len(bench.memory.settled) == len(IDS)


async def test_the_first_attempt_wins_and_the_second_may_have_been_billed() -> None:
    bench = Bench(Scripted({}, latencies={"slow": [5.0, 500.0]}), hedge=True)
    seconds = await bench.run(IDS)
    assert seconds < 20
    assert attempts_of(bench, "slow") == [
        (1, None, Billing.BILLED),
        (2, ErrorKind.OUTRUN, Billing.UNKNOWN),
    ]
    settled = bench.memory.settled["slow"]
    assert settled.attempt is not None
    assert (settled.attempt.attempt, settled.result.attempts) == (1, 2)


async def test_two_answers_at_the_same_moment_are_both_paid() -> None:
    bench = Bench(Scripted({}, latencies={"slow": [4.0, 500.0]}), hedge=True)
    began: list[float] = []

    async def exchange(body: bytes, timeout_s: float) -> Completion:
        if body == b"slow":
            began.append(anyio.current_time())
            await anyio.sleep_until(began[0] + 4.0)
        else:
            await anyio.sleep(1.0)
        return Completion("yes", "stop", Usage(10, 0, 5))

    bench.provider.exchange = exchange  # type: ignore[method-assign]
    await bench.run(IDS)
    result = bench.memory.settled["slow"].result
    billed = [one for one in attempts_of(bench, "slow") if one[2] is Billing.BILLED]
    assert len(began) == 2
    assert result.cost == ANSWER_COST * len(billed)


async def test_a_first_attempt_that_fails_waits_for_the_second() -> None:
    scripts = {"slow": [failed("500", 500)]}
    bench = Bench(Scripted(scripts, latencies={"slow": [5.0, 20.0]}), hedge=True)
    await bench.run(IDS)
    assert attempts_of(bench, "slow") == [
        (1, ErrorKind.SERVER_ERROR, Billing.FREE),
        (2, None, Billing.BILLED),
    ]
    assert bench.memory.settled["slow"].result.status == "ok"


async def test_a_second_attempt_that_fails_changes_nothing() -> None:
    bench = Bench(
        Scripted({"slow": [failed("500", 500)]}, latencies={"slow": [5.0, 1.0]}), hedge=True
    )
    await bench.run(IDS)
    assert attempts_of(bench, "slow") == [
        (1, None, Billing.BILLED),
        (2, ErrorKind.SERVER_ERROR, Billing.FREE),
    ]


async def test_nothing_is_asked_twice_unless_it_is_wanted() -> None:
    bench = Bench(Scripted({}, latencies={"slow": [500.0]}))
    assert await bench.run(IDS) > 500
    assert len(bench.memory.attempts) == len(IDS)


async def test_nothing_is_asked_twice_while_rows_wait() -> None:
    bench = Bench(Scripted({}, latencies={"r0": [30.0]}), hedge=True)
    await bench.run([f"r{n}" for n in range(200)])
    assert attempts_of(bench, "r0") == [(1, None, Billing.BILLED)]


async def test_nothing_is_asked_twice_over_the_limit() -> None:
    """All four slots hold a straggler: none is free for a second attempt."""
    slow = {f"s{n}": [50.0] for n in range(4)}
    bench = Bench(Scripted({}, latencies=slow), hedge=True)
    await bench.run([*(f"r{n}" for n in range(40)), *slow])
    assert bench.provider.max_in_flight == 4
    assert len(bench.memory.attempts) == 44


async def test_nothing_is_asked_twice_while_the_model_refuses() -> None:
    refused = [failed("1302", retry_after_s=2.0)] * 20
    bench = Bench(Scripted({"r39": refused}, latencies={"slow": [30.0]}), hedge=True)
    await bench.run(IDS)
    assert attempts_of(bench, "slow") == [(1, None, Billing.BILLED)]


async def test_nothing_is_asked_twice_beyond_the_budget() -> None:
    budget = 41 * ANSWER_COST + BOUND
    bench = Bench(Scripted({}, latencies={"slow": [30.0]}), hedge=True, budget=budget)
    await bench.run(IDS)
    assert bench.purse is not None
    assert bench.purse.spent <= budget
    assert attempts_of(bench, "slow")[0] == (1, None, Billing.BILLED)


async def test_a_budget_counts_what_the_loser_may_have_cost() -> None:
    budget = 1000 * ANSWER_COST
    bench = Bench(Scripted({}, latencies={"slow": [500.0, 1.0]}), hedge=True, budget=budget)
    await bench.run(IDS)
    assert bench.purse is not None
    assert (bench.purse.reserved, bench.purse.spent) == (0, 41 * ANSWER_COST + BOUND)


async def test_a_run_that_is_broken_off_records_both_attempts() -> None:
    bench = Bench(Scripted({}, latencies={"slow": [100.0, 100.0]}), hedge=True)
    with anyio.move_on_after(30.0):
        await bench.run(IDS)
    assert attempts_of(bench, "slow") == [
        (1, ErrorKind.CONNECTION, Billing.UNKNOWN),
        (2, ErrorKind.CONNECTION, Billing.UNKNOWN),
    ]
    assert bench.gate.in_flight == 0


async def test_an_attempt_that_a_kill_left_unrecorded_keeps_its_number() -> None:
    """Of two at a time one may be recorded and the other not: no number is used twice."""
    bench = Bench(Scripted({}), hedge=True)
    await bench.run(["a"], {"a": Prior(attempts=1, number=2)})
    assert attempts_of(bench, "a") == [(3, None, Billing.BILLED)]
    assert bench.memory.settled["a"].result.attempts == 2


async def test_a_stop_begins_no_second_attempt() -> None:
    bench = Bench(Scripted({}, latencies={"slow": [30.0]}), hedge=True)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.run, IDS)
        await anyio.sleep(11.0)
        bench.run_stopper.stop(StopReason(Cause.SIGNAL, "stopped"))
    assert attempts_of(bench, "slow") == [(1, None, Billing.BILLED)]


def test_a_straggler_has_run_longer_than_95_percent_of_its_class() -> None:
    usual = Usual()
    short, long = request(0, "a"), Request(1, "b", "m", [], {"max_tokens": 2000}, 8)
    for n in range(SEEN_LEAST - 1):
        usual.note(short, float(n))
    assert usual.longest(short) is None
    for n in range(SEEN_LEAST - 1, 100):
        usual.note(short, float(n))
    assert usual.longest(short) == 95.0
    assert usual.longest(long) is None
