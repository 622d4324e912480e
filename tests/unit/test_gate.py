"""The gate: never more than the limit, in order of arrival, no slot lost or asked for too soon."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import anyio
import anyio.abc
import pytest

from batchkit.errors import Signal
from batchkit.gate import DrainingError, Gate
from batchkit.room import START_S, FixedLimit
from tests.fakes import Settable, Strict

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


def new_gate(slots: int) -> Gate:
    return Gate(FixedLimit(slots), clock=anyio.current_time)


def give_back(gate: Gate) -> None:
    gate.release(Signal.GOOD, started_at=anyio.current_time())


class Waiters:
    """Tasks that wait for a slot, and the order in which they got one."""

    def __init__(self, gate: Gate, group: anyio.abc.TaskGroup) -> None:
        self.gate = gate
        self.order: list[str] = []
        self.drained: list[str] = []
        self._group = group

    async def add(self, name: str, *, again: bool = False) -> anyio.CancelScope:
        scope = anyio.CancelScope()
        self._group.start_soon(self._wait, name, again, scope)
        await anyio.wait_all_tasks_blocked()
        return scope

    async def _wait(self, name: str, again: bool, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await self.gate.acquire(again=again)
            except DrainingError:
                self.drained.append(name)
            else:
                self.order.append(name)


async def test_slots_are_handed_out_in_order_of_arrival() -> None:
    gate = new_gate(1)
    await gate.acquire()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        for name in ("a", "b", "c"):
            await waiters.add(name)
        assert (waiters.order, gate.in_flight) == ([], 1)
        for _ in range(3):
            give_back(gate)
            await anyio.wait_all_tasks_blocked()
            assert gate.in_flight == 1
    assert waiters.order == ["a", "b", "c"]


async def test_a_repeated_attempt_goes_before_new_rows_and_behind_other_repeated_ones() -> None:
    gate = new_gate(1)
    await gate.acquire()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        for name, again in (("new", False), ("first", True), ("newer", False), ("second", True)):
            await waiters.add(name, again=again)
        for _ in range(4):
            give_back(gate)
            await anyio.wait_all_tasks_blocked()
    assert waiters.order == ["first", "second", "new", "newer"]


async def test_whoever_gave_a_slot_back_cannot_take_it_before_the_one_who_waits() -> None:
    """A worker that goes on to its next row at once would else starve every repeated attempt."""
    gate = new_gate(1)
    await gate.acquire()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await waiters.add("waiting", again=True)
        give_back(gate)
        assert gate.in_flight == 1
        group.start_soon(waiters._wait, "next row", False, anyio.CancelScope())
        await anyio.wait_all_tasks_blocked()
        assert waiters.order == ["waiting"]
        give_back(gate)
    assert waiters.order == ["waiting", "next row"]


async def test_a_cancelled_waiter_leaves_its_place() -> None:
    gate = new_gate(1)
    await gate.acquire()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        gone = await waiters.add("gone")
        await waiters.add("next")
        gone.cancel()
        await anyio.wait_all_tasks_blocked()
        give_back(gate)
    assert (waiters.order, gate.in_flight) == (["next"], 1)


async def test_a_slot_given_to_a_waiter_that_is_cancelled_goes_to_the_next() -> None:
    gate = new_gate(1)
    await gate.acquire()
    gone = asyncio.create_task(gate.acquire())
    await anyio.wait_all_tasks_blocked()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await waiters.add("next")
        give_back(gate)
        gone.cancel()
    assert gone.cancelled()
    assert (waiters.order, gate.in_flight) == (["next"], 1)


async def test_a_limit_that_shrank_admits_nobody_until_there_is_room() -> None:
    limit = Settable(3)
    gate = Gate(limit, clock=anyio.current_time)
    for _ in range(3):
        await gate.acquire()
    limit.slots = 1
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await waiters.add("a")
        seen = []
        for _ in range(3):
            give_back(gate)
            await anyio.wait_all_tasks_blocked()
            seen.append((list(waiters.order), gate.in_flight))
    assert seen == [([], 2), ([], 1), (["a"], 1)]


async def test_a_limit_that_grew_admits_all_it_has_room_for() -> None:
    limit = Settable(1)
    gate = Gate(limit, clock=anyio.current_time)
    await gate.acquire()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        for name in "abc":
            await waiters.add(name)
        limit.slots = 3
        give_back(gate)
    assert (waiters.order, gate.in_flight) == (["a", "b", "c"], 3)


async def test_closing_turns_everybody_away() -> None:
    gate = new_gate(1)
    await gate.acquire()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        for name, again in (("a", False), ("b", True), ("c", False)):
            await waiters.add(name, again=again)
        gate.close()
    assert (waiters.order, sorted(waiters.drained)) == ([], ["a", "b", "c"])
    give_back(gate)
    with pytest.raises(DrainingError):
        await gate.acquire()
    gate.close()
    assert gate.in_flight == 0


async def test_a_slot_given_right_before_closing_is_given_back() -> None:
    gate = new_gate(1)
    await gate.acquire()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await waiters.add("a")
        give_back(gate)
        gate.close()
    assert (waiters.drained, gate.in_flight) == (["a"], 0)


async def test_utilization_is_the_share_of_slot_seconds_used() -> None:
    gate = new_gate(4)
    await gate.acquire()
    await anyio.sleep(10)  # one of four
    await gate.acquire()
    await gate.acquire()
    await anyio.sleep(10)  # three of four
    assert gate.utilization() == pytest.approx(4 / 8, abs=0.01)


async def test_time_without_work_does_not_count() -> None:
    gate = new_gate(4)
    await gate.acquire()
    await anyio.sleep(10)
    gate.settle_pending(pending=False)
    await anyio.sleep(1000)
    gate.settle_pending(pending=True)
    assert gate.utilization() == pytest.approx(1 / 4, abs=0.01)


async def test_a_waiter_makes_work_pending_only_while_it_waits() -> None:
    gate = new_gate(1)
    gate.settle_pending(pending=False)
    await gate.acquire()
    await anyio.sleep(1000)
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await waiters.add("a", again=True)
        await anyio.sleep(10)
        give_back(gate)
    await anyio.sleep(1000)
    assert gate.utilization() == pytest.approx(1, abs=0.01)
    assert gate.occupancy.offered == pytest.approx(10, abs=0.1)


async def test_a_gate_that_was_never_open_has_no_utilization() -> None:
    assert Gate(FixedLimit(1), clock=lambda: 5.0).utilization() is None


async def test_a_start_over_a_second_lets_in_as_time_goes_by() -> None:
    gate = Gate(FixedLimit(200), clock=anyio.current_time, start_s=START_S)
    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(gate.acquire)
        await anyio.sleep(0.5)
        assert gate.in_flight == pytest.approx(101, abs=2)
    assert anyio.current_time() - began == pytest.approx(1.0, abs=0.02)


async def test_refusals_that_come_at_once_are_no_storm() -> None:
    """One slot, always refused at once: what bounds the attempts is the pause, not the network."""
    gate = Gate(Strict(1), clock=anyio.current_time, rng=Random(1))
    attempts = 0

    async def worker() -> None:
        nonlocal attempts
        while True:
            await gate.acquire()
            attempts += 1
            gate.release(Signal.REFUSED, started_at=anyio.current_time())

    with anyio.move_on_after(200):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(worker)
    assert attempts == pytest.approx(100, abs=10)


async def test_whoever_waits_for_a_shut_slot_is_first_when_it_opens() -> None:
    gate = Gate(Strict(1), clock=anyio.current_time)
    await gate.acquire()
    gate.release(Signal.REFUSED, started_at=anyio.current_time())
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await waiters.add("waiting")
        await anyio.sleep(3.1)
        assert (waiters.order, gate.in_flight) == (["waiting"], 1)


async def test_closing_does_not_wait_for_shut_slots() -> None:
    gate = Gate(Strict(1), clock=anyio.current_time)
    await gate.acquire()
    gate.release(Signal.REFUSED, started_at=anyio.current_time())
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await waiters.add("waiting")
        gate.close()
    await anyio.sleep(10)
    assert (waiters.drained, gate.in_flight) == (["waiting"], 0)


async def test_a_loan_that_has_run_out_hands_out_nothing_until_it_is_renewed() -> None:
    gate = new_gate(3)
    gate.lend(anyio.current_time() + 5)
    await gate.acquire()
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await anyio.sleep(5)
        await waiters.add("a")
        assert (waiters.order, gate.waiting) == ([], 1)
        gate.lend(anyio.current_time() + 5)
        await anyio.wait_all_tasks_blocked()
        assert (waiters.order, gate.waiting) == (["a"], 0)


async def test_a_changed_limit_lets_waiters_in_and_offers_nothing_while_it_is_nothing() -> None:
    limit = Settable(0)
    gate = Gate(limit, clock=anyio.current_time)
    async with anyio.create_task_group() as group:
        waiters = Waiters(gate, group)
        await waiters.add("a")
        await anyio.sleep(60)
        assert gate.utilization() is None
        gate.change(lambda: setattr(limit, "slots", 1))
        await anyio.wait_all_tasks_blocked()
        assert waiters.order == ["a"]
        await anyio.sleep(10)
        assert gate.utilization() == 1.0
