"""Which lanes a run has: one per model, and one for its long prompts if those are limited apart.

* A model's lanes share the slots that its account allows: together they never take more.
* Prompts are told apart by their estimated tokens, which err upward (`batchkit.tokens`). A short
  prompt that is taken for a long one is only sent later; a long one among the short would be
  refused again and again, and would pull their limit down.
* What a plan that still grows will have is not known: its lanes are those of any number of rows of
  any length, of the models that its first rows, the job or the options name. Rows that name another
  one wait until the plan is whole, and then for the next lanes (`execution.Ending.goes_on`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from batchkit.models import Model, Tier
from batchkit.plan import ModelShare, Plan
from batchkit.spec import Spec

ENDLESS = 1 << 62  # rows, requests or tokens that nobody has counted yet
LONG = " (long)"  # after the model's name; a model's name has no spaces


def go_on_to(fallback: tuple[str, ...], model: str) -> tuple[str, ...]:
    """The models that rows of `model` go on to: those behind it, so that none leads back."""
    return fallback[fallback.index(model) + 1 :] if model in fallback else fallback


class Asked(Protocol):
    """What is asked of one model."""

    requests: int
    longest: int  # prompt tokens of the longest prompt; of a document's, their mean


class LanePlan(msgspec.Struct, frozen=True):
    """One lane: whose rows it takes, how many requests they are, and in how many slots."""

    model: Model
    table: int  # slots that the account is said to allow
    slots: int  # of them, that the user allows
    requests: int  # at most
    above: int | None = None  # estimated prompt tokens: only rows with more than these …
    up_to: int | None = None  # … or with at most these

    @property
    def name(self) -> str:
        """Unique among a run's lanes; what a person sees."""
        return self.model.name if self.above is None else self.model.name + LONG

    def takes(self, prompt_tokens: int) -> bool:
        """Whether a row of the model belongs here: by the tokens of its prompt.

        Of a document those are the mean of its requests.
        """
        if self.above is not None:
            return prompt_tokens > self.above
        return self.up_to is None or prompt_tokens <= self.up_to


def models_of(spec: Spec, plan: Plan) -> list[str]:
    """The models that lanes are for."""
    expected = [] if plan.is_whole or spec.model is None else [spec.model]
    return list(dict.fromkeys([*plan.models, *expected, *spec.fallback]))


def plan_lanes(spec: Spec, plan: Plan) -> list[LanePlan]:
    """The lanes of every model of the plan, and of those that rows may go on to."""
    if plan.is_whole:
        return lanes_of_job(spec, dict(zip(plan.models, plan.shares, strict=True)))
    uncounted = ModelShare(requests=ENDLESS, longest=ENDLESS)
    return lanes_of_job(spec, dict.fromkeys(models_of(spec, plan), uncounted))


def lanes_of_job(spec: Spec, asked: Mapping[str, Asked]) -> list[LanePlan]:
    """The lanes of every model that is asked, and of those that rows may go on to."""
    lanes: list[LanePlan] = []
    for name in dict.fromkeys([*asked, *spec.fallback]):
        shares = list(asked.values()) if name in spec.fallback else [asked[name]]
        lanes += lanes_of_model(
            spec.table[name],
            tier=spec.tier,
            slots=spec.slots(name),
            requests=min(ENDLESS, sum(share.requests for share in shares)),
            longest=max((share.longest for share in shares), default=0),
        )
    return lanes


def lanes_of_model(
    model: Model, *, tier: Tier, slots: int, requests: int, longest: int
) -> list[LanePlan]:
    """The lanes of one model at an account's level; `slots` are those that the user allows."""
    rule, table = model.long_prompt, model.slots(tier)
    long_slots = model.long_slots(tier)
    if rule is None or long_slots is None or longest <= rule.above or slots == 1:
        return [LanePlan(model, table, slots, requests)]
    (short, long), (short_table, long_table) = split(slots, long_slots), split(table, long_slots)
    return [
        LanePlan(model, short_table, short, requests, up_to=rule.above),
        LanePlan(model, long_table, long, requests, above=rule.above),
    ]


def split(slots: int, long_slots: int) -> tuple[int, int]:
    """A model's slots for its two lanes, the long prompts' last: each has one at least."""
    apart = max(1, min(long_slots, slots - 1))
    return max(1, slots - apart), apart
