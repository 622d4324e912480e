"""What a run is expected to come to: asked about before it starts, watched, checked at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from batchkit.accounting import PICO, Rates
from batchkit.estimate import Interval, Load, Source, estimate
from batchkit.forecast import Knowledge, place_of
from batchkit.history import History, Measured
from batchkit.journal import Journal
from batchkit.measuring import measure_run
from batchkit.parts import Layout
from batchkit.plan import Plan
from batchkit.spec import Spec
from batchkit.tally import Tally

_LEAST_ROWS, _LEAST_SHARE = 50, 0.01  # of a model's rows, before anything is said of a drift
_OUTSIDE = 1.25  # times the interval's ends
_FURTHER = 1.5  # times what was said last


class Expectation:
    """The estimate of one run, from its plan and what earlier runs of the job measured."""

    def __init__(self, spec: Spec, plan: Plan, history: History, *, now: float) -> None:
        knowledge = Knowledge(spec, history, now=now)
        self.estimates = [
            estimate(spec.table[name], _load(spec, plan, name), knowledge.of(name))
            for name in plan.models
            if name in spec.table
        ]
        self._spec = spec
        self._plan = plan
        self._history = history
        self._measured = [one for one in self.estimates if one.source is not Source.ASSUMED]
        self._said: dict[str, float] = {}

    def too_dear(self, amount: float, share_left: float) -> str | None:
        """Words, if what is left is likely to cost more than `amount`: by the 90th percentile."""
        most = share_left * sum(one.cost.p90 for one in self.estimates)
        if most <= amount:
            return None
        likely = share_left * sum(one.cost.p50 for one in self.estimates)
        sources = " and ".join(sorted({one.source for one in self.estimates}))
        currency = self.estimates[0].currency
        return (
            f"the rest is estimated at {likely:,.4g} {currency}, up to {most:,.4g} "
            f"(90th percentile; {sources}), more than {amount:,.4g}"
        )

    def rest(self, tally: Tally, left: int) -> tuple[float, str]:
        """What `left` rows would cost as the others did, or by the estimate; and the currency."""
        total = tally.total()
        if total.settled:
            return total.cost / PICO / total.settled * left, total.currency
        share = left / max(1, self._plan.rows)
        currency = self.estimates[0].currency if self.estimates else total.currency
        return share * sum(one.cost.p50 for one in self.estimates), currency

    def latencies(self) -> dict[str, float]:
        """Seconds that an answer of a model is likely to take, where that was measured before."""
        return {one.model: one.latency_s.p50 for one in self._measured}

    def look(self, tally: Tally) -> str | None:
        """Words about a model whose rows cost, or are answered, other than was estimated."""
        for one in self._measured:
            model = tally.models.get(one.model)
            asked = 0 if model is None else model.settled - model.deduplicated
            if model is None or asked < max(_LEAST_ROWS, _LEAST_SHARE * one.rows):
                continue
            is_free = one.cost.p50 == 0
            spent = model.usage.completion if is_free else model.cost / PICO
            expected = one.completion_tokens if is_free else one.cost
            projected = spent / asked * one.rows
            if self._is_news(one.model, projected, expected):
                what = "completion tokens" if is_free else one.currency
                return (
                    f"{one.model}: rows come to {projected / expected.p50:.2g} times the estimate: "
                    f"at this rate {projected:,.4g} {what} in all, not {expected.p50:,.4g}"
                )
        return None

    def _is_news(self, model: str, projected: float, expected: Interval) -> bool:
        if not expected.p50 or (expected.p10 / _OUTSIDE <= projected <= expected.p90 * _OUTSIDE):
            return False
        factor = projected / expected.p50
        said = self._said.get(model, 1.0)
        if 1 / _FURTHER < factor / said < _FURTHER:
            return False
        self._said[model] = factor
        return True

    def keep(self, journal: Journal, layout: Layout, tally: Tally) -> Iterator[dict[str, Any]]:
        """Keep what the finished run measured, for the next plan; yields how good this one was."""
        expected = {one.model: one.cost.p50 for one in self.estimates}
        for name, sums in measure_run(journal, layout, self._plan).items():
            cost = tally.models[name].cost / PICO
            self._history.keep(
                Measured(
                    job=self._spec.sha256(),
                    endpoint=place_of(self._spec, name),
                    model=name,
                    at=time.time(),
                    rows=self._plan.rows,
                    sums=sums,
                    expected_cost=expected.get(name),
                    cost=cost,
                    wall_s=tally.wall_s,
                )
            )
            yield {"model": name, "cost": cost, "expected_cost": expected.get(name)}


def _load(spec: Spec, plan: Plan, name: str) -> Load:
    """What a model's rows ask, by the plan alone: rows that give `max_tokens` count as the rest."""
    model, share = spec.table[name], plan.share(name)
    asked = spec.params.get("max_tokens")
    limit = model.max_output or model.context
    room = share.requests * (min(asked, limit) if isinstance(asked, int) else limit)
    bound = Rates.of(model.price).bound(0, room)
    return Load(
        rows=share.rows - share.copies,
        requests=share.requests,
        counted=share.prompt_tokens,
        room=room,
        bound=bound,
    )
