"""When to ask again, and after how long: tenacity's controllers under batchkit's rules.

* A controller belongs to one request (a shared one mixes up the counts of its users) and begins
  only when a first attempt has failed, so an attempt that succeeds at once pays nothing for it.
* Failures of the exchange itself use up `max_attempts`; refusals for load use up nothing.
* The wait is drawn with full jitter: uniform over [0, pause * 2^n], capped, and never shorter than
  the provider's Retry-After (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
  2015).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import tenacity

from batchkit.errors import Again, Verdict
from batchkit.records import Failure, Outcome

LONGEST_PAUSE_S = 60.0
_MOST_DOUBLINGS = 16  # cap the exponent, not just the product: 2.0 ** 1024 overflows


class RetryPolicy(msgspec.Struct, frozen=True):
    """How patient a request is."""

    max_attempts: int = 8  # exchanges that failed by themselves
    longest_pause_s: float = LONGEST_PAUSE_S


def backoff(
    verdict: Verdict, *, failures: int, jitter: float, retry_after_s: float | None, longest_s: float
) -> float:
    """Seconds to wait after the `failures`-th failure in a row (1-based); `jitter` is in [0, 1)."""
    step = min(longest_s, verdict.pause_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
    if retry_after_s is not None:
        return retry_after_s + jitter * min(step, 1.0)  # upward only: earlier is refused again
    return jitter * step


class Tries:
    """What one request has used up so far: the state behind tenacity's `stop` and `wait`."""

    __slots__ = ("_policy", "_rng", "failures", "is_over", "refusals")

    def __init__(self, policy: RetryPolicy, rng: Random) -> None:
        self._policy = policy
        self._rng = rng
        self.failures = 0  # counted against max_attempts
        self.refusals = 0
        self.is_over = False  # set by whoever knows of something better than waiting

    def note(self, failure: Failure) -> None:
        """Count one failed attempt; called once per attempt, before any decision on it."""
        if failure.verdict.again is Again.COUNTED:
            self.failures += 1
        elif failure.verdict.again is Again.FREE:
            self.refusals += 1

    def stop(self, _state: tenacity.RetryCallState) -> bool:
        return self.is_over or self.failures >= self._policy.max_attempts

    def wait(self, state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        failure = state.outcome.result()
        return backoff(
            failure.verdict,
            failures=self.refusals if failure.verdict.again is Again.FREE else self.failures,
            jitter=self._rng.random(),
            retry_after_s=failure.retry_after_s,
            longest_s=self._policy.longest_pause_s,
        )


def is_worth_repeating(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) and outcome.verdict.again is not Again.NEVER


def new_retrying(
    tries: Tries,
    *,
    sleep: Callable[[float], Awaitable[None]],
    before_sleep: Callable[[tenacity.RetryCallState], None],
) -> tenacity.AsyncRetrying:
    """A fresh controller for one request; it returns the last outcome, whatever that is."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_result(is_worth_repeating),
        stop=tries.stop,
        wait=tries.wait,
        sleep=sleep,
        before_sleep=before_sleep,
        retry_error_callback=_last_outcome,
    )


def _last_outcome(state: tenacity.RetryCallState) -> Outcome:
    assert state.outcome is not None
    outcome: Outcome = state.outcome.result()
    return outcome
