"""One request from its first dispatch to its result: what it has asked, spent and come to.

What earlier starts, or another lane, spent on a request comes along as its `Prior`, so a request
can be taken up anywhere and its result still says everything that it cost.
"""

from __future__ import annotations

from random import Random

import msgspec

from batchkit.assembly import Assembly
from batchkit.records import Attempt, Completion, Failure, Outcome, Prior, Request, Result
from batchkit.retry import RetryPolicy, Tries


class Fed(msgspec.Struct):
    """A request on its way to a worker."""

    request: Request
    prior: Prior | None = None
    assembly: Assembly | None = None  # of the document of which it is a chunk


class Answered(msgspec.Struct, frozen=True):
    """A completion that was read: settled as it is, or asked again with another body."""

    output: str | None = None
    failure: Failure | None = None
    again: Request | None = None


class Life:
    """A request that a worker has taken."""

    __slots__ = (
        "assembly",
        "attempts",
        "body",
        "cost",
        "has_answer",
        "last",
        "number",
        "overloaded_at",
        "request",
        "started_at",
        "tries",
        "usage",
    )

    def __init__(
        self, fed: Fed, policy: RetryPolicy, rng: Random, *, body: bytes, wall: float
    ) -> None:
        prior = fed.prior or Prior()
        self.assembly = fed.assembly
        self.request = fed.request
        self.tries = Tries(policy, rng)
        self.body = body
        self.attempts = prior.attempts
        self.number = max(prior.attempts, prior.number)  # of the attempt that began last
        self.usage = prior.usage
        self.cost = prior.cost
        self.started_at = prior.first_at or wall
        self.last: Attempt | None = None  # the attempt that ended last, if it is not recorded yet
        self.overloaded_at: float | None = None  # when it was first refused by a busy platform
        self.has_answer = False  # another attempt that was in flight at the same time won

    def prior(self) -> Prior:
        """What whoever takes the request up next must know."""
        return Prior(
            self.attempts, self.usage, self.cost, first_at=self.started_at, number=self.number
        )

    def failed(self, failure: Failure, *, currency: str, wall: float) -> Result:
        """The result of a request that is not worth another attempt."""
        result = self._result(failure, currency, wall)
        result.status = "failed"
        result.error_kind = failure.verdict.kind
        result.error_code = failure.code
        result.error_message = failure.message
        return result

    def answered(
        self, completion: Completion, answered: Answered, *, currency: str, wall: float
    ) -> Result:
        """The result of an answer, which may still not be what was asked for."""
        result = self._result(completion, currency, wall)
        if answered.failure is not None:
            result.status = "failed"
            result.error_kind = answered.failure.verdict.kind
            result.error_message = answered.failure.message
        result.output = answered.output
        result.tool_calls = completion.tool_calls
        return result

    def _result(self, outcome: Outcome, currency: str, wall: float) -> Result:
        return Result(
            row=self.request.row,
            custom_id=self.request.custom_id,
            model=self.request.model,
            status="ok",
            content=outcome.content,
            finish_reason=outcome.finish_reason,
            tool_calls=None,
            output=None,
            usage=self.usage,
            cost=self.cost,
            currency=currency,
            attempts=self.attempts,
            latency_s=None if self.last is None else self.last.latency_s,
            total_s=wall - self.started_at,
            finished_at=wall,
            http_status=outcome.http_status,
            response_id=outcome.response_id,
            response_model=outcome.response_model,
            metadata=self.request.metadata,
            keep=self.request.keep,
        )
