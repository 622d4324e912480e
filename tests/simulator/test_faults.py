"""Faults and latencies are drawn, not thrown."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

import pytest

from batchkit.errors import UsageError
from batchkit.simulator.faults import FAULTS, FaultPlan, Latency, Mode, marked
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.provider_errors import PROVIDER_ERRORS, error_answer
from batchkit.simulator.seeds import seeded
from batchkit.verdicts import BY_CODE


def test_every_code_that_batchkit_classifies_can_be_sent() -> None:
    assert set(PROVIDER_ERRORS) == set(BY_CODE)
    assert set(PROVIDER_ERRORS) | set(Mode) == FAULTS
    for code, row in PROVIDER_ERRORS.items():
        for variant in range(len(row.texts)):
            assert "{" not in error_answer(code, variant).message


def test_faults_come_as_often_as_they_are_likely() -> None:
    plan = FaultPlan({"1302": 0.1, "reset": 0.2})
    drawn = Counter(plan.fault(seeded(7, i)) for i in range(10_000))
    assert set(drawn) == {None, "1302", "reset"}
    assert drawn["1302"] == pytest.approx(1000, abs=120)
    assert drawn["reset"] == pytest.approx(2000, abs=160)


def test_certain_and_absent_faults() -> None:
    assert FaultPlan({"500": 1}).fault(seeded(1)) == "500"
    assert FaultPlan({"500": 0}).fault(seeded(1)) is None
    assert FaultPlan({}).fault(seeded(1)) is None


def test_the_same_attempt_draws_the_same_and_the_next_one_anew() -> None:
    plan = FaultPlan({"500": 0.5})
    draws = [[plan.fault(seeded(0, digest, n)) for n in range(8)] for digest in range(50)]
    again = [[plan.fault(seeded(0, digest, n)) for n in range(8)] for digest in range(50)]
    assert draws == again
    assert all(None in attempts for attempts in draws)


def test_a_marker_in_the_text_names_its_fault() -> None:
    marks = {"[[1301]]": "1301", "[[cut]]": "cut"}
    assert marked("please [[cut]] here", marks) == "cut"
    assert marked("please", marks) is None


def test_latency_is_fixed_or_lognormal_around_its_median() -> None:
    assert Latency.parse("0.2").seconds(seeded(1)) == 0.2
    latency = Latency.parse("lognormal:0.8,0.5")
    assert latency == Latency(0.8, 0.5)
    draws = [latency.seconds(seeded(i)) for i in range(4000)]
    assert median(draws) == pytest.approx(0.8, rel=0.05)
    assert latency.seconds(seeded(1)) == latency.seconds(seeded(1))
    assert Latency.parse("lognormal:0,0.5").seconds(seeded(1)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency": "fast"}, "latency: expected seconds or lognormal:MEDIAN,SIGMA, got 'fast'"),
        ({"latency": "-1"}, "latency: expected seconds or lognormal:MEDIAN,SIGMA, got '-1'"),
        ({"latency": "nan"}, "latency: expected seconds or lognormal:MEDIAN,SIGMA, got 'nan'"),
        ({"latency": "1,2"}, "latency: expected seconds or lognormal:MEDIAN,SIGMA, got '1,2'"),
        (
            {"latency": "normal:1,2"},
            "latency: expected seconds or lognormal:MEDIAN,SIGMA, got 'normal:1,2'",
        ),
        ({"faults": {"500": 1.5}}, "faults: 500: expected 0 to 1, got 1.5"),
        ({"faults": {"500": float("nan")}}, "faults: 500: expected 0 to 1, got nan"),
        ({"faults": {"500": 0.6, "cut": 0.6}}, "faults: they add up to 1.2; at most 1 is possible"),
        ({"limits": {"glm-4-plus": -1}}, "limits: glm-4-plus: expected at least 0, got -1"),
        ({"marks": {"": "500"}}, "marks: an empty marker stands in every text; give some text"),
        ({"arrival_code": "500"}, "arrival_code: expected 1302 or 1303, got '500'"),
        ({"seed": -1}, "seed: expected 0 to 2^64 - 1, got -1"),
        ({"answer_chars": 0}, "answer_chars: expected at least 1, got 0"),
        ({"slow_s": float("nan")}, "slow_s: expected at least 0, got nan"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SimulatorOptions(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("options", [{"faults": {"99": 0.1}}, {"marks": {"x": "html503"}}])
def test_an_unknown_fault_is_told_the_known_ones(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"no fault is called '(99|html503)'; give .* html502, "):
        SimulatorOptions(**options)
