"""A job's rows counted, what is known of such rows, and the estimate that follows from both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from batchkit.accounting import Rates
from batchkit.document import Document, first_of, requests_of
from batchkit.endpoints import address_of
from batchkit.estimate import Estimate, Interval, Known, Load, Source, Sums, estimate, makespan
from batchkit.history import History, Measured
from batchkit.lane_plan import LanePlan, lanes_of_job, lanes_of_model
from batchkit.models import Model, Tier
from batchkit.plan import mean_tokens
from batchkit.prepare import Builder
from batchkit.purse import prompt_bound
from batchkit.records import Request
from batchkit.sources import Raw
from batchkit.spec import Spec

_AS_LONG_AS_CAN_BE = 1 << 62  # tokens; a context is less


class Option(msgspec.Struct, frozen=True):
    """All rows on one model."""

    estimate: Estimate
    seconds: dict[Tier, Interval]  # at the limits of the account's levels


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a job comes to: as it asks, and as it would on each model."""

    rows: int
    copies: int  # rows beside them that get the answer of an equal one
    input: str
    tier: Tier
    asked: list[Estimate]  # a model each, for the rows that ask it
    seconds: Interval  # at the limits in force; lanes go on side by side
    options: list[Option]


class _Prompt(NamedTuple):
    counted: int  # tokens
    most: int  # tokens


class CountingBuilder:
    """Builds rows as another builder does, and counts what they ask, and would of other models."""

    def __init__(
        self,
        builder: Builder,
        models: Mapping[str, Model],
        count: Callable[[Request], int] | None = None,
    ) -> None:
        """`count` tells the prompt tokens of a request; None for what the request says."""
        self._builder = builder
        self.rows_before = builder.rows_before
        self._models = [(model, Rates.of(model.price)) for model in models.values()]
        self._count = count
        self.asked: dict[str, Load] = {}
        self.copies = 0  # rows that are not asked, for whoever leaves them out
        self.options = {name: Load() for name in models}

    def build(self, raw: Raw) -> Request | Document:
        """The request of a row, or its several requests; raises `RowError`."""
        asked = self._builder.build(raw)
        prompts = self._prompts(asked)
        most = first_of(asked).params.get("max_tokens")
        mean = mean_tokens(asked.prompt_tokens, requests_of(asked))  # what a lane is chosen by
        for model, rates in self._models:
            loads = [self.options[model.name]]
            if model.name == asked.model:
                loads.append(self.asked.setdefault(model.name, Load()))
            limit = model.max_output or model.context
            room = min(most, limit) if isinstance(most, int) else limit
            for load in loads:
                load.rows += 1
                load.requests += len(prompts)
                load.longest = max(load.longest, mean)
                if model.long_prompt is not None and mean > model.long_prompt.above:
                    load.long_requests += len(prompts)
                load.counted += sum(prompt.counted for prompt in prompts)
                load.room += room * len(prompts)
                load.bound += sum(rates.bound(min(p.most, model.context), room) for p in prompts)
                longest = max(prompt.counted for prompt in prompts)
                load.unfit += longest + min(room, most or 1) > model.context
        return asked

    def _prompts(self, asked: Request | Document) -> list[_Prompt]:
        """The prompts of a row's requests; of the one that joins answers what can be known."""
        chunks = [asked] if isinstance(asked, Request) else asked.chunks
        prompts = [
            _Prompt(
                chunk.prompt_tokens if self._count is None else self._count(chunk),
                prompt_bound(chunk),
            )
            for chunk in chunks
        ]
        if isinstance(asked, Document) and asked.last_tokens is not None:
            prompts.append(_Prompt(asked.last_tokens, _AS_LONG_AS_CAN_BE))
        return prompts

    def identify(self, raw: Raw) -> str:
        return self._builder.identify(raw)


class Knowledge:
    """What is known of a job's rows: a sample of them, else what earlier runs measured."""

    def __init__(self, spec: Spec, history: History, *, now: float) -> None:
        self._spec = spec
        self._history = history
        self._now = now
        self.sample: dict[str, Sums] = {}

    def of(self, name: str) -> Known:
        """What is known of rows on a model."""
        sums = self.sample.get(name)
        if sums is not None and sums.rows:
            return Known(Source.SAMPLE, sums)
        earlier = self.earlier(name)
        return Known() if earlier is None else Known(Source.EARLIER, earlier.sums)

    def of_other(self, name: str, asked: Collection[str]) -> Known:
        """What is known for a model that the job does not ask: its own, else tokens of the asked.

        How fast one model is says nothing about another.
        """
        found = self.of(name)
        if found.sums is not None or name in asked:
            return found
        for other in map(self.of, asked):
            if other.sums is not None:
                return Known(other.source, msgspec.structs.replace(other.sums, timed_rows=0))
        return found

    def earlier(self, name: str) -> Measured | None:
        """What the last measured run of this job came to on a model."""
        spec = self._spec
        address = place_of(spec, name)
        return self._history.find(spec.sha256(), address, name, now=self._now)


def place_of(spec: Spec, name: str) -> str:
    """What measurements of a model are kept under: its address, or the word for a local one."""
    return (
        spec.endpoint if spec.endpoint in {"sim", "local"} else address_of(spec, spec.table[name])
    )


def forecast(
    spec: Spec,
    counted: CountingBuilder,
    knowledge: Knowledge,
    slots: Callable[[LanePlan], int] = lambda lane: lane.slots,
) -> Forecast:
    """The forecast of rows that were counted; `slots` is what may be in flight in a lane."""
    asked = {
        name: estimate(spec.table[name], load, knowledge.of(name))
        for name, load in counted.asked.items()
    }
    return Forecast(
        rows=sum(load.rows for load in counted.asked.values()),
        copies=counted.copies,
        input=str(spec.input),
        tier=spec.tier,
        asked=list(asked.values()),
        seconds=_longest(
            _seconds(lane, counted.asked[name], asked[name].latency_s, slots(lane))
            for lane in lanes_of_job(spec, counted.asked)
            if (name := lane.model.name) in asked
        ),
        options=[
            _option(spec, name, load, knowledge.of_other(name, counted.asked))
            for name, load in counted.options.items()
        ],
    )


def _option(spec: Spec, name: str, load: Load, known: Known) -> Option:
    model = spec.table[name]
    found = estimate(model, load, known)
    return Option(
        found,
        {
            tier: _longest(
                _seconds(lane, load, found.latency_s, lane.slots)
                for lane in lanes_of_model(
                    model,
                    tier=tier,
                    slots=spec.slots(name, tier),
                    requests=load.requests,
                    longest=load.longest,
                )
            )
            for tier in Tier
            if model.has_slots(tier)
        },
    )


def _seconds(lane: LanePlan, load: Load, latency_s: Interval, slots: int) -> Interval:
    """How long a lane takes for its part of a model's load."""
    requests = load.requests
    if lane.above is not None:
        requests = load.long_requests
    elif lane.up_to is not None:
        requests -= load.long_requests
    return makespan(requests, slots, latency_s)


def _longest(intervals: Iterable[Interval]) -> Interval:
    found = list(intervals)
    return Interval(
        max((one.p10 for one in found), default=0.0),
        max((one.p50 for one in found), default=0.0),
        max((one.p90 for one in found), default=0.0),
    )
