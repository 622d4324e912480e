"""The pool under a virtual clock: scripted exchanges, whole sequences of records."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batchkit import verdicts
from batchkit.errors import Billing, ErrorKind
from batchkit.life import Answered
from batchkit.pool import NOBODY_ANSWERED_S
from batchkit.records import Completion, Failure, Prior, Request, Usage
from batchkit.room import FixedLimit
from batchkit.stopping import Cause, StopReason
from batchkit.verdicts import BY_CODE
from tests.pool_bench import ANSWER_COST, IN, Bench, Committing, Scripted, failed

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def test_every_row_settles_once_with_its_cost() -> None:
    bench = Bench(Scripted({}))
    await bench.run(["a", "b", "c"])
    results = [settled.result for settled in bench.memory.settled.values()]
    assert [(r.custom_id, r.status, r.content, r.attempts, r.cost) for r in results] == [
        (i, "ok", "yes", 1, ANSWER_COST) for i in ("a", "b", "c")
    ]


async def test_in_flight_fills_the_slots_and_never_exceeds_them() -> None:
    bench = Bench(Scripted({}))
    seconds = await bench.run([f"r{n}" for n in range(40)])
    assert bench.provider.max_in_flight == 4
    assert seconds == pytest.approx(10.0, abs=0.1)
    assert bench.gate.utilization() == pytest.approx(1.0, abs=0.02)


async def test_backoff_holds_no_slot() -> None:
    """Four rows told to wait 600 s do not delay the other 36."""
    told_to_wait = {f"slow{n}": [failed("1305", retry_after_s=600.0)] for n in range(4)}
    bench = Bench(Scripted(told_to_wait))
    ids = [*told_to_wait, *(f"r{n}" for n in range(36))]
    await bench.run(ids)
    order = list(bench.memory.settled)
    assert set(order[:36]) == {f"r{n}" for n in range(36)}
    finished = [bench.memory.settled[f"r{n}"].result.finished_at for n in range(36)]
    first = min(attempt.started_at for attempt in bench.memory.attempts)
    assert max(finished) - first < 12.0


async def test_refusals_never_use_up_attempts() -> None:
    refused = [failed("1302")] * 10 + [failed("1303")] * 10 + [failed("1305")] * 5
    bench = Bench(Scripted({"a": refused}))
    await bench.run(["a"])
    result = bench.memory.settled["a"].result
    assert (result.status, result.attempts, result.cost) == ("ok", 26, ANSWER_COST)


async def test_failures_of_the_exchange_use_up_attempts() -> None:
    bench = Bench(Scripted({"a": [failed("500", 500)] * 9}))
    await bench.run(["a"])
    result = bench.memory.settled["a"].result
    assert (result.status, result.attempts) == ("failed", 3)
    assert (result.error_kind, result.error_code) == (ErrorKind.SERVER_ERROR, "500")


async def test_every_attempt_is_recorded_once_and_in_order() -> None:
    script = [failed("500", 500), failed("1302"), Failure(verdicts.TIMED_OUT, "late")]
    bench = Bench(Scripted({"a": script}))
    await bench.run(["a"])
    attempts = bench.memory.attempts
    assert [a.attempt for a in attempts] == [1, 2, 3, 4]
    assert [a.error_code for a in attempts] == ["500", "1302", None, None]
    assert [a.wait_s is None for a in attempts] == [False, False, False, True]
    assert [a.billing for a in attempts] == ["free", "free", "unknown", "billed"]
    assert attempts[2].bound > 0


async def test_an_error_in_the_request_fails_the_row_at_once() -> None:
    bench = Bench(Scripted({"a": [failed("1261", 400)]}))
    await bench.run(["a", "b"])
    assert bench.memory.settled["a"].result.error_kind == ErrorKind.CONTEXT_EXCEEDED
    assert bench.memory.settled["b"].result.status == "ok"
    assert not bench.run_stopper.is_stopping


async def test_arrears_stop_the_run_and_settle_nothing() -> None:
    bench = Bench(Scripted({"r4": [failed("1113")]}))
    await bench.run([f"r{n}" for n in range(100)])
    assert bench.run_stopper.reason == StopReason(
        Cause.FATAL, "m: 429/1113 the account is in arrears; recharge and run again"
    )
    assert len(bench.provider.sent) <= 12
    assert "r4" not in bench.memory.settled
    assert [a.error_code for a in bench.memory.attempts if a.custom_id == "r4"] == ["1113"]


async def test_a_usage_cap_tells_when_it_ends() -> None:
    bench = Bench(Scripted({"a": [failed("1308", resets_at=1_795_060_800.0)]}))
    await bench.run(["a"])
    assert bench.run_stopper.reason is not None
    assert bench.run_stopper.reason.message == (
        "m: 429/1308 the usage cap is reached until 2026-11-19 12:00 China time; "
        "run again when it has been reset"
    )
    assert bench.run_stopper.reason.resets_at == 1_795_060_800.0


async def test_a_job_in_which_every_row_fails_is_stopped() -> None:
    ids = [f"r{n}" for n in range(900)]
    bench = Bench(Scripted({i: [failed("1301", 400)] for i in ids}))
    await bench.run(ids)
    assert 100 <= len(bench.memory.settled) <= 104
    assert bench.stopper.reason is not None
    assert bench.stopper.reason.cause is Cause.FAILURES
    assert (
        "nearly all of the last 100 rows failed, content_filtered" in bench.stopper.reason.message
    )


async def test_a_refused_key_names_the_variable() -> None:
    bench = Bench(Scripted({"a": [failed("1002", 401)]}))
    await bench.run(["a"])
    assert bench.run_stopper.reason is not None
    assert "check the key in SOME_KEY" in bench.run_stopper.reason.message


async def test_an_unknown_model_stops_only_that_model() -> None:
    bench = Bench(Scripted({"a": [failed("1211", 400)]}))
    await bench.run(["a"])
    assert bench.stopper.is_stopping
    assert not bench.run_stopper.is_stopping


async def test_a_uniform_fault_after_an_answer_is_the_rows_own() -> None:
    bench = Bench(Scripted({"b": [failed("1211", 400)]}), slots=1)
    await bench.run(["a", "b", "c"])
    assert {i: s.result.status for i, s in bench.memory.settled.items()} == {
        "a": "ok",
        "b": "failed",
        "c": "ok",
    }


async def test_a_model_that_answers_nobody_is_given_up() -> None:
    bench = Bench(Scripted({"a": [failed("1302")] * 10_000}))
    seconds = await bench.run(["a"])
    assert bench.stopper.is_stopping
    assert 900 < seconds < 1000


async def test_a_stop_ends_backoff_and_begins_nothing_more() -> None:
    bench = Bench(Scripted({"a": [failed("1305", retry_after_s=600.0)]}), slots=1)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.run, ["a", "b", "c"])
        await anyio.sleep(1.5)
        bench.run_stopper.stop(StopReason(Cause.SIGNAL, "stopped"))
    assert bench.provider.sent == ["a", "b"]
    assert list(bench.memory.settled) == ["b"]


async def test_a_cancelled_exchange_is_recorded_as_maybe_billed() -> None:
    bench = Bench(Scripted({}, latency_s=100.0))
    with anyio.move_on_after(1.0):
        await bench.run(["a"])
    assert [(a.billing, a.error_kind) for a in bench.memory.attempts] == [
        (Billing.UNKNOWN, ErrorKind.CONNECTION)
    ]
    assert bench.gate.in_flight == 0


async def test_spending_of_earlier_runs_is_carried_over() -> None:
    bench = Bench(Scripted({}))
    await bench.run(["a"], {"a": Prior(2, Usage(100, 50, 7), 999, first_at=5.0)})
    result = bench.memory.settled["a"].result
    assert (result.attempts, result.usage, result.cost) == (
        3,
        Usage(110, 50, 12),
        ANSWER_COST + 999,
    )


async def test_a_request_is_asked_again_only_when_its_last_attempt_is_durable() -> None:
    """A kill in between would else leave two attempts of one row unrecorded."""
    bench = Bench(Scripted({"a": [failed("500", 500)]}))
    bench.memory.commit_s = 100.0
    await bench.run(["a", "b"])
    first, second = (a for a in bench.memory.attempts if a.custom_id == "a")
    assert second.started_at - (first.started_at + first.latency_s) >= 100.0


async def test_what_a_kill_leaves_unrecorded_is_bounded_by_slots_and_backlog() -> None:
    """Attempts in flight, and records that are not durable: retries and lent workers included."""
    ids = [f"r{n}" for n in range(200)]
    memory = Committing(backlog=8)
    scripts = {i: [failed("500", 500)] * 2 for i in ids[::2]}
    bench = Bench(Scripted(scripts), memory=memory)
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, bench.provider.in_flight + memory.unwritten)
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as group:
        group.start_soon(memory.commit)
        group.start_soon(look)
        await bench.run(ids)
        group.cancel_scope.cancel()
    assert len(memory.settled) == 200
    assert 8 < most <= 8 + bench.slots


async def test_who_waits_for_a_commit_holds_no_slot() -> None:
    bench = Bench(Scripted({"a": [failed("500", 500)]}), slots=1)
    bench.memory.commit_s = 100.0
    await bench.run(["a", *(f"r{n}" for n in range(50))])
    assert list(bench.memory.settled)[-1] == "a"
    assert bench.gate.utilization() == pytest.approx(1.0, abs=0.02)


async def test_an_answer_asked_again_is_paid_and_recorded() -> None:
    def read(asked: Request, completion: Completion, asked_again: int) -> Answered:
        return Answered(again=asked) if asked_again == 0 else Answered(output="{}")

    bench = Bench(Scripted({}), read=read)
    await bench.run(["a"])
    result = bench.memory.settled["a"].result
    assert (result.attempts, result.cost, result.output) == (2, 2 * ANSWER_COST, "{}")
    first, second = bench.memory.attempts
    assert (first.error_kind, first.billing) == (ErrorKind.INVALID_OUTPUT, Billing.BILLED)
    assert second.error_kind is None


async def test_a_budget_is_never_exceeded_and_is_used_up() -> None:
    bench = Bench(Scripted({}), budget=10 * ANSWER_COST + 50 * IN)
    await bench.run([f"r{n}" for n in range(100)])
    assert bench.purse is not None
    spent = sum(settled.result.cost for settled in bench.memory.settled.values())
    assert spent == bench.purse.spent <= bench.purse.budget
    assert bench.run_stopper.reason is not None
    assert bench.run_stopper.reason.cause is Cause.BUDGET
    assert len(bench.memory.settled) >= 8


@pytest.mark.parametrize("code", sorted(BY_CODE))
async def test_every_code_of_the_table_leads_to_a_settled_row_or_a_stop(code: str) -> None:
    bench = Bench(Scripted({"a": [failed(code, 400)]}))
    await bench.run(["a"])
    assert ("a" in bench.memory.settled) is not bench.stopper.is_stopping
    assert len(bench.memory.attempts) == len(bench.provider.sent)


async def test_more_workers_come_and_fewer_end_without_losing_a_request() -> None:
    bench = Bench(Scripted({}, latency_s=1.0), slots=4)
    limit = bench.gate.limit
    assert isinstance(limit, FixedLimit)

    def allow(slots: int) -> None:
        bench.pool.change(lambda: setattr(limit, "slots", slots))
        bench.pool.staff(slots)

    async def tune() -> None:
        await anyio.sleep(2.5)
        allow(9)
        await anyio.sleep(3)
        assert bench.provider.in_flight == 9
        allow(2)
        await anyio.sleep(3)
        assert bench.provider.in_flight == 2
        allow(5)
        await anyio.sleep(3)
        assert bench.provider.in_flight == 5

    async with anyio.create_task_group() as group:
        group.start_soon(tune)
        await bench.run([f"q{n}" for n in range(100)])
    assert len(bench.memory.settled) == 100
    bench.pool.staff(50)  # nobody is left who could work


async def test_a_pause_ends_what_is_in_flight_and_is_not_the_services_silence() -> None:
    """A refusal after a long pause must not look like one after a long silence."""
    bench = Bench(Scripted({"q2": [failed("1302")]}), slots=2)
    limit = bench.gate.limit
    assert isinstance(limit, FixedLimit)

    async def pause() -> None:
        await anyio.sleep(0.5)
        bench.pool.change(lambda: setattr(limit, "slots", 0))
        await anyio.sleep(2 * NOBODY_ANSWERED_S)
        assert (bench.provider.in_flight, len(bench.memory.settled)) == (0, 2)
        bench.pool.change(lambda: setattr(limit, "slots", 2))

    async with anyio.create_task_group() as group:
        group.start_soon(pause)
        await bench.run(["q0", "q1", "q2", "q3"])
    assert len(bench.memory.settled) == 4
    assert not bench.stopper.is_stopping
    used, offered = bench.gate.occupancy.used, bench.gate.occupancy.offered
    assert offered < 10
    assert used <= offered


async def test_a_stop_while_paused_ends_at_once() -> None:
    bench = Bench(Scripted({}), slots=2)
    limit = bench.gate.limit
    assert isinstance(limit, FixedLimit)
    bench.pool.change(lambda: setattr(limit, "slots", 0))

    async def stop() -> None:
        await anyio.sleep(5)
        bench.run_stopper.stop(StopReason(Cause.SIGNAL, "stopped"))

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        assert await bench.run(["q0", "q1", "q2", "q3"]) == 5
    assert bench.provider.sent == []


async def test_the_longest_answer_is_known_and_before_it_the_wait() -> None:
    bench = Bench(Scripted({}, latency_s=3.0))
    assert bench.pool.longest_s == 0.0

    async def look() -> None:
        await anyio.sleep(2)
        assert bench.pool.longest_s == 2.0

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await bench.run(["q0"])
    await anyio.sleep(60)
    assert bench.pool.longest_s == 3.0
