"""A plan that grows: who waits for it is woken, and what is read together fits together."""

from __future__ import annotations

import anyio
import pytest

from batchkit.growth import Growth
from batchkit.plan import ModelShare, Plan, decode_plan, encode_plan

pytestmark = pytest.mark.anyio


def plan(rows: int, *models: str, is_whole: bool = False) -> Plan:
    shares = [ModelShare(rows // len(models)) for _ in models]
    return Plan(
        rows, 0, list(models), shares, {}, {"path": "a"}, None, 10, "arrow", "", is_whole=is_whole
    )


def grown(growth: Growth, *, is_whole: bool = False) -> Plan:
    """What comes next: twice the rows, and another model."""
    later = decode_plan(encode_plan(growth.plan))
    later.models.append("late")
    later.shares.append(ModelShare(later.rows))
    later.rows *= 2
    later.is_whole = is_whole
    return later


async def test_who_waits_is_woken_by_more_rows_and_by_the_end() -> None:
    growth = Growth(plan(10, "m"), ["m"])
    woken: list[tuple[int, bool]] = []

    async def wait() -> None:
        while not growth.is_over:
            await growth.next().wait()
            woken.append((growth.plan.rows, growth.is_over))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        growth.grow(grown(growth))
        await anyio.wait_all_tasks_blocked()
        growth.end()
    assert woken == [(20, False), (20, True)]


async def test_after_the_end_nobody_waits() -> None:
    growth = Growth(plan(10, "m", is_whole=True), ["m"])
    growth.end()
    with anyio.fail_after(1):
        await growth.next().wait()
    assert growth.is_over


async def test_an_event_that_was_taken_before_rows_came_is_set() -> None:
    growth = Growth(plan(10, "m"), ["m"])
    taken = growth.next()
    growth.grow(grown(growth))
    assert taken.is_set()
    assert not growth.next().is_set()


def test_the_plan_that_others_hold_is_the_one_that_grows() -> None:
    held = plan(10, "m")
    names = held.models
    growth = Growth(held, ["m"])
    later = grown(growth, is_whole=True)
    growth.grow(later)
    assert held == later
    assert names == ["m", "late"]


def test_models_without_a_lane_are_known_when_the_plan_is_whole() -> None:
    growth = Growth(plan(10, "m"), ["m"])
    growth.grow(grown(growth))
    assert growth.strangers == []
    growth.grow(grown(growth, is_whole=True))
    assert growth.strangers == ["late", "late"]
    assert Growth(plan(4, "m", "n", is_whole=True), ["n", "m", "o"]).strangers == []
