"""Whatever a provider does, a row's attempts are bounded and its refusals cost it nothing."""

from __future__ import annotations

from random import Random

import anyio
import tenacity
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit import verdicts
from batchkit.errors import Again, Verdict
from batchkit.records import Completion, Failure, Outcome, Usage
from batchkit.retry import RetryPolicy, Tries, backoff, new_retrying
from batchkit.verdicts import BY_CODE

TRANSPORT = [verdicts.TIMED_OUT, verdicts.UNREACHABLE, verdicts.CUT_OFF, verdicts.LOCAL_TROUBLE]
VERDICTS = st.sampled_from([*BY_CODE.values(), *TRANSPORT])
RETRY_AFTER = st.none() | st.floats(0, 1e7)
FAILURES = st.builds(Failure, verdict=VERDICTS, message=st.just("x"), retry_after_s=RETRY_AFTER)
ANSWERS = st.just(Completion("yes", "stop", Usage(1, 0, 1)))


@given(VERDICTS, st.integers(0, 10**30), st.floats(0, 1, exclude_max=True), RETRY_AFTER)
def test_a_wait_is_bounded_and_never_shorter_than_retry_after(
    verdict: Verdict, failures: int, jitter: float, retry_after_s: float | None
) -> None:
    wait = backoff(
        verdict, failures=failures, jitter=jitter, retry_after_s=retry_after_s, longest_s=60.0
    )
    told = retry_after_s or 0.0
    assert told <= wait <= max(60.0, told + 1.0)


@settings(max_examples=60)
@given(
    st.lists(FAILURES | FAILURES | ANSWERS, min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(0, 2**32),
)
def test_counted_attempts_never_exceed_the_allowed_ones(
    schedule: list[Outcome], max_attempts: int, seed: int
) -> None:
    """The request ends at its first answer, hopeless failure, or last allowed failure."""
    tries = Tries(RetryPolicy(max_attempts=max_attempts), Random(seed))
    made: list[Outcome] = []

    async def attempt() -> Outcome:
        outcome = (
            schedule[len(made)] if len(made) < len(schedule) else Completion("", "stop", Usage())
        )
        made.append(outcome)
        if isinstance(outcome, Failure):
            tries.note(outcome)
        return outcome

    async def sleep(_seconds: float) -> None:
        pass

    def before_sleep(_state: tenacity.RetryCallState) -> None:
        pass

    async def run() -> Outcome:
        return await new_retrying(tries, sleep=sleep, before_sleep=before_sleep)(attempt)

    last = anyio.run(run)
    assert last is made[-1]
    again = [outcome.verdict.again for outcome in made if isinstance(outcome, Failure)]
    counted, free = again.count(Again.COUNTED), again.count(Again.FREE)
    assert (tries.failures, tries.refusals) == (counted, free)
    assert counted <= max_attempts
    if isinstance(last, Failure):
        assert last.verdict.again is Again.NEVER or counted == max_attempts
    ended_early = [
        o for o in made[:-1] if not isinstance(o, Failure) or o.verdict.again is Again.NEVER
    ]
    assert ended_early == []
