"""Rows between one feeder and many workers: bounded, in order, none lost."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batchkit.feed import Feed

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def take_all(feed: Feed[int], into: list[int]) -> None:
    while (row := await feed.next()) is not None:
        into.append(row)


async def test_rows_come_in_order() -> None:
    feed: Feed[int] = Feed(100)
    await feed.put([1, 2, 3])
    await feed.put([4])
    feed.close()
    taken: list[int] = []
    await take_all(feed, taken)
    assert taken == [1, 2, 3, 4]


async def test_every_row_goes_to_exactly_one_worker() -> None:
    feed: Feed[int] = Feed(3)
    taken: list[int] = []
    async with anyio.create_task_group() as group:
        for _ in range(7):
            group.start_soon(take_all, feed, taken)
        for first in range(0, 100, 5):
            await feed.put(list(range(first, first + 5)))
        feed.close()
    assert sorted(taken) == list(range(100))


async def test_at_most_a_chunk_above_the_mark_is_held() -> None:
    feed: Feed[int] = Feed(3)
    most = 0

    async def fill() -> None:
        nonlocal most
        for first in range(0, 20, 4):
            await feed.put(list(range(first, first + 4)))
            most = max(most, len(feed))
        feed.close()

    async with anyio.create_task_group() as group:
        group.start_soon(fill)
        await anyio.wait_all_tasks_blocked()
        assert len(feed) == 4
        taken = []
        while (row := await feed.next()) is not None:
            taken.append(row)
            most = max(most, len(feed))
            await anyio.wait_all_tasks_blocked()
    assert taken == list(range(20))
    assert most <= 3 + 4


async def test_the_feeder_waits_until_the_mark_is_passed() -> None:
    feed: Feed[int] = Feed(2)
    put: list[str] = []

    async def fill() -> None:
        await feed.put([1, 2, 3])
        put.append("first")

    async with anyio.create_task_group() as group:
        group.start_soon(fill)
        await anyio.wait_all_tasks_blocked()
        assert await feed.next() == 1
        await anyio.wait_all_tasks_blocked()
        assert put == []
        assert await feed.next() == 2
        await anyio.wait_all_tasks_blocked()
        assert put == ["first"]


async def test_closing_lets_the_rest_be_taken_and_releases_everybody() -> None:
    feed: Feed[int] = Feed(1)
    ended: list[str] = []

    async def fill() -> None:
        await feed.put([1, 2])
        ended.append("feeder")

    async with anyio.create_task_group() as group:
        group.start_soon(fill)
        await anyio.wait_all_tasks_blocked()
        assert not feed.is_exhausted
        feed.close()
    assert ended == ["feeder"]
    assert not feed.is_exhausted
    assert [await feed.next(), await feed.next(), await feed.next()] == [1, 2, None]
    assert feed.is_exhausted


async def test_closing_wakes_every_idle_worker() -> None:
    feed: Feed[int] = Feed(1)
    got: list[int | None] = []

    async def take() -> None:
        got.append(await feed.next())

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        feed.close()
    assert got == [None] * 5


async def test_clearing_drops_what_nobody_has_begun() -> None:
    feed: Feed[int] = Feed(1)
    async with anyio.create_task_group() as group:
        group.start_soon(feed.put, [1, 2, 3])
        await anyio.wait_all_tasks_blocked()
        assert await feed.next() == 1
        feed.clear()
    assert (await feed.next(), len(feed), feed.is_exhausted) == (None, 0, True)


async def test_a_chunk_that_comes_after_the_end_is_dropped() -> None:
    feed: Feed[int] = Feed(1)
    feed.clear()
    await feed.put([1])
    assert await feed.next() is None


async def test_a_cancelled_worker_takes_no_row_with_it() -> None:
    feed: Feed[int] = Feed(10)
    taken: list[int] = []
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(1):
            await feed.next()
        group.start_soon(take_all, feed, taken)
        await anyio.wait_all_tasks_blocked()
        await feed.put([1, 2])
        feed.close()
    assert taken == [1, 2]


async def test_a_cancelled_feeder_leaves_its_rows() -> None:
    feed: Feed[int] = Feed(1)
    with anyio.move_on_after(1):
        await feed.put([1, 2])
    feed.close()
    assert [await feed.next(), await feed.next(), await feed.next()] == [1, 2, None]


async def test_a_row_of_another_lane_comes_first() -> None:
    feed: Feed[int] = Feed(10, givers=1)
    await feed.put([1, 2])
    assert await feed.pass_on(3)
    assert [await feed.next(), await feed.next(), await feed.next()] == [3, 1, 2]


async def test_a_feed_ends_when_its_feeder_and_every_giver_have_ended() -> None:
    feed: Feed[int] = Feed(10, givers=2)
    taken: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(take_all, feed, taken)
        feed.close()
        feed.let_go()
        await anyio.wait_all_tasks_blocked()
        assert feed.is_exhausted
        assert await feed.pass_on(1)
        await anyio.wait_all_tasks_blocked()
        assert taken == [1]
        feed.let_go()
    assert await feed.next() is None


async def test_whoever_passes_rows_on_waits_for_room() -> None:
    feed: Feed[int] = Feed(2, givers=1)
    async with anyio.create_task_group() as group:
        for row in range(10):
            group.start_soon(feed.pass_on, row)
        for _ in range(10):
            await anyio.wait_all_tasks_blocked()
            assert len(feed) <= 2
            await feed.next()
    assert len(feed) == 0


async def test_a_cleared_feed_takes_no_row_and_releases_who_waits() -> None:
    feed: Feed[int] = Feed(1, givers=1)
    said: list[bool] = []

    async def give(row: int) -> None:
        said.append(await feed.pass_on(row))

    async with anyio.create_task_group() as group:
        await give(1)
        group.start_soon(give, 2)
        await anyio.wait_all_tasks_blocked()
        feed.clear()
    assert said == [True, False]
    assert await feed.next() is None
