"""Requests and tokens per minute under a virtual clock."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batchkit.quota import Quota

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def seconds_for(quota: Quota, sizes: list[int]) -> list[float]:
    """When each of `sizes`, asked for at once and in order, was allowed."""
    began, allowed = anyio.current_time(), [0.0] * len(sizes)

    async def ask(at: int) -> None:
        await quota.acquire(sizes[at])
        allowed[at] = anyio.current_time() - began

    async with anyio.create_task_group() as group:
        for at in range(len(sizes)):
            group.start_soon(ask, at)
    return allowed


async def test_without_a_quota_nobody_waits() -> None:
    assert await seconds_for(Quota(None, None), [10**6] * 100) == pytest.approx([0] * 100, abs=0.1)


async def test_requests_per_minute_are_kept_and_used_up() -> None:
    allowed = await seconds_for(Quota(60, None), [1] * 126)
    assert allowed[5] == pytest.approx(0, abs=0.1)
    assert allowed[-1] == pytest.approx(120, rel=0.02)


async def test_tokens_per_minute_are_kept_and_used_up() -> None:
    allowed = await seconds_for(Quota(None, 60_000), [1000] * 126)
    assert allowed[-1] == pytest.approx(120, rel=0.02)


async def test_a_long_prompt_is_not_overtaken() -> None:
    allowed = await seconds_for(Quota(None, 60_000), [6000, 30_000, *([10] * 50)])
    assert allowed == sorted(allowed)
    assert allowed[1] == pytest.approx(30, rel=0.02)


async def test_a_prompt_above_the_whole_allowance_passes_in_the_end() -> None:
    (allowed,) = await seconds_for(Quota(None, 6000), [12_000])
    assert allowed == pytest.approx(114, rel=0.02)
