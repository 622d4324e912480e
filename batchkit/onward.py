"""Where a lane's rows go on to, if the user has chosen so, after failures that are not theirs.

A row goes on when a busy platform has refused it for `OVERLOADED_FOR_S`, or nobody was answered for
as long; when its attempts are used up by failures of the exchange; and when its prompt exceeds the
context, to a model with a larger one. What the content filter refuses, what is wrong with the
request, and what stops a model or the job never goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from batchkit.errors import ErrorKind, Stops
from batchkit.feed import Feed
from batchkit.life import Fed
from batchkit.models import Model
from batchkit.records import Failure, Request
from batchkit.stopping import Stopper
from batchkit.verdicts import REPEATED

OVERLOADED_FOR_S = 60.0  # about six refusals, at pauses that double from 2 s with full jitter

_NEUTRAL = REPEATED | {ErrorKind.OVERLOADED}


class Step(msgspec.Struct, frozen=True):
    """A lane that takes rows up."""

    model: Model
    feed: Feed[Fed]
    stopper: Stopper
    accepts: Callable[[Request], bool]  # whether the request can be sent there at all

    @property
    def is_open(self) -> bool:
        """Whether it has not stopped; one that has takes rows up when the run goes on."""
        return not self.stopper.is_stopping


class Onward:
    """The lanes after one lane, in the order of the user's choice; none leads back."""

    def __init__(self, model: Model, steps: Sequence[Step]) -> None:
        self._model = model
        self._steps = steps

    def step(self, request: Request, failure: Failure) -> Step | None:
        """Where `request` goes on to after `failure`: to a lane that is open if there is one.

        None if it stays here.
        """
        verdict = failure.verdict
        if not self._steps or verdict.stops is not Stops.ROW:
            return None
        needs_room = verdict.kind is ErrorKind.CONTEXT_EXCEEDED
        if not needs_room and verdict.kind not in _NEUTRAL:
            return None
        fitting = [
            step
            for step in self._steps
            if (not needs_room or step.model.context > self._model.context)
            and step.accepts(request)
        ]
        return next((step for step in fitting if step.is_open), fitting[0] if fitting else None)
