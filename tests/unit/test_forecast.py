"""A forecast's time is that of the lanes that the run will have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchkit.document import Document, requests_of
from batchkit.estimate import Interval, makespan
from batchkit.forecast import CountingBuilder, Forecast, Knowledge, forecast
from batchkit.history import History
from batchkit.lane_plan import LanePlan, plan_lanes
from batchkit.models import Tier
from batchkit.options import Options
from batchkit.plan import ModelShare, Plan, mean_tokens
from batchkit.records import Request
from batchkit.sources import Raw
from batchkit.spec import Spec, load_spec

FLASH, PLUS = "glm-4-flash-250414", "glm-4-plus"
SHORT, LONG = 100, 9000  # prompt tokens, below and above what flash limits apart
NOTHING = Interval(0.0, 0.0, 0.0)


class Scripted:
    """Rows ask what they are scripted to: a model, and the prompt tokens of each request."""

    rows_before = 0

    def __init__(self, rows: list[tuple[str, list[int]]]) -> None:
        self._rows = rows

    def build(self, raw: Raw) -> Request | Document:
        model, prompts = self._rows[raw.row]
        chunks = [Request(raw.row, str(raw.row), model, [], {}, tokens) for tokens in prompts]
        return chunks[0] if len(chunks) == 1 else Document(chunks, lambda results: results[0], "")

    def identify(self, raw: Raw) -> str:
        return str(raw.row)


def spec_of(folder: Path, **options: Any) -> Spec:
    path = folder / "job.toml"
    path.write_text('input = "a.jsonl"\n', "utf-8")
    return load_spec(path, Options(**options))


def counted_by(spec: Spec, rows: list[tuple[str, list[int]]]) -> CountingBuilder:
    builder = CountingBuilder(Scripted(rows), spec.table)
    for row in range(len(rows)):
        builder.build(Raw(row, row + 1, 0, {}))
    return builder


def forecast_of(spec: Spec, rows: list[tuple[str, list[int]]], **given: Any) -> Forecast:
    knowledge = Knowledge(spec, History(spec.out), now=0.0)
    return forecast(spec, counted_by(spec, rows), knowledge, **given)


def longest(intervals: list[Interval]) -> Interval:
    return max(intervals, key=lambda one: one.p50, default=NOTHING)


def test_long_prompts_take_the_time_of_their_own_lane(tmp_path: Path) -> None:
    found = forecast_of(spec_of(tmp_path), [(FLASH, [SHORT])] * 900 + [(FLASH, [LONG])] * 100)
    (asked,) = found.asked
    assert found.seconds == makespan(100, 2, asked.latency_s)


def test_every_level_divides_its_slots_as_a_run_at_it_would(tmp_path: Path) -> None:
    found = forecast_of(spec_of(tmp_path), [(PLUS, [LONG])] * 100)
    seconds = {one.estimate.model: one.seconds for one in found.options}
    latency_s = {one.estimate.model: one.estimate.latency_s for one in found.options}
    assert seconds[FLASH] == {
        tier: makespan(100, slots, latency_s[FLASH])
        for tier, slots in zip(Tier, (2, 10, 20, 30), strict=True)
    }
    assert seconds[PLUS][Tier.V0] == found.seconds == makespan(100, 50, latency_s[PLUS])


def test_each_lane_has_the_slots_that_were_learned_of_it(tmp_path: Path) -> None:
    rows = [(FLASH, [SHORT])] * 990 + [(FLASH, [LONG])] * 10
    seen: list[str] = []

    def slots(lane: LanePlan) -> int:
        seen.append(lane.name)
        return 3 if lane.above is None else 1

    found = forecast_of(spec_of(tmp_path), rows, slots=slots)
    assert seen == [FLASH, f"{FLASH} (long)"]
    assert found.seconds == makespan(990, 3, found.asked[0].latency_s)


def test_the_users_own_count_of_tokens_decides_no_lane(tmp_path: Path) -> None:
    """A run chooses lanes by its estimate, which is all that it has."""
    spec = spec_of(tmp_path)
    builder = CountingBuilder(Scripted([(FLASH, [LONG])]), spec.table, count=lambda _request: 10)
    builder.build(Raw(0, 1, 0, {}))
    load = builder.asked[FLASH]
    assert (load.counted, load.requests, load.long_requests, load.longest) == (10, 1, 1, LONG)


_prompts = st.lists(st.sampled_from([SHORT, 8192, 8193, LONG]), min_size=1, max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.sampled_from([FLASH, PLUS]), _prompts), max_size=40),
    concurrency=st.sampled_from([None, 1, 2, 40]),
    fallback=st.sampled_from([[], [FLASH]]),
)
@pytest.mark.parametrize("tier", [Tier.V0, Tier.V2])
def test_the_time_is_that_of_the_lanes_a_run_would_have(
    tmp_path: Path,
    tier: Tier,
    rows: list[tuple[str, list[int]]],
    concurrency: int | None,
    fallback: list[str],
) -> None:
    """Its plan tells the lanes, and each lane what it takes."""
    spec = spec_of(tmp_path, tier=tier, concurrency=concurrency, fallback=fallback)
    shares: dict[str, ModelShare] = {}
    asked = [Scripted(rows).build(Raw(row, row + 1, 0, {})) for row in range(len(rows))]
    means = [mean_tokens(one.prompt_tokens, requests_of(one)) for one in asked]
    for one, mean in zip(asked, means, strict=True):
        share = shares.setdefault(one.model, ModelShare())
        share.rows += 1
        share.requests += requests_of(one)
        share.longest = max(share.longest, mean)
    plan = Plan(len(rows), 0, list(shares), list(shares.values()), {}, {}, None, 10, "arrow", "")
    found = forecast_of(spec, rows)
    latency_s = {one.model: one.latency_s for one in found.asked}
    assert found.seconds == longest(
        [
            makespan(
                sum(
                    requests_of(one)
                    for one, mean in zip(asked, means, strict=True)
                    if one.model == lane.model.name and lane.takes(mean)
                ),
                lane.slots,
                latency_s[lane.model.name],
            )
            for lane in (plan_lanes(spec, plan) if rows else [])
            if lane.model.name in latency_s
        ]
    )
