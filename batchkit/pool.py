"""One model's workers: each takes a request from the feed and stays with it until it settles.

* A worker belongs to a request, a slot to one attempt of it. A request that backs off keeps its
  worker but no slot, and another worker takes over the slot, up to a bound.
* Every attempt is journaled when it ends: alone if the request goes on, with the result if it
  settles, so money spent on a request that had not settled survives a kill.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Protocol

import anyio
import msgspec
import tenacity

from batchkit import errors
from batchkit.accounting import Rates
from batchkit.assembly import Assembly
from batchkit.breaker import Breaker
from batchkit.errors import Again, Billing, ErrorKind, Signal, Stops
from batchkit.feed import Feed
from batchkit.journal import EndedChunk, Record, Settled
from batchkit.limits import DrainingError, Gate
from batchkit.models import Model
from batchkit.purse import OverBudgetError, Purse, attempt_bound
from batchkit.quota import Quota
from batchkit.records import Attempt, Completion, Failure, Outcome, Prior, Request, Result, Usage
from batchkit.retry import RetryPolicy, Tries, is_worth_repeating, new_retrying
from batchkit.stop_words import hopeless, over_budget, stop_message
from batchkit.stopping import Cause, Stopper, StopReason

NOBODY_ANSWERED_S = 900.0  # patience with a model that refuses everybody


class Fed(msgspec.Struct):
    """A request on its way to a worker."""

    request: Request
    prior: Prior | None = None
    assembly: Assembly | None = None  # of the document of which it is a chunk


class Exchange(Protocol):
    """What the pool needs of a provider; nothing that service or network do raises."""

    def prepare(self, request: Request, model: Model) -> bytes: ...
    async def exchange(self, body: bytes, timeout_s: float) -> Outcome: ...


class Sink(Protocol):
    """Where ended attempts and settled requests go (the recorder)."""

    def put(self, record: Record) -> None: ...
    async def wait_room(self) -> None: ...


class Clock(Protocol):
    def now(self) -> float: ...  # monotonic seconds
    def wall(self) -> float: ...  # seconds since the epoch


class Answered(msgspec.Struct, frozen=True):
    """A completion that was read: settled as it is, or asked again with another body."""

    output: str | None = None
    failure: Failure | None = None
    again: Request | None = None


class Life:
    """One request from dispatch to settling."""

    __slots__ = (
        "assembly",
        "attempts",
        "body",
        "cost",
        "last",
        "request",
        "started_at",
        "tries",
        "usage",
    )

    def __init__(self, fed: Fed, tries: Tries, body: bytes, wall: float) -> None:
        prior = fed.prior or Prior()
        self.assembly = fed.assembly
        self.request = fed.request
        self.tries = tries
        self.body = body
        self.attempts = prior.attempts
        self.usage = prior.usage
        self.cost = prior.cost
        self.started_at = prior.first_at or wall
        self.last: Attempt | None = None


class Pool:
    """Workers of one model, as many as it has slots, and one more for each that backs off."""

    def __init__(
        self,
        model: Model,
        *,
        provider: Exchange,
        gate: Gate,
        feed: Feed[Fed],
        recorder: Sink,
        stopper: Stopper,
        run_stopper: Stopper,
        policy: RetryPolicy,
        timeout_s: float,
        read: Callable[[Request, Completion, int], Answered] | None,
        purse: Purse | None,
        quota: Quota | None = None,
        key_env: str,
        most_backing_off: int,
        clock: Clock,
        rng: Random,
    ) -> None:
        self.model = model
        self.gate = gate
        self.feed = feed
        self.answered = 0
        self.backing_off = 0
        self._provider = provider
        self._recorder = recorder
        self._stopper = stopper
        self._run_stopper = run_stopper
        self._policy = policy
        self._timeout_s = timeout_s
        self._read = read
        self._purse = purse
        self._quota = quota
        self._key_env = key_env
        self._most_backing_off = most_backing_off
        self._clock = clock
        self._rng = rng
        self._rates = Rates.of(model.price)
        self._breaker = Breaker()
        self._workers = 0  # not counting those that back off
        self._surplus = 0
        self._last_good = clock.now()
        self._first_sent: float | None = None
        self._longest_s: float | None = None
        self._spawn: Callable[[], None] = lambda: None

    @property
    def longest_s(self) -> float:
        """The longest an answer has taken; until one comes, how long it has been waited for."""
        if self._longest_s is not None or self._first_sent is None:
            return self._longest_s or 0.0
        return self._clock.now() - self._first_sent

    async def run(self, workers: int) -> None:
        """Work until the feed is exhausted and every request taken from it has settled."""
        async with anyio.create_task_group() as outer:
            outer.start_soon(self._close_when_stopped, name=f"stop {self.model.name}")
            async with anyio.create_task_group() as group:

                def spawn() -> None:
                    group.start_soon(self._work, name=f"worker {self.model.name}")

                self._spawn = spawn
                self.staff(workers)
            self._spawn = lambda: None
            outer.cancel_scope.cancel()

    def staff(self, workers: int) -> None:
        """Have as many workers; whoever is one too many ends when its request has settled."""
        more, self._workers = workers - self._workers, workers
        self._surplus -= more
        while self._surplus < 0:
            self._surplus += 1
            self._spawn()

    def change(self, change: Callable[[], None]) -> None:
        """Change the limit by calling `change`."""
        if self.gate.limit.slots == 0:  # nobody was asked, so nobody kept silent
            self._last_good = self._clock.now()
        self.gate.change(change)

    async def _close_when_stopped(self) -> None:
        await self._stopper.wait()
        self._end()

    def _end(self) -> None:
        """Begin nothing more: from this call on, not from the next turn of the loop."""
        self.gate.close()
        self.feed.clear()

    async def _work(self) -> None:
        while (fed := await self.feed.next()) is not None:
            self.gate.settle_pending(pending=not self.feed.is_exhausted)
            try:
                if fed.assembly is None:
                    await self._settle(fed)
                else:
                    await self._settle_chunk(fed, fed.assembly)
            except DrainingError:
                return
            await self._recorder.wait_room()
            if self._surplus:
                self._surplus -= 1
                return

    async def _settle_chunk(self, fed: Fed, assembly: Assembly) -> None:
        if assembly.lacks(fed.request):
            await self._settle(fed)
        if assembly.is_complete:  # only for the worker that brings the last answer
            await self._join(assembly)

    async def _join(self, assembly: Assembly) -> None:
        following = assembly.following()
        if following is not None:
            await self._settle(Fed(following, assembly.prior(following), assembly))
        if assembly.is_complete:
            self._recorder.put(Settled(assembly.result(self._clock.wall()), None))

    async def _settle(self, fed: Fed) -> None:
        tries = Tries(self._policy, self._rng)
        body = self._provider.prepare(fed.request, self.model)
        life = Life(fed, tries, body, self._clock.wall())
        asked_again = 0
        while True:
            outcome = await self._answer(life)
            if isinstance(outcome, Failure):
                self._fail(life, outcome)
                return
            self.answered += 1
            answered = self._read(life.request, outcome, asked_again) if self._read else Answered()
            if answered.again is None:
                self._close(life, outcome, answered)
                return
            asked_again += 1
            assert life.last is not None
            life.last.error_kind = ErrorKind.INVALID_OUTPUT
            self._recorder.put(life.last)
            life.request = answered.again
            life.body = self._provider.prepare(life.request, self.model)

    async def _answer(self, life: Life) -> Outcome:
        outcome = await self._attempt(life)
        if not is_worth_repeating(outcome):
            return outcome
        first = [outcome]

        async def attempt() -> Outcome:
            outcome = first.pop() if first else await self._attempt(life, again=True)
            if isinstance(outcome, Failure):
                life.tries.note(outcome)
            return outcome

        retrying = new_retrying(
            life.tries, sleep=self._back_off, before_sleep=partial(self._journal_retry, life)
        )
        return await retrying(attempt)

    async def _attempt(self, life: Life, *, again: bool = False) -> Outcome:
        if self._purse is None:
            return await self._exchange(life, again=again)
        bound = attempt_bound(life.request, self.model, self._rates)
        try:
            await self._purse.reserve(bound)
        except OverBudgetError:
            self._run_stopper.stop(
                StopReason(Cause.BUDGET, over_budget(self._purse.budget, self._purse.spent))
            )
            raise DrainingError from None
        try:
            return await self._exchange(life, again=again)
        finally:
            spent = life.last.cost or life.last.bound if life.last is not None else 0
            self._purse.settle(bound, spent)

    async def _exchange(self, life: Life, *, again: bool) -> Outcome:
        life.last = None
        if self._quota is not None:
            await self._quota.acquire(_tokens_of(life.request))
        await self.gate.acquire(again=again)
        started = self._clock.now()
        self._first_sent = self._first_sent or started
        life.attempts += 1
        life.last = attempt = Attempt(
            row=life.request.row,
            custom_id=life.request.custom_id,
            attempt=life.attempts,
            model=self.model.name,
            started_at=self._clock.wall(),
            latency_s=0.0,
            in_flight=self.gate.in_flight,
            limit=self.gate.limit.slots,
            chunk=life.request.chunk,
        )
        signal = Signal.NEUTRAL
        try:
            outcome = await self._provider.exchange(life.body, self._timeout_s)
            signal = Signal.GOOD if isinstance(outcome, Completion) else outcome.verdict.signal
        except BaseException:  # cancelled: it was sent, and may have been executed
            attempt.latency_s = self._clock.now() - started
            self._blame(life, attempt, Failure(errors.CUT_OFF, "cancelled"))
            self._recorder.put(attempt)
            raise
        finally:
            self.gate.release(signal, started_at=started)
        attempt.latency_s = self._clock.now() - started
        if isinstance(outcome, Failure):
            self._blame(life, attempt, outcome)
        else:
            self._last_good = self._clock.now()
            self._longest_s = max(self._longest_s or 0.0, attempt.latency_s)
            attempt.http_status = outcome.http_status
            self._bill(life, attempt, outcome.usage)
        return outcome

    def _bill(self, life: Life, attempt: Attempt, usage: Usage) -> None:
        attempt.billing = Billing.BILLED
        attempt.usage = usage
        attempt.cost = self._rates.cost(usage)
        life.usage += usage
        life.cost += attempt.cost

    def _blame(self, life: Life, attempt: Attempt, failure: Failure) -> None:
        attempt.http_status = failure.http_status
        attempt.error_kind = failure.verdict.kind
        attempt.error_code = failure.code
        attempt.retry_after_s = failure.retry_after_s
        attempt.billing = failure.verdict.billing
        if failure.usage is not None:
            self._bill(life, attempt, failure.usage)
        elif attempt.billing is Billing.UNKNOWN:
            attempt.bound = attempt_bound(life.request, self.model, self._rates)

    async def _back_off(self, seconds: float) -> None:
        self.backing_off += 1
        lent = self.backing_off <= self._most_backing_off
        if lent:
            self._spawn()
        try:
            with anyio.move_on_after(seconds):
                await self._stopper.wait()
        finally:
            self.backing_off -= 1
            self._surplus += lent
        if self._stopper.is_stopping:
            raise DrainingError

    def _journal_retry(self, life: Life, state: tenacity.RetryCallState) -> None:
        assert state.next_action is not None
        assert state.outcome is not None
        assert life.last is not None
        life.last.wait_s = float(state.next_action.sleep)
        self._recorder.put(life.last)
        life.last = None
        failure = state.outcome.result()
        silent_s = self._clock.now() - self._last_good
        if failure.verdict.again is Again.FREE and silent_s > NOBODY_ANSWERED_S:
            self._stop(failure, Stops.MODEL)

    def _fail(self, life: Life, failure: Failure) -> None:
        stops = failure.verdict.stops
        if stops is Stops.UNIFORM:
            stops = Stops.ROW if self.answered else Stops.MODEL
        if stops is Stops.ROW:
            self._put(life, self._failed(life, failure))
            return
        assert life.last is not None
        self._recorder.put(life.last)
        self._stop(failure, stops)

    def _stop(self, failure: Failure, stops: Stops) -> None:
        reason = StopReason(
            Cause.FATAL,
            stop_message(self.model.name, failure, self._key_env),
            resets_at=failure.resets_at,
        )
        (self._run_stopper if stops is Stops.JOB else self._stopper).stop(reason)
        self._end()

    def _close(self, life: Life, completion: Completion, answered: Answered) -> None:
        result = self._result(life, completion)
        if answered.failure is not None:
            result.status = "failed"
            result.error_kind = answered.failure.verdict.kind
            result.error_message = answered.failure.message
            assert life.last is not None
            life.last.error_kind = result.error_kind
        result.output = answered.output
        result.tool_calls = completion.tool_calls
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

    def _failed(self, life: Life, failure: Failure) -> Result:
        result = self._result(life, failure)
        result.status = "failed"
        result.error_kind = failure.verdict.kind
        result.error_code = failure.code
        result.error_message = failure.message
        return result

    def _result(self, life: Life, outcome: Outcome) -> Result:
        now = self._clock.wall()
        return Result(
            row=life.request.row,
            custom_id=life.request.custom_id,
            model=self.model.name,
            status="ok",
            content=outcome.content,
            finish_reason=outcome.finish_reason,
            tool_calls=None,
            output=None,
            usage=life.usage,
            cost=life.cost,
            currency=self._rates.currency,
            attempts=life.attempts,
            latency_s=None if life.last is None else life.last.latency_s,
            total_s=now - life.started_at,
            finished_at=now,
            http_status=outcome.http_status,
            response_id=outcome.response_id,
            response_model=outcome.response_model,
            metadata=life.request.metadata,
            keep=life.request.keep,
        )


def _tokens_of(request: Request) -> int:
    """What a request counts against tokens per minute: its prompt and the answer it allows."""
    asked = request.params.get("max_tokens")
    return request.prompt_tokens + (asked if isinstance(asked, int) else 0)
