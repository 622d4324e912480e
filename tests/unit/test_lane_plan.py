"""Which lanes a run has, and how a model's lanes share its slots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchkit.lane_plan import ENDLESS, go_on_to, models_of, plan_lanes
from batchkit.options import Options
from batchkit.plan import ModelShare, Plan
from batchkit.spec import Spec, load_spec

FLASH, UNDATED, AIR, PLUS = "glm-4-flash-250414", "glm-4-flash", "glm-4-air-250414", "glm-4-plus"
JOB = f"""
input = "a.jsonl"
[models."{UNDATED}"]
concurrency = 30
"""


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(text: str = "", **options: Any) -> Spec:
        path = tmp_path / "job.toml"
        path.write_text(JOB + text, "utf-8")
        return load_spec(path, Options(**options))

    return load


def plan(**longest: int) -> Plan:
    """A plan of ten rows a model; models by name, with the tokens of their longest prompt."""
    names = [name.replace("_", "-") for name in longest]
    shares = [ModelShare(10, 100, 10, most) for most in longest.values()]
    return Plan(10 * len(names), 0, names, shares, {}, {}, None, 10, "arrow", "")


def lanes(spec: Spec, plan: Plan) -> list[tuple[str, int, int]]:
    return [(lane.name, lane.slots, lane.requests) for lane in plan_lanes(spec, plan)]


def test_a_models_long_prompts_have_a_lane_of_their_own(load: Any) -> None:
    assert lanes(load(), plan(glm_4_flash_250414=9000)) == [
        (FLASH, 198, 10),
        (f"{FLASH} (long)", 2, 10),
    ]
    short, long = plan_lanes(load(), plan(glm_4_flash_250414=9000))
    assert [(short.takes(n), long.takes(n)) for n in (1, 8192, 8193)] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def test_without_long_prompts_there_is_one_lane_with_every_slot(load: Any) -> None:
    (lane,) = plan_lanes(load(), plan(glm_4_flash_250414=8192))
    assert (lane.name, lane.slots) == (FLASH, 200)
    assert lane.takes(10**6)


def test_other_models_and_a_rule_that_is_off_have_one_lane(load: Any) -> None:
    assert lanes(load(), plan(glm_4_plus=100_000)) == [(PLUS, 50, 10)]
    off = load(f'[models."{FLASH}"]\nlong_prompt = false\n')
    assert lanes(off, plan(glm_4_flash_250414=9000)) == [(FLASH, 200, 10)]


@pytest.mark.parametrize(("ceiling", "slots"), [(1, [1]), (2, [1, 1]), (50, [48, 2])])
def test_together_a_models_lanes_stay_within_its_ceiling(
    load: Any, ceiling: int, slots: list[int]
) -> None:
    spec = load(concurrency=ceiling)
    assert [lane.slots for lane in plan_lanes(spec, plan(glm_4_flash_250414=9000))] == slots


def test_a_dated_and_an_undated_name_are_two_lanes(load: Any) -> None:
    """The console lists them apart, so each has an allowance of its own."""
    assert lanes(load(), plan(glm_4_flash_250414=10, glm_4_flash=10)) == [
        (FLASH, 200, 10),
        (UNDATED, 30, 10),
    ]


def test_a_model_that_rows_go_on_to_has_a_lane_without_rows_of_its_own(load: Any) -> None:
    spec = load(f'[limits]\n[models."{AIR}"]\n', fallback=[AIR, FLASH])
    assert lanes(spec, plan(glm_4_plus=9000, glm_4_flash_250414=10)) == [
        (PLUS, 50, 10),
        (FLASH, 198, 20),
        (f"{FLASH} (long)", 2, 20),
        (AIR, 30, 20),
    ]


def test_a_plan_whose_rows_are_all_invalid_has_the_lanes_of_its_fallback_alone(load: Any) -> None:
    spec = load(fallback=[FLASH])
    assert lanes(spec, Plan(1, 1, [], [], {}, {}, None, 10, "arrow", "")) == [(FLASH, 200, 0)]


def test_rows_go_on_to_the_models_behind_theirs() -> None:
    assert go_on_to(("a", "b", "c"), "x") == ("a", "b", "c")
    assert go_on_to(("a", "b", "c"), "a") == ("b", "c")
    assert go_on_to(("a", "b", "c"), "c") == ()


def test_no_chain_of_models_leads_back() -> None:
    seen, model = ["x"], "x"
    while after := go_on_to(("a", "b", "c"), model):
        model = after[0]
        seen.append(model)
    assert seen == ["x", "a", "b", "c"]


def test_a_plan_without_the_longest_prompt_has_one_lane(load: Any) -> None:
    encoded = msgspec.to_builtins(plan(glm_4_flash_250414=9000))
    del encoded["shares"][0]["longest"]
    (lane,) = plan_lanes(load(), msgspec.convert(encoded, Plan))
    assert lane.takes(9000)


def test_a_plan_that_grows_has_the_lanes_of_any_rows(load: Any) -> None:
    growing = plan(glm_4_flash_250414=5)
    growing.is_whole = False
    spec = load(model=AIR, fallback=[PLUS])
    assert models_of(spec, growing) == [FLASH, AIR, PLUS]
    assert lanes(spec, growing) == [
        (FLASH, 198, ENDLESS),
        (f"{FLASH} (long)", 2, ENDLESS),
        (AIR, 30, ENDLESS),
        (PLUS, 50, ENDLESS),
    ]
    assert models_of(spec, plan(glm_4_flash_250414=5)) == [FLASH, PLUS]
