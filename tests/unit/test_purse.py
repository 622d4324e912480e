"""A budget holds at every moment, also while nobody knows yet what attempts will cost."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batchkit.purse import OverBudgetError, Purse

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def test_what_is_reserved_and_not_spent_comes_back() -> None:
    purse = Purse(100, 20)
    await purse.reserve(50)
    assert (purse.spent, purse.reserved) == (20, 50)
    purse.settle(50, 7)
    assert (purse.spent, purse.reserved) == (27, 0)


async def test_the_budget_can_be_used_up_to_the_last_unit() -> None:
    purse = Purse(100, 0)
    await purse.reserve(100)
    purse.settle(100, 100)
    await purse.reserve(0)
    assert purse.spent == purse.budget


async def test_what_cannot_fit_is_refused_when_nothing_is_in_flight() -> None:
    purse = Purse(100, 60)
    with pytest.raises(OverBudgetError):
        await purse.reserve(41)
    assert (purse.spent, purse.reserved) == (60, 0)


async def test_a_budget_that_was_spent_before_refuses_at_once() -> None:
    with pytest.raises(OverBudgetError):
        await Purse(100, 130).reserve(0)


async def test_what_may_fit_later_waits_for_what_is_in_flight() -> None:
    purse = Purse(100, 0)
    await purse.reserve(80)
    reserved: list[str] = []

    async def reserve(name: str) -> None:
        await purse.reserve(40)
        reserved.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(reserve, "a")
        group.start_soon(reserve, "b")
        await anyio.wait_all_tasks_blocked()
        assert reserved == []
        purse.settle(80, 10)
    assert sorted(reserved) == ["a", "b"]
    assert (purse.spent, purse.reserved) == (10, 80)


async def test_whoever_waits_in_vain_is_refused_once_nothing_is_in_flight() -> None:
    purse = Purse(100, 0)
    await purse.reserve(80)
    refused: list[str] = []

    async def reserve(name: str) -> None:
        try:
            await purse.reserve(40)
        except OverBudgetError:
            refused.append(name)

    async with anyio.create_task_group() as group:
        for name in ("a", "b", "c"):
            group.start_soon(reserve, name)
        await anyio.wait_all_tasks_blocked()
        purse.settle(80, 70)
    assert sorted(refused) == ["a", "b", "c"]


async def test_a_cancelled_reservation_holds_nothing() -> None:
    purse = Purse(100, 0)
    await purse.reserve(80)
    with anyio.move_on_after(1):
        await purse.reserve(40)
    purse.settle(80, 0)
    assert (purse.spent, purse.reserved) == (0, 0)
