"""Planning: what a job will cost is known before it is paid, and how well is known after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command, Simulate, prompts, summary_of, write_rows


def paid(count: int) -> list[dict[str, Any]]:
    """Rows of one model whose prompts differ in length."""
    return [row | {"prompt": "word " * (n % 40 + 1)} for n, row in enumerate(rows_of(count))]


def rows_of(count: int) -> list[dict[str, Any]]:
    return prompts(count, model="glm-4-plus", max_tokens=200)


def test_a_plan_sends_nothing_and_needs_no_key(here: Path, batchkit: Command) -> None:
    write_rows(here / "q.jsonl", paid(50))
    done = batchkit("plan", "q.jsonl")
    assert done.code == 0
    head, *models = done.out.splitlines()[:7]
    assert head.split()[:2] == ["all", "rows"]
    assert [line.split()[0] for line in models[:5]] == [
        "glm-4-plus",
        "glm-4-air-250414",
        "glm-4-airx",
        "glm-4-flashx-250414",
        "glm-4-flash-250414",
    ]
    assert "nothing was measured" in " ".join(done.out.split())
    assert not (here / "runs").exists()


def plan(batchkit: Command, *words: str | Path) -> dict[str, Any]:
    done = batchkit("plan", "q.jsonl", "--json", *words)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_every_model_and_tier_is_priced(here: Path, batchkit: Command) -> None:
    write_rows(here / "q.jsonl", paid(60))
    found = plan(batchkit, "--tier", "V2")
    options = {one["estimate"]["model"]: one for one in found["options"]}
    assert (found["rows"], found["tier"], len(options)) == (60, "V2", 5)
    assert set(options["glm-4-airx"]["seconds"]) == {"V0", "V1", "V2", "V3"}
    seconds = options["glm-4-airx"]["seconds"]
    assert seconds["V0"]["p50"] > seconds["V1"]["p50"] > seconds["V3"]["p50"]
    assert options["glm-4-airx"]["estimate"]["batch_cost"] is None
    assert options["glm-4-flash-250414"]["estimate"]["cost"]["p90"] == 0
    plus, air = (options[name]["estimate"]["cost"] for name in ("glm-4-plus", "glm-4-air-250414"))
    assert plus["p50"] == pytest.approx(10 * air["p50"])
    assert found["asked"] == [options["glm-4-plus"]["estimate"]]


def test_rows_that_may_not_fit_a_model_are_counted(here: Path, batchkit: Command) -> None:
    rows = paid(3)
    rows[1]["prompt"] = "word " * 6000
    write_rows(here / "q.jsonl", rows)
    found = plan(batchkit)
    unfit = {one["estimate"]["model"]: one["estimate"]["unfit_rows"] for one in found["options"]}
    assert (unfit["glm-4-airx"], unfit["glm-4-plus"]) == (1, 0)


def test_a_sample_is_asked_once_and_counts_as_done(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    service = simulate()
    write_rows(here / "q.jsonl", paid(200))
    sampled = plan(batchkit, "--endpoint", service.url, "--sample", "40")
    (one,) = sampled["asked"]
    assert (one["source"], one["measured_rows"]) == ("sample", 40)
    assert service.service.stats.requests == 40
    assert plan(batchkit, "--endpoint", service.url, "--sample", "40") == sampled
    assert service.service.stats.requests == 40
    assert batchkit("run", "q.jsonl", "--endpoint", service.url).code == 0
    assert service.service.stats.requests == 200
    cost = float(summary_of(here / "runs/q")["cost"])
    assert one["cost"]["p10"] * 0.9 < cost < one["cost"]["p90"] * 1.1
    assert plan(batchkit, "--endpoint", service.url, "--sample", "200")["asked"][0]["cost"][
        "p50"
    ] == pytest.approx(cost)


def test_a_finished_run_teaches_the_next_plan_of_its_job(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    service, other = simulate(), simulate()
    write_rows(here / "q.jsonl", paid(100))
    assert batchkit("run", "q.jsonl", "--endpoint", service.url).code == 0
    write_rows(here / "q.jsonl", paid(150))
    found = plan(batchkit, "--endpoint", service.url)["asked"][0]
    assert (found["source"], found["measured_rows"], found["rows"]) == ("earlier runs", 100, 150)
    cost = float(summary_of(here / "runs/q")["cost"])
    assert found["cost"]["p10"] < 1.5 * cost < found["cost"]["p90"]
    assert plan(batchkit, "--endpoint", other.url)["asked"][0]["source"] == "assumed"
    events = [json.loads(line) for line in (here / "runs/q/log.jsonl").read_text().splitlines()]
    (measured,) = [event for event in events if event["event"] == "measured"]
    assert measured["cost"] == pytest.approx(cost)


def test_a_stopped_sample_says_why(here: Path, batchkit: Command, simulate: Simulate) -> None:
    write_rows(here / "q.jsonl", paid(30))
    url = simulate(arrears_after=5).url
    done = batchkit("plan", "q.jsonl", "--endpoint", url, "--sample", "20")
    assert (done.code, done.out) == (3, "")
    assert "429/1113" in done.err


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--sample", "0"], "--sample: expected at least 1, got 0\n"),
        (["--tokenizer", "t.json"], "t.json: is no tokenizer.json: "),
        (["--confirm-above", "lots"], "--confirm-above: expected a decimal amount, got 'lots'\n"),
    ],
)
def test_what_cannot_be_planned_is_said(
    words: list[str], fault: str, here: Path, batchkit: Command
) -> None:
    (here / "t.json").write_text("{}")
    write_rows(here / "q.jsonl", paid(3))
    command = "run" if "--confirm-above" in words else "plan"
    done = batchkit(command, "q.jsonl", *words, "--endpoint", "http://127.0.0.1:9/v4")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(fault)


def test_a_tokenizer_of_the_users_counts_tokens(here: Path, batchkit: Command) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"word": 0, "[UNK]": 1}, unk_token="[UNK]")  # noqa: S106
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(here / "t.json"))
    write_rows(here / "q.jsonl", [{"prompt": "word " * 100, "model": "glm-4-plus"}] * 2)
    found = plan(batchkit, "--tokenizer", here / "t.json")
    assert found["asked"][0]["prompt_tokens"]["p50"] == pytest.approx(0.85 * 2 * 105)


def test_a_script_stops_before_it_spends_more_than_it_was_told(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    service = simulate()
    write_rows(here / "q.jsonl", paid(100))
    words = ["run", "q.jsonl", "--endpoint", service.url, "--confirm-above"]
    done = batchkit(*words, "0.01")
    assert done.code == 2
    assert done.err.startswith("--confirm-above: the rest is estimated at 0.")
    assert "(90th percentile; assumed), more than 0.01; raise it to go on" in done.err
    assert service.service.stats.requests == 0
    assert batchkit(*words, "5").code == 0


def test_a_run_that_leaves_its_estimate_says_so(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    """The job's answers were short once, and are long now."""
    service = simulate()
    write_rows(here / "q.jsonl", [row | {"max_tokens": 4} for row in paid(100)])
    assert batchkit("run", "q.jsonl", "--endpoint", service.url, "-o", "a").code == 0
    write_rows(here / "q.jsonl", [row | {"max_tokens": 400} for row in paid(100)])
    done = batchkit("run", "q.jsonl", "--endpoint", service.url, "-o", "b")
    assert done.code == 0
    assert done.err.count("times the estimate: at this rate") == 1
    assert '"event":"drifted"' in (here / "b/log.jsonl").read_text()
