"""Putting the lanes together: each with its feeder, feed, gate, pool and provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

import msgspec

from batchkit.accounting import Rates
from batchkit.adaptive import AdaptiveLimit
from batchkit.attempts import Attempts
from batchkit.clock import SystemClock
from batchkit.copies import Copies
from batchkit.document import Document
from batchkit.endpoints import Endpoint
from batchkit.feed import Feed
from batchkit.feeder import Feeder
from batchkit.gate import Gate
from batchkit.growth import Growth
from batchkit.hedge import Hedging
from batchkit.inputs import Input
from batchkit.journal import Journal
from batchkit.lane_plan import ENDLESS, LanePlan, go_on_to
from batchkit.learned import LearnedLimits, key_fingerprint
from batchkit.life import Fed
from batchkit.models import Model
from batchkit.onward import Onward, Step
from batchkit.opening import OpenRun
from batchkit.originals import Originals
from batchkit.planned_rows import PlannedRows
from batchkit.pool import Pool
from batchkit.prefix_order import PrefixOrder
from batchkit.purse import Purse, largest_bound
from batchkit.quota import Quota
from batchkit.recorder import Recorder
from batchkit.records import Request
from batchkit.reins import Reins
from batchkit.requests import digest, fits
from batchkit.retry import RetryPolicy
from batchkit.room import START_S
from batchkit.scheduler import Lane
from batchkit.sending import Sending, Share
from batchkit.shares import Account
from batchkit.stopping import Stopper

_BATCH_LEAST, _BATCH_MOST = 16, 1024  # requests that a feeder reads at once
_LAST_ROUNDS = 4  # times the slots: requests at the end that come longest first …
_LEAD_ROUNDS = 2  # times the slots: requests until the first of a group was surely answered
_ORDERED_MOST = 4096  # … and no more, since they are in memory together


class Shared(msgspec.Struct, frozen=True):
    """What the lanes of a run have in common."""

    given: Input
    opened: OpenRun
    growth: Growth
    recorder: Recorder
    originals: Originals
    stopper: Stopper
    sending: Sending
    clock: SystemClock
    purse: Purse | None
    rng: Random
    reader: Callable[[], Journal]
    only: frozenset[int] | None = None  # the rows to ask, if not all


def share_of(plan: LanePlan, opened: OpenRun, latency_s: float | None) -> Share:
    """What a lane can send; `latency_s` is what an answer is expected to take, if anything is."""
    past = opened.tally.models.get(plan.model.name)
    if past is not None and past.answered:
        latency_s = past.latency_s / past.answered
    return Share(plan.slots, latency_s=latency_s, per_minute=plan.model.requests_per_minute)


def requests_left(opened: OpenRun) -> float:
    """Requests of the rows that have not settled, about; of a growing plan as many as can be."""
    if not opened.plan.is_whole:
        return ENDLESS
    share_left = 1 - opened.settled.count / opened.plan.rows
    return share_left * sum(share.requests for share in opened.plan.shares)


class _Entrance(msgspec.Struct, frozen=True):
    """Where rows come into a lane that is being built."""

    plan: LanePlan
    feed: Feed[Fed]
    stopper: Stopper
    batch_requests: int


def build_lanes(
    plans: list[LanePlan], endpoints: Mapping[str, Endpoint], shared: Shared
) -> list[Lane]:
    """The lanes as planned, each with those that its rows may go on to; endpoints are by model."""
    fallback = shared.given.spec.fallback
    after = {
        plan.name: [
            other.name
            for model in go_on_to(fallback, plan.model.name)
            for other in plans
            if other.model.name == model
        ]
        for plan in plans
    }
    givers = Counter(name for names in after.values() for name in names)
    entrances = {plan.name: _entrance(plan, givers[plan.name], shared) for plan in plans}
    return [
        _build(
            entrances[plan.name],
            [entrances[name] for name in after[plan.name]],
            endpoints=endpoints,
            shared=shared,
        )
        for plan in plans
    ]


def _entrance(plan: LanePlan, givers: int, shared: Shared) -> _Entrance:
    # Answers come in bursts, and each batch costs a thread's turn and a commit.
    batch = min(_BATCH_MOST, max(_BATCH_LEAST, plan.slots))
    feed: Feed[Fed] = Feed(batch, givers=givers)
    return _Entrance(plan, feed, shared.stopper.child(), batch)


def _build(
    entrance: _Entrance,
    after: list[_Entrance],
    *,
    endpoints: Mapping[str, Endpoint],
    shared: Shared,
) -> Lane:
    plan, spec = entrance.plan, shared.given.spec
    endpoint = endpoints[plan.model.name]
    check = shared.given.recipe.check
    attempts = _attempts(plan, endpoint, shared)
    pool = Pool(
        attempts,
        feed=entrance.feed,
        stopper=entrance.stopper,
        run_stopper=shared.stopper,
        policy=RetryPolicy(max_attempts=spec.max_attempts),
        read=check.read if check is not None else None,
        key_env=endpoint.key_env,
        most_backing_off=max(16, plan.slots),
        rng=shared.rng,
        asking=_hedging(attempts, entrance.feed) if spec.hedge else None,
        onward=Onward(plan.model, [_step(one, endpoints) for one in after]),
    )
    if not shared.growth.is_over:
        pool.gate.settle_pending(pending=False)  # until its first row is there
    elif plan.model.name not in shared.opened.plan.models:
        pool.end_of_input()  # it has no rows of its own
    return Lane(
        name=plan.name,
        pool=pool,
        feed=entrance.feed,
        feeder=_feeder(entrance, after, shared),
        stopper=entrance.stopper,
        workers=min(plan.slots, plan.requests),
        gives_to=tuple(one.feed for one in after),
    )


def _step(entrance: _Entrance, endpoints: Mapping[str, Endpoint]) -> Step:
    plan = entrance.plan
    dialect = endpoints[plan.model.name].dialect

    def accepts(request: Request) -> bool:
        return plan.takes(request.prompt_tokens) and fits(request, plan.model, dialect)

    return Step(plan.model, entrance.feed, entrance.stopper, accepts)


def _hedging(attempts: Attempts, feed: Feed[Fed]) -> Hedging:
    return Hedging(attempts, is_last=lambda: feed.is_exhausted)


def _attempts(plan: LanePlan, endpoint: Endpoint, shared: Shared) -> Attempts:
    return Attempts(
        plan.model,
        provider=shared.sending.provider(endpoint, shared.given.recipe.schema),
        gate=Gate(
            AdaptiveLimit(plan.slots),
            clock=shared.clock.now,
            start_s=START_S,
            rng=shared.rng,
        ),
        recorder=shared.recorder,
        run_stopper=shared.stopper,
        timeout_s=shared.given.spec.timeout_s,
        purse=shared.purse,
        quota=_quota(plan.model),
        clock=shared.clock,
    )


def _feeder(entrance: _Entrance, after: list[_Entrance], shared: Shared) -> Feeder:
    opened, plan = shared.opened, entrance.plan
    is_cached = Rates.of(plan.model.price).has_cheaper_cache
    knows_longest = shared.given.source.can_jump and opened.plan.is_whole
    store = shared.reader()
    return Feeder(
        rows=_planned_rows(store, shared),
        model=plan.model.name,
        store=store,
        prior=opened.prior,
        batch_requests=entrance.batch_requests,
        first_requests=min(_ORDERED_MOST, plan.slots) if knows_longest else 0,
        last_requests=min(_ORDERED_MOST, _LAST_ROUNDS * plan.slots),
        takes=plan.takes,
        bounds={one.plan.name: _bound_of(one.plan.model) for one in (entrance, *after)},
        near=PrefixOrder(_LEAD_ROUNDS * plan.slots) if is_cached else None,
        expect=shared.originals.expect,
        only=shared.only,
    )


def open_copies(shared: Shared) -> Copies | None:
    """The copies of the run; None if there are none, or only some rows are asked."""
    if not shared.opened.plan.copies or shared.only is not None:
        return None
    store = shared.reader()
    return Copies(_planned_rows(store, shared), store, shared.clock.wall)


def _planned_rows(store: Journal, shared: Shared) -> PlannedRows:
    plan = shared.opened.plan
    return PlannedRows(
        plan,
        store=store,
        cursor=partial(shared.given.cursor, store),
        builder=shared.given.rendering(plan),
        digest=digest,
        settled=shared.opened.settled,
        is_over=lambda: shared.growth.is_over,
    )


def _bound_of(model: Model) -> Callable[[Request | Document], int]:
    rates = Rates.of(model.price)
    return lambda asked: largest_bound(asked, model, rates)


def take_reins(
    lane: Lane, plan: LanePlan, endpoint: Endpoint, shared: Shared, learned: LearnedLimits | None
) -> Reins:
    """Who sets the slots of `lane`; with `learned` it starts where an earlier run ended."""
    limit = lane.pool.gate.limit
    assert isinstance(limit, AdaptiveLimit)
    key = key_fingerprint(endpoint.key)
    now = shared.clock.wall()
    return Reins(
        lane,
        limit,
        Account(endpoint.url, key, plan.name),
        table=plan.table,
        rows=plan.requests,
        start=None if learned is None else learned.start(endpoint.url, key, plan.name, now=now),
        patience_s=shared.given.spec.drain_s,
    )


def _quota(model: Model) -> Quota | None:
    if model.requests_per_minute is None and model.tokens_per_minute is None:
        return None
    return Quota(model.requests_per_minute, model.tokens_per_minute)
