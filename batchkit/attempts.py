"""One model's attempts: each admitted, sent, and written down with what it cost.

* Money is reserved, and a slot taken, before anything is sent; both are given back in every case.
* An attempt begins only while what is not durable yet is within its bound, so the attempts that a
  kill leaves unrecorded are bounded by that and the slots.
* An attempt that is broken off was sent, and may have been executed: its record says so.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from batchkit import verdicts
from batchkit.accounting import Rates
from batchkit.errors import Billing, Signal
from batchkit.gate import DrainingError, Gate
from batchkit.journal import Record
from batchkit.life import Life
from batchkit.models import Model
from batchkit.purse import OverBudgetError, Purse, attempt_bound
from batchkit.quota import Quota
from batchkit.records import Attempt, Completion, Failure, Outcome, Request, Usage
from batchkit.stop_words import over_budget
from batchkit.stopping import Cause, Stopper, StopReason


class Exchange(Protocol):
    """What is needed of a provider; nothing that service or network do raises."""

    def prepare(self, request: Request, model: Model) -> bytes: ...
    async def exchange(self, body: bytes, timeout_s: float) -> Outcome: ...


class Sink(Protocol):
    """Where ended attempts and settled requests go (the recorder)."""

    @property
    def has_room(self) -> bool: ...

    def put(self, record: Record) -> int:
        """Hand a record over; returns a number for `wait_durable`."""

    async def wait_room(self) -> None: ...
    async def wait_durable(self, number: int) -> None: ...


class Clock(Protocol):
    def now(self) -> float: ...  # monotonic seconds
    def wall(self) -> float: ...  # seconds since the epoch


class Ended(NamedTuple):
    """How an attempt ended, and its record."""

    outcome: Outcome
    attempt: Attempt


class Attempts:
    """Begins and accounts for the attempts of one lane."""

    def __init__(
        self,
        model: Model,
        *,
        provider: Exchange,
        gate: Gate,
        recorder: Sink,
        run_stopper: Stopper,
        timeout_s: float,
        purse: Purse | None,
        quota: Quota | None,
        clock: Clock,
    ) -> None:
        self.model = model
        self.gate = gate
        self.clock = clock
        self.recorder = recorder
        self.rates = Rates.of(model.price)
        self._provider = provider
        self._run_stopper = run_stopper
        self._timeout_s = timeout_s
        self._purse = purse
        self._quota = quota
        self._first_sent: float | None = None
        self._longest_s: float | None = None

    @property
    def longest_s(self) -> float:
        """The longest an answer has taken; until one comes, how long it has been waited for."""
        if self._longest_s is not None or self._first_sent is None:
            return self._longest_s or 0.0
        return self.clock.now() - self._first_sent

    def prepare(self, request: Request) -> bytes:
        """The body to send."""
        return self._provider.prepare(request, self.model)

    async def make(self, life: Life, *, again: bool = False) -> Ended:
        """One attempt; raises `DrainingError` once nothing may begin any more."""
        return await self.send(life, await self.admit(life.request, again=again))

    async def admit(self, request: Request, *, again: bool) -> int:
        """Wait for money, quota and a slot, in this order; returns what `send` has to settle."""
        reserved = await self._reserve(request)
        try:
            if self._quota is not None:
                await self._quota.acquire(tokens_of(request))
            await self._take_slot(again=again)
        except BaseException:
            self._settle(reserved, 0)
            raise
        return reserved

    def admit_nowait(self, request: Request) -> int | None:
        """As `admit`, if nothing has to be waited for and nobody else waits; else None."""
        if self._quota is not None or not self.recorder.has_room:
            return None
        bound = 0 if self._purse is None else attempt_bound(request, self.model, self.rates)
        if self._purse is not None and not self._purse.reserve_nowait(bound):
            return None
        if not self.gate.acquire_nowait():
            self._settle(bound, 0)
            return None
        return bound

    async def send(self, life: Life, reserved: int) -> Ended:
        """Send what was admitted. The slot and the money are given back."""
        started = self.clock.now()
        self._first_sent = self._first_sent or started
        life.attempts += 1
        life.number += 1
        attempt = Attempt(
            row=life.request.row,
            custom_id=life.request.custom_id,
            attempt=life.number,
            model=self.model.name,
            started_at=self.clock.wall(),
            latency_s=0.0,
            in_flight=self.gate.in_flight,
            limit=self.gate.limit.slots,
            chunk=life.request.chunk,
        )
        signal = Signal.NEUTRAL
        try:
            outcome = await self._provider.exchange(life.body, self._timeout_s)
            signal = Signal.GOOD if isinstance(outcome, Completion) else outcome.verdict.signal
        except BaseException:
            attempt.latency_s = self.clock.now() - started
            verdict = verdicts.OUTRUN if life.has_answer else verdicts.CUT_OFF
            self._blame(life, attempt, Failure(verdict, "cancelled"))
            self.recorder.put(attempt)
            raise
        else:
            attempt.latency_s = self.clock.now() - started
            self._account(life, attempt, outcome)
        finally:
            self.gate.release(signal, started_at=started)
            self._settle(reserved, attempt.cost or attempt.bound)
        return Ended(outcome, attempt)

    async def _reserve(self, request: Request) -> int:
        if self._purse is None:
            return 0
        bound = attempt_bound(request, self.model, self.rates)
        try:
            await self._purse.reserve(bound)
        except OverBudgetError:
            words = over_budget(self._purse.budget, self._purse.spent)
            self._run_stopper.stop(StopReason(Cause.BUDGET, words))
            raise DrainingError from None
        return bound

    def _settle(self, reserved: int, spent: int) -> None:
        if self._purse is not None:
            self._purse.settle(reserved, spent)

    async def _take_slot(self, *, again: bool) -> None:
        await self.recorder.wait_room()
        await self.gate.acquire(again=again)
        if not self.recorder.has_room:  # others have ended while this one waited for its slot
            try:
                await self.recorder.wait_room()
            except BaseException:
                self.gate.give_back()
                raise
            if self.gate.is_closed:
                self.gate.give_back()
                raise DrainingError

    def _account(self, life: Life, attempt: Attempt, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self._blame(life, attempt, outcome)
        else:
            self._longest_s = max(self._longest_s or 0.0, attempt.latency_s)
            attempt.http_status = outcome.http_status
            self._bill(life, attempt, outcome.usage)

    def _bill(self, life: Life, attempt: Attempt, usage: Usage) -> None:
        attempt.billing = Billing.BILLED
        attempt.usage = usage
        attempt.cost = self.rates.cost(usage)
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
            attempt.bound = attempt_bound(life.request, self.model, self.rates)


def tokens_of(request: Request) -> int:
    """The most tokens that a request can take: its prompt and the answer it allows."""
    asked = request.params.get("max_tokens")
    return request.prompt_tokens + (asked if isinstance(asked, int) else 0)
