"""One lane's workers: each takes a request from the feed and stays with it until it settles.

* A worker belongs to a request, a slot to one attempt of it. A request that backs off keeps its
  worker but no slot, and another worker takes over the slot, up to a bound.
* Every attempt is journaled when it ends: alone if the request goes on, with the result if it
  settles, so money spent on a request that had not settled survives a kill.
* A request is asked again only when the record of its last attempt is durable: a kill leaves at
  most one attempt of it unrecorded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Protocol

import anyio
import tenacity
from anyio.abc import TaskGroup

from batchkit.assembly import Assembly
from batchkit.attempts import Attempts, Ended
from batchkit.breaker import Breaker
from batchkit.errors import Again, ErrorKind, Stops
from batchkit.feed import Feed
from batchkit.gate import DrainingError
from batchkit.journal import EndedChunk, Settled
from batchkit.life import Answered, Fed, Life
from batchkit.onward import OVERLOADED_FOR_S, Onward, Step
from batchkit.records import Completion, Failure, Outcome, Request, Result
from batchkit.retry import RetryPolicy, is_worth_repeating, new_retrying
from batchkit.staff import Staff
from batchkit.stop_words import hopeless, stop_message
from batchkit.stopping import Cause, Stopper, StopReason

NOBODY_ANSWERED_S = 900.0  # patience with a model that refuses everybody


class Asking(Protocol):
    """How an answer is asked for: by an attempt, or by two of them at a time."""

    async def make(self, life: Life, *, again: bool = False) -> Ended: ...
    async def watch(self, group: TaskGroup) -> None: ...


class Pool:
    """Workers of one lane, as many as it has slots, and one more for each that backs off."""

    def __init__(
        self,
        attempts: Attempts,
        *,
        feed: Feed[Fed],
        stopper: Stopper,
        run_stopper: Stopper,
        policy: RetryPolicy,
        read: Callable[[Request, Completion, int], Answered] | None,
        key_env: str,
        most_backing_off: int,
        rng: Random,
        asking: Asking | None = None,
        onward: Onward | None = None,
    ) -> None:
        self.model = attempts.model
        self.gate = attempts.gate
        self.feed = feed
        self.answered = 0
        self._attempts = attempts
        self._asking = asking
        self._make = attempts.make if asking is None else asking.make
        self._recorder = attempts.recorder
        self._clock = attempts.clock
        self._currency = attempts.rates.currency
        self._stopper = stopper
        self._run_stopper = run_stopper
        self._policy = policy
        self._read = read
        self._key_env = key_env
        self._staff = Staff(most_backing_off)
        self._rng = rng
        self._onward = onward or Onward(self.model, [])
        self._breaker = Breaker()
        self._begun = 0  # requests that workers have taken and that have not settled
        self._last_good = self._clock.now()

    @property
    def backing_off(self) -> int:
        """Requests that wait for something else than a slot."""
        return self._staff.away

    @property
    def longest_s(self) -> float:
        """The longest an answer has taken; until one comes, how long it has been waited for."""
        return self._attempts.longest_s

    async def run(self, workers: int) -> None:
        """Work until the feed has ended and every request taken from it has settled."""
        async with anyio.create_task_group() as outer:
            outer.start_soon(self._close_when_stopped, name=f"stop {self.model.name}")
            async with anyio.create_task_group() as group:

                def spawn() -> None:
                    group.start_soon(self._work, name=f"worker {self.model.name}")

                if self._asking is not None:
                    outer.start_soon(self._asking.watch, group, name=f"watch {self.model.name}")
                self._staff.begin(spawn, workers)
            self._staff.end()
            outer.cancel_scope.cancel()

    def staff(self, workers: int) -> None:
        """Have as many workers; whoever is one too many ends when its request has settled."""
        self._staff.want(workers)

    def change(self, change: Callable[[], None]) -> None:
        """Change the limit by calling `change`."""
        if self.gate.limit.slots == 0:  # nobody was asked, so nobody kept silent
            self._last_good = self._clock.now()
        self.gate.change(change)

    def end_of_input(self) -> None:
        """The feeder has no more rows."""
        self.feed.close()
        self._note_pending()

    async def _close_when_stopped(self) -> None:
        await self._stopper.wait()
        self._end()

    def _end(self) -> None:
        """Begin nothing more: from this call on, not from the next turn of the loop."""
        self.gate.close()
        self.feed.clear()

    def _note_pending(self) -> None:
        self.gate.settle_pending(pending=not self.feed.is_exhausted)

    async def _work(self) -> None:
        while (fed := await self.feed.next()) is not None:
            self._note_pending()
            if self._begun == 0:
                self._last_good = self._clock.now()  # nobody asked before, so nobody was refused
            self._begun += 1
            try:
                if fed.assembly is None:
                    await self._settle(fed)
                else:
                    await self._settle_chunk(fed, fed.assembly)
            except DrainingError:
                return
            finally:
                self._begun -= 1
            if self._staff.lets_go():
                return

    async def _settle_chunk(self, fed: Fed, assembly: Assembly) -> None:
        if assembly.lacks(fed.request) and not await self._settle(fed):
            return
        if assembly.is_complete:  # only for the worker that brings the last answer
            await self._join(assembly)

    async def _join(self, assembly: Assembly) -> None:
        following = assembly.following()
        if following is not None:
            fed = Fed(following, assembly.prior(following), assembly)
            if not await self._settle(fed):
                return
        self._recorder.put(Settled(assembly.result(self._clock.wall()), None))

    async def _settle(self, fed: Fed) -> bool:
        """Whether the request settled here: another lane may have taken it up."""
        body = self._attempts.prepare(fed.request)
        life = Life(fed, self._policy, self._rng, body=body, wall=self._clock.wall())
        asked_again = 0
        while True:
            outcome = await self._answer(life)
            if isinstance(outcome, Failure):
                return await self._fail(life, outcome)
            self.answered += 1
            answered = self._read(life.request, outcome, asked_again) if self._read else Answered()
            if answered.again is None:
                self._close(life, outcome, answered)
                return True
            asked_again += 1
            assert life.last is not None
            life.last.error_kind = ErrorKind.INVALID_OUTPUT
            await self._pause(life, 0.0)
            life.request = answered.again
            life.body = self._attempts.prepare(life.request)

    async def _answer(self, life: Life) -> Outcome:
        outcome = await self._attempt(life)
        if not is_worth_repeating(outcome):
            return outcome
        first = [outcome]

        async def attempt() -> Outcome:
            outcome = first.pop() if first else await self._attempt(life, again=True)
            if isinstance(outcome, Failure):
                life.tries.note(outcome)
                life.tries.is_over = self._is_better_elsewhere(life, outcome)
            return outcome

        async def back_off(seconds: float) -> None:
            await self._pause(life, seconds)

        retrying = new_retrying(
            life.tries, sleep=back_off, before_sleep=partial(self._before_pause, life)
        )
        return await retrying(attempt)

    async def _attempt(self, life: Life, *, again: bool = False) -> Outcome:
        outcome, life.last = await self._make(life, again=again)
        if isinstance(outcome, Completion):
            self._last_good = self._clock.now()
        return outcome

    # -- between two attempts ----------------------------------------------------------------------

    def _is_better_elsewhere(self, life: Life, failure: Failure) -> bool:
        if failure.verdict.kind is not ErrorKind.OVERLOADED:
            return False
        now = self._clock.now()
        if life.overloaded_at is None:
            life.overloaded_at = now
        if now - min(life.overloaded_at, self._last_good) < OVERLOADED_FOR_S:
            return False
        step = self._onward.step(life.request, failure)
        return step is not None and step.is_open

    def _before_pause(self, life: Life, state: tenacity.RetryCallState) -> None:
        assert state.next_action is not None
        assert state.outcome is not None
        assert life.last is not None
        life.last.wait_s = float(state.next_action.sleep)
        failure = state.outcome.result()
        silent_s = self._clock.now() - self._last_good
        if failure.verdict.again is Again.FREE and silent_s > NOBODY_ANSWERED_S:
            self._stop(failure, Stops.MODEL)

    async def _pause(self, life: Life, seconds: float) -> None:
        """Record the last attempt, and wait until another may begin."""
        number = self._put_attempt(life)
        with self._staff.stood_in_for():
            with anyio.move_on_after(seconds):
                await self._stopper.wait()
            if not self._stopper.is_stopping:
                await self._recorder.wait_durable(number)
        if self._stopper.is_stopping:
            raise DrainingError

    def _put_attempt(self, life: Life) -> int:
        assert life.last is not None
        number = self._recorder.put(life.last)
        life.last = None
        return number

    # -- at the end --------------------------------------------------------------------------------

    async def _fail(self, life: Life, failure: Failure) -> bool:
        stops = failure.verdict.stops
        if stops is Stops.UNIFORM:
            stops = Stops.ROW if self.answered else Stops.MODEL
        if stops is not Stops.ROW:
            self._put_attempt(life)
            self._stop(failure, stops)
        elif (step := self._onward.step(life.request, failure)) is not None:
            await self._pass_on(life, step)
        elif failure.verdict.again is Again.FREE:
            self._put_attempt(life)  # the model it should have gone on to has stopped meanwhile
        else:
            result = life.failed(failure, currency=self._currency, wall=self._clock.wall())
            self._put(life, result)
            return True
        return False

    async def _pass_on(self, life: Life, step: Step) -> None:
        """Let another lane take the row up; one that has stopped leaves it unsettled."""
        number = self._put_attempt(life)
        with self._staff.stood_in_for():
            await self._recorder.wait_durable(number)
            await step.feed.pass_on(Fed(life.request, life.prior(), life.assembly))

    def _stop(self, failure: Failure, stops: Stops) -> None:
        reason = StopReason(
            Cause.FATAL,
            stop_message(self.model.name, failure, self._key_env),
            resets_at=failure.resets_at,
        )
        (self._run_stopper if stops is Stops.JOB else self._stopper).stop(reason)
        self._end()

    def _close(self, life: Life, completion: Completion, answered: Answered) -> None:
        assert life.last is not None
        result = life.answered(
            completion, answered, currency=self._currency, wall=self._clock.wall()
        )
        if result.error_kind is not None:
            life.last.error_kind = result.error_kind
        self._put(life, result)

    def _put(self, life: Life, result: Result) -> None:
        if life.assembly is None:
            self._recorder.put(Settled(result, life.last))
        else:
            assert life.last is not None
            assert life.request.chunk is not None
            settled = life.assembly.settle(life.request.chunk, result, self._clock.wall())
            self._recorder.put(EndedChunk(settled, life.last))
        kind = self._breaker.settle(result.error_kind)
        if kind is not None and not self._stopper.is_stopping:
            self._stopper.stop(StopReason(Cause.FAILURES, hopeless(self.model.name, kind)))
            self._end()
