"""Lanes against the service: long prompts apart, models to go on to, stragglers asked twice."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchkit import pool
from tests.e2e.conftest import Command, Simulate, prompts, summary_of, write_rows

FLASH, AIR, AIRX = "glm-4-flash-250414", "glm-4-air-250414", "glm-4-airx"
DOLLARS = """
[models.usd]
concurrency = 1
price = { input = "1", output = "1", currency = "USD" }
"""
LONG_TEXT = "word " * 6000  # an estimated 9,005 tokens


def attempts_of(folder: Path, row: int) -> list[dict[str, Any]]:
    table = pl.read_ipc(str(folder / "attempts/*.arrow"))
    return table.filter(pl.col("row") == row).to_dicts()


def adds_up(folder: Path) -> None:
    """Results, attempts and summary tell the same sums, in all and per model."""
    summary = summary_of(folder)
    results = pl.read_ipc(str(folder / "results/*.arrow"))
    attempts = pl.read_ipc(str(folder / "attempts/*.arrow"))
    assert results["cost"].sum() == attempts["cost"].sum() == Decimal(summary["cost"])
    assert results["attempts"].sum() == len(attempts) == summary["attempts"]
    for name, model in summary["models"].items():
        own = attempts.filter(pl.col("model") == name)
        assert (len(own), own["cost"].sum() or Decimal(0)) == (
            model["attempts"],
            Decimal(model["cost"]),
        )
        assert len(results.filter(pl.col("model") == name)) == model["ok"] + model["failed"]


def test_long_prompts_are_not_refused_and_hold_up_no_short_one(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(long_prompt_pool=True, latency="0.1")
    rows = prompts(400)
    for row in rows[:120:2]:
        row["prompt"] = LONG_TEXT + row["prompt"]
    write_rows(here / "q.jsonl", rows)
    done = batchkit("run", "q.jsonl", "--endpoint", running.url, "-o", "out", "-q")
    assert done.code == 0, done.err
    stats = running.service.stats.models
    assert (stats[f"{FLASH}+long"].answered, stats[f"{FLASH}+long"].refused) == (60, 0)
    assert (stats[FLASH].answered, stats[FLASH].refused) == (340, 0)
    assert stats[f"{FLASH}+long"].max_in_flight == 2
    finished = pl.read_ipc(str(here / "out/results/*.arrow")).sort("finished_at")
    assert finished["prompt_tokens"].to_list()[-1] > 8192
    summary = summary_of(here / "out")
    assert list(summary["models"]) == [FLASH]
    assert (summary["ok"], summary["models"][FLASH]["attempts"]) == (400, 400)


def test_a_rule_that_is_switched_off_leaves_one_lane(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(latency="0.05")
    rows = prompts(40)
    for row in rows:
        row["prompt"] = LONG_TEXT + row["prompt"]
    write_rows(here / "q.jsonl", rows)
    (here / "off.toml").write_text(f'[models."{FLASH}"]\nlong_prompt = false\n', "utf-8")
    words = ["--endpoint", running.url, "--models", "off.toml", "-q"]
    assert batchkit("run", "q.jsonl", *words).code == 0
    assert running.service.stats.models[FLASH].max_in_flight > 10


def test_a_prompt_beyond_its_models_context_goes_on_to_a_larger_one(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate()
    rows = prompts(30, model=AIRX)
    for row in rows[::10]:
        row["prompt"] = "字" * 11_000
    write_rows(here / "q.jsonl", rows)
    words = ["--endpoint", running.url, "--fallback", f"{FLASH},{AIR}", "-o", "out", "-q"]
    done = batchkit("run", "q.jsonl", *words)
    assert done.code == 0, done.err
    results = pl.read_ipc(str(here / "out/results/*.arrow"))
    assert results["model"].to_list() == [AIRX] * 30
    assert results.filter(pl.col("row") % 10 == 0)["response_model"].to_list() == [FLASH] * 3
    assert [(a["attempt"], a["model"], a["error_code"]) for a in attempts_of(here / "out", 0)] == [
        (1, AIRX, "1261"),
        (2, FLASH, None),
    ]
    assert summary_of(here / "out")["models"][FLASH]["rows"] == 0
    adds_up(here / "out")


def test_an_overloaded_model_gives_its_rows_to_one_elsewhere(
    batchkit: Command, simulate: Simulate, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "OVERLOADED_FOR_S", 0.3)
    busy, other = simulate(faults={"1305": 1.0}), simulate()
    models = f'[models."{AIR}"]\nendpoint = "{other.url}"\n'
    (here / "models.toml").write_text(models, "utf-8")
    write_rows(here / "q.jsonl", prompts(30, model=AIRX))
    words = [
        "--endpoint",
        busy.url,
        "--models",
        "models.toml",
        "--fallback",
        AIR,
        "-o",
        "out",
        "-q",
    ]
    done = batchkit("run", "q.jsonl", *words)
    assert done.code == 0, done.err
    assert other.service.stats.models[AIR].answered == 30
    summary = summary_of(here / "out")
    assert (summary["models"][AIRX]["ok"], summary["models"][AIRX]["cost"]) == (30, "0")
    adds_up(here / "out")


def test_nothing_paid_is_lost_when_a_run_with_other_models_stops_and_goes_on(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(arrears_after=40, latency="0.01")
    rows = prompts(60, model=AIRX)
    for row in rows[::2]:
        row["prompt"] = "字" * 11_000
    write_rows(here / "q.jsonl", rows)
    words = ["run", "q.jsonl", "--endpoint", running.url, "--fallback", AIR, "-o", "out", "-q"]
    assert batchkit(*words).code == 3
    answered = running.service.stats.answered
    assert 0 < answered < 60
    again = simulate()
    words[words.index(running.url)] = again.url
    assert batchkit(*words).code == 0
    assert again.service.stats.answered == 60 - answered
    adds_up(here / "out")


@pytest.mark.parametrize(
    ("extra", "options", "fault"),
    [
        ("[params]\nmax_tokens = 9000\n", [], "params: max_tokens: expected an integer from 1 to"),
        (
            DOLLARS,
            ["--fallback", "usd"],
            f"fallback: usd costs USD, {AIR} CNY; what a row costs has one currency",
        ),
    ],
)
def test_a_model_that_rows_cannot_go_on_to_is_told_before_anything_is_sent(
    batchkit: Command, simulate: Simulate, here: Path, extra: str, options: list[str], fault: str
) -> None:
    running = simulate()
    write_rows(here / "q.jsonl", [{"id": 1, "prompt": "Hello?"}])
    job = f'input = "q.jsonl"\nmodel = "{AIR}"\nfallback = ["glm-4-plus"]\n{extra}'
    (here / "job.toml").write_text(job, "utf-8")
    done = batchkit("run", "job.toml", "--endpoint", running.url, *options)
    assert (done.code, running.service.stats.requests) == (2, 0)
    assert fault in done.err


def test_stragglers_are_asked_a_second_time(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    """Attempts that are never answered hold nothing up, long before their timeout of 300 s."""
    write_rows(here / "q.jsonl", prompts(300))
    running = simulate(latency="0.05", faults={"hang": 0.02}, seed=3)
    words = ["--concurrency", "30", "--endpoint", running.url, "-o", "out", "--json", "--hedge"]
    summary = json.loads(batchkit("run", "q.jsonl", *words).out)
    assert summary["ok"] == 300
    assert running.service.stats.models[FLASH].max_in_flight <= 30
    outrun = summary["errors"]["outrun"][""]
    assert summary["errors"] == {"outrun": {"": outrun}}
    assert outrun == summary["unknown_billing_attempts"] > 0
    adds_up(here / "out")
