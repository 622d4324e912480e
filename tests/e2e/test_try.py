"""Trying: a few rows are really asked and shown, and nothing of them stays or acts."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Simulate, prompts, write_rows

JOB = """
input = "d.jsonl"
model = "glm-4-plus"
[prompt]
system = "You name colours."
user   = "Colour of {{ thing }}?"
[output]
schema = { type = "object", properties = { colour = { type = "string" } }, required = ["colour"] }
"""


@pytest.fixture
def job(here: Path) -> Path:
    write_rows(here / "d.jsonl", [{"thing": f"stone {n}"} for n in range(9)])
    (here / "j.toml").write_text(JOB)
    return here / "j.toml"


def test_the_first_rows_are_asked_and_shown_and_nothing_is_kept(
    job: Path, batchkit: Command, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = job.parent / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    service = simulate()
    done = batchkit("try", job, "-n", "2", "--endpoint", service.url)
    assert (done.code, service.service.stats.requests) == (0, 2)
    assert done.out.count("You name colours.") == 1
    assert "Colour of stone 1?" in done.out
    assert "Colour of stone 2?" not in done.out
    assert '"colour": "' in done.out
    assert done.err.startswith("2 of 2 rows ok; cost 0.00")
    assert [*scratch.iterdir()] == []
    assert not (job.parent / "runs").exists()


def test_json_has_prompt_answer_and_output_of_each_row(
    job: Path, batchkit: Command, simulate: Simulate
) -> None:
    done = batchkit("try", job, "-n", "3", "--json", "--endpoint", simulate().url)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["row"] for row in rows] == [0, 1, 2]
    assert rows[1]["messages"][-1] == {"role": "user", "content": "Colour of stone 1?"}
    assert json.loads(rows[1]["content"]) == rows[1]["output"]
    assert (rows[1]["status"], rows[1]["attempts"], rows[1]["currency"]) == ("ok", 1, "CNY")


def test_a_failed_row_says_why(here: Path, batchkit: Command, simulate: Simulate) -> None:
    rows = prompts(2)
    rows[1]["prompt"] = "[[filter]]"
    write_rows(here / "q.jsonl", rows)
    done = batchkit("try", "q.jsonl", "--endpoint", simulate(marks={"[[filter]]": "filtered"}).url)
    assert done.code == 1
    assert "row 1 · q-1 · glm-4-flash-250414 · failed" in done.out
    assert "content_filtered 1301: " in done.out


def test_a_trial_that_is_stopped_says_so(here: Path, batchkit: Command, simulate: Simulate) -> None:
    write_rows(here / "q.jsonl", prompts(4))
    done = batchkit("try", "q.jsonl", "--endpoint", simulate(arrears_after=0).url)
    assert (done.code, done.out) == (3, "")
    assert "429/1113" in done.err


def test_nothing_in_a_row_acts_on_the_terminal(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    attack = "\x1b[2J\x1b]0;owned\x07 [bold]markup[/bold] \u202egnp.exe \x00 :smile:"
    write_rows(here / "q.jsonl", [{"prompt": attack, "model": "glm-4-plus"}])
    done = batchkit("try", "q.jsonl", "--endpoint", simulate().url)
    assert "\ufffd[2J\ufffd]0;owned\ufffd [bold]markup[/bold]" in done.out.replace("\n", "")
    assert [one for one in done.out if not one.isprintable() and one != "\n"] == []
    assert ":smile:" in done.out


@pytest.mark.parametrize("words", [[], ["--full"]], ids=["cut", "full"])
def test_long_texts_are_cut_unless_asked_for(
    words: list[str], here: Path, batchkit: Command, simulate: Simulate
) -> None:
    rows = [{"prompt": "long " * 1000 + "END", "model": "glm-4-plus"}]
    write_rows(here / "q.jsonl", rows)
    done = batchkit("try", "q.jsonl", "--endpoint", simulate().url, *words)
    assert ("END" in done.out) is bool(words)
    assert ("(5,003 characters)" in " ".join(done.out.split())) is not bool(words)
