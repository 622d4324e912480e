"""Putting a lane together: one model's feeder, feed, gate, pool and provider."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random

import msgspec

from batchkit.accounting import Rates, from_decimal
from batchkit.adaptive import AdaptiveLimit
from batchkit.clock import SystemClock
from batchkit.descriptors import RESERVED, raise_descriptor_limit
from batchkit.endpoints import Endpoint
from batchkit.errors import UsageError
from batchkit.feed import Feed
from batchkit.feeder import Feeder
from batchkit.inputs import Input
from batchkit.journal import Journal
from batchkit.learned import LearnedLimits, key_fingerprint
from batchkit.limits import START_S, Gate
from batchkit.models import Model
from batchkit.opening import OpenRun
from batchkit.pool import Fed, Pool
from batchkit.providers.provider import Provider
from batchkit.providers.transport import Transport
from batchkit.purse import Purse, largest_bound
from batchkit.quota import Quota
from batchkit.recorder import Recorder
from batchkit.reins import Reins
from batchkit.requests import digest
from batchkit.retry import RetryPolicy
from batchkit.scheduler import Lane
from batchkit.shares import Account
from batchkit.spec import Spec
from batchkit.stopping import Stopper

_BATCH_LEAST, _BATCH_MOST = 16, 1024  # requests that a feeder reads at once


def slots_that_fit(spec: Spec, models: Iterable[str], say: Callable[[str], None]) -> dict[str, int]:
    """Requests in flight per model: the table's number, as far as connections can be opened."""
    slots = {name: spec.slots(name) for name in models}
    wanted = sum(slots.values())
    fit = raise_descriptor_limit(wanted)
    if fit < wanted:
        say(_unfit(fit, wanted))
        slots = {name: max(1, slot * fit // wanted) for name, slot in slots.items()}
    return slots


def refusal_of(slots: Mapping[str, int]) -> str | None:
    """Why not so many requests can be in flight; None if they can."""
    wanted = sum(slots.values())
    fit = raise_descriptor_limit(wanted)
    return None if fit >= wanted else _unfit(fit, wanted)


def _unfit(fit: int, wanted: int) -> str:
    return (
        f"only {fit:,} of {wanted:,} connections fit the limit on open files; "
        f"raise it (ulimit -n {wanted + RESERVED}) or give --concurrency {fit}"
    )


def open_purse(spec: Spec, opened: OpenRun) -> Purse | None:
    """The budget, less what was spent or may have been; raises `UsageError` for two currencies."""
    if spec.budget is None:
        return None
    currencies = {spec.table[name].price.currency for name in opened.plan.models}
    if len(currencies) > 1:
        raise UsageError(
            f"--budget: the models cost {' and '.join(sorted(currencies))}; "
            "a budget has one currency"
        )
    models = [*opened.tally.models.values(), *opened.tally.retired.values()]
    spent = sum(m.cost + m.unknown_bound + m.killed_bound for m in models)
    return Purse(from_decimal(spec.budget), spent)


class Shared(msgspec.Struct, frozen=True):
    """What the lanes of a run have in common."""

    given: Input
    opened: OpenRun
    recorder: Recorder
    stopper: Stopper
    transport: Transport
    clock: SystemClock
    purse: Purse | None
    rng: Random
    reader: Callable[[], Journal]
    only: frozenset[int] | None = None  # the rows to ask, if not all


def build_lane(name: str, slots: int, endpoint: Endpoint, shared: Shared) -> Lane:
    """The lane of the model `name`, with `slots` requests in flight at most."""
    spec, opened = shared.given.spec, shared.opened
    model = spec.table[name]
    batch = min(_BATCH_MOST, max(_BATCH_LEAST, slots // 2))  # answers come in bursts
    feed: Feed[Fed] = Feed(batch)
    stopper = shared.stopper.child()
    recipe = shared.given.recipe
    pool = Pool(
        model,
        provider=Provider(
            shared.transport,
            endpoint=endpoint.url,
            dialect=endpoint.dialect,
            api_key=endpoint.key,
            schema=recipe.schema,
            wall=shared.clock.wall,
        ),
        gate=Gate(
            AdaptiveLimit(slots),
            clock=shared.clock.now,
            start_s=START_S,
            rng=shared.rng,
        ),
        feed=feed,
        recorder=shared.recorder,
        stopper=stopper,
        run_stopper=shared.stopper,
        policy=RetryPolicy(max_attempts=spec.max_attempts),
        timeout_s=spec.timeout_s,
        read=recipe.check.read if recipe.check is not None else None,
        purse=shared.purse,
        quota=_quota(model),
        key_env=endpoint.key_env,
        most_backing_off=max(16, slots),
        clock=shared.clock,
        rng=shared.rng,
    )
    return Lane(pool, feed, _feeder(name, batch, shared), stopper, _workers(name, slots, opened))


def _feeder(name: str, batch: int, shared: Shared) -> Feeder:
    opened = shared.opened
    model = shared.given.spec.table[name]
    rates = Rates.of(model.price)
    store = shared.reader()
    return Feeder(
        plan=opened.plan,
        model=name,
        store=store,
        cursor=shared.given.cursor(store),
        builder=shared.given.rendering(opened.plan),
        digest=digest,
        settled=opened.settled,
        prior=opened.prior,
        batch_requests=batch,
        bound=lambda asked: largest_bound(asked, model, rates),
        only=shared.only,
    )


def take_reins(
    lane: Lane, endpoint: Endpoint, shared: Shared, learned: LearnedLimits | None
) -> Reins:
    """Who sets the slots of `lane`; with `learned` it starts where an earlier run ended."""
    spec, name, limit = shared.given.spec, lane.pool.model.name, lane.pool.gate.limit
    assert isinstance(limit, AdaptiveLimit)
    key = key_fingerprint(endpoint.key)
    now = shared.clock.wall()
    return Reins(
        lane,
        limit,
        Account(endpoint.url, key, name),
        table=spec.table[name].slots(spec.tier),
        rows=shared.opened.plan.share(name).rows,
        start=None if learned is None else learned.start(endpoint.url, key, name, now=now),
        patience_s=spec.drain_s,
    )


def _quota(model: Model) -> Quota | None:
    if model.requests_per_minute is None and model.tokens_per_minute is None:
        return None
    return Quota(model.requests_per_minute, model.tokens_per_minute)


def _workers(name: str, slots: int, opened: OpenRun) -> int:
    return min(slots, opened.plan.share(name).requests)
