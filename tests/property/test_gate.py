"""Random schedules of waiting, giving back and cancelling never lose a slot or exceed the limit."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.errors import Signal
from batchkit.gate import DrainingError, Gate
from batchkit.room import FixedLimit

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), st.booleans()),
        st.tuples(st.just("release"), st.none()),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("turn"), st.none()),
    ),
    max_size=60,
)


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


class Schedule:
    """One gate, and what should be true of it."""

    def __init__(self, slots: int, *, is_orderly: bool) -> None:
        self.slots = slots
        self.is_orderly = is_orderly  # nobody comes while a slot is on its way to somebody
        self.gate = Gate(FixedLimit(slots), clock=anyio.current_time)
        self.scopes: list[anyio.CancelScope] = []
        self.holding = 0
        self.waiting: dict[int, bool] = {}  # number of the waiter -> whether it repeats
        self.drained = 0

    async def wait(self, number: int, again: bool) -> None:
        self.waiting[number] = again
        try:
            with self.scopes[number]:
                try:
                    await self.gate.acquire(again=again)
                except DrainingError:
                    self.drained += 1
                else:
                    self.holding += 1
                    if self.is_orderly:
                        self.check_turn(number, again)
        finally:
            del self.waiting[number]

    def check_turn(self, number: int, again: bool) -> None:
        """Nobody who should go first is left behind; those who were cancelled do not count."""
        ahead = [n for n, repeats in self.waiting.items() if (not repeats, n) < (not again, number)]
        assert [n for n in ahead if not self.scopes[n].cancel_called] == []

    def release(self) -> None:
        if self.holding:
            self.holding -= 1
            self.gate.release(Signal.GOOD, started_at=anyio.current_time())

    def check(self) -> None:
        assert self.gate.in_flight == self.holding <= self.slots
        assert not self.waiting or self.holding == self.slots, "a slot is free and somebody waits"


@settings(max_examples=150)
@given(st.integers(1, 4), STEPS, st.booleans(), st.booleans())
@pytest.mark.anyio
async def test_no_schedule_loses_a_slot(
    slots: int, steps: list[tuple[str, Any]], closes: bool, is_orderly: bool
) -> None:
    schedule = Schedule(slots, is_orderly=is_orderly)
    async with anyio.create_task_group() as group:
        for step, value in steps:
            if step == "acquire":
                schedule.scopes.append(anyio.CancelScope())
                group.start_soon(schedule.wait, len(schedule.scopes) - 1, value)
            elif step == "release":
                schedule.release()
            elif step == "cancel" and value < len(schedule.scopes):
                schedule.scopes[value].cancel()
            if step == "turn" or is_orderly:
                await anyio.wait_all_tasks_blocked()
                schedule.check()
        await anyio.wait_all_tasks_blocked()
        schedule.check()
        left = len(schedule.waiting)
        if closes:
            schedule.gate.close()
        while not closes and schedule.holding:
            schedule.release()
            await anyio.wait_all_tasks_blocked()
            schedule.check()
    assert schedule.drained == (left if closes else 0)
    assert schedule.gate.in_flight == schedule.holding
