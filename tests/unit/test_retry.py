"""When an attempt is repeated, after how long, and what that costs the row."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import anyio
import pytest
import tenacity

from batchkit import verdicts
from batchkit.records import Completion, Failure, Outcome, Usage
from batchkit.retry import RetryPolicy, Tries, backoff, is_worth_repeating, new_retrying
from batchkit.verdicts import verdict_for

BUSY = verdict_for(500, "1230")  # first step: 1 s
ANSWER = Completion("yes", "stop", Usage(1, 0, 1))


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


def failed(code: str, **rest: Any) -> Failure:
    return Failure(verdict_for(429, code), "words", http_status=429, code=code, **rest)


class Asked:
    """A request whose attempts end as scripted."""

    def __init__(
        self, outcomes: Sequence[Outcome], *, max_attempts: int = 3, seed: int = 1
    ) -> None:
        self.left = list(outcomes)
        self.waits: list[float] = []
        self.tries = Tries(RetryPolicy(max_attempts=max_attempts), Random(seed))

    async def attempt(self) -> Outcome:
        outcome = self.left.pop(0)
        if isinstance(outcome, Failure):
            self.tries.note(outcome)
        return outcome

    async def run(self) -> Outcome:
        retrying = new_retrying(self.tries, sleep=anyio.sleep, before_sleep=self._note)
        return await retrying(self.attempt)

    def _note(self, state: tenacity.RetryCallState) -> None:
        assert state.next_action is not None
        self.waits.append(state.next_action.sleep)


def test_the_wait_doubles_with_each_failure_up_to_the_longest() -> None:
    waits = [
        backoff(BUSY, failures=n, jitter=0.5, retry_after_s=None, longest_s=60.0)
        for n in (1, 2, 3, 6, 7, 8, 1000)
    ]
    assert waits == [0.5, 1.0, 2.0, 16.0, 30.0, 30.0, 30.0]


def test_the_wait_is_drawn_from_zero_on() -> None:
    waits = [
        backoff(BUSY, failures=3, jitter=jitter, retry_after_s=None, longest_s=60.0)
        for jitter in (0.0, 0.25, 0.75)
    ]
    assert waits == [0.0, 1.0, 3.0]


def test_retry_after_is_kept_and_spread_upward_by_at_most_a_second() -> None:
    waits = [
        backoff(BUSY, failures=n, jitter=jitter, retry_after_s=7.0, longest_s=60.0)
        for n, jitter in ((1, 0.0), (1, 0.5), (9, 0.5))
    ]
    assert waits == [7.0, 7.5, 7.5]


def test_only_failures_that_may_pass_are_worth_repeating() -> None:
    outcomes: list[Outcome] = [
        ANSWER,
        failed("1302"),
        failed("1230"),
        failed("1113"),
        failed("1261"),
        Failure(verdicts.TIMED_OUT, "late"),
    ]
    assert [is_worth_repeating(o) for o in outcomes] == [False, True, True, False, False, True]


@pytest.mark.anyio
async def test_an_answer_ends_it() -> None:
    asked = Asked([failed("1230"), failed("1302"), ANSWER, failed("1230")])
    assert await asked.run() is ANSWER
    assert (asked.tries.failures, asked.tries.refusals) == (1, 1)
    assert len(asked.waits) == 2


@pytest.mark.anyio
async def test_the_last_of_the_allowed_failures_is_returned() -> None:
    last = failed("1234")
    asked = Asked([failed("1230"), failed("1200"), last, ANSWER])
    assert await asked.run() is last
    assert len(asked.waits) == 2


@pytest.mark.anyio
async def test_refusals_use_up_nothing() -> None:
    asked = Asked([failed("1302")] * 500 + [failed("1230")] * 2 + [failed("1305")] * 500 + [ANSWER])
    assert await asked.run() is ANSWER
    assert (asked.tries.failures, asked.tries.refusals) == (2, 1000)


@pytest.mark.anyio
async def test_what_is_hopeless_ends_it_at_once() -> None:
    arrears = failed("1113")
    asked = Asked([failed("1302"), arrears, ANSWER])
    assert await asked.run() is arrears


@pytest.mark.anyio
async def test_requests_at_the_same_time_do_not_share_their_counts() -> None:
    """One controller for several tasks would mix up their counts."""
    asked = [Asked([failed("1230")] * 5, seed=n) for n in range(6)]
    async with anyio.create_task_group() as group:
        for one in asked:
            group.start_soon(one.run)
    assert [len(one.left) for one in asked] == [2] * 6


@pytest.mark.anyio
async def test_the_controller_sleeps_as_long_as_it_says() -> None:
    asked = Asked([failed("1230", retry_after_s=100.0), failed("1230"), ANSWER])
    began = anyio.current_time()
    await asked.run()
    assert anyio.current_time() - began == pytest.approx(sum(asked.waits), abs=0.1)
    assert 100.0 <= asked.waits[0] <= 101.0
