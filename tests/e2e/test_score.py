"""`batchkit score` on runs against the simulator, whose answers are not meant to be right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batchkit.scores import read_score
from tests.e2e.conftest import Command, Simulate, write_rows

JOB = """
input = "docs.jsonl"
id    = "id"
keep  = ["topic", "best"]
model = "glm-4-plus"

[prompt]
user = "{{ text }}"

[output]
schema = { type = "object", properties = { topic = { enum = ["news", "sport"] } } }

[score]
gold = "topic"
"""


@pytest.fixture
def run(batchkit: Command, simulate: Simulate, here: Path) -> Path:
    """Two runs of 40 rows, one of them filtered, in `one` and `two`; its job has a `[score]`."""
    topics = ["news", "sport"]
    rows = [{"id": n, "text": f"text {n}", "topic": topics[n % 2], "best": "x"} for n in range(40)]
    rows[5]["text"] = "[[filter]]"
    write_rows(here / "docs.jsonl", rows)
    (here / "job.toml").write_text(JOB, "utf-8")
    url = simulate(marks={"[[filter]]": "filtered"}).url
    for out in ("one", "two"):
        assert batchkit("run", "job.toml", "--endpoint", url, "-o", out, "-q").code == 1
    return here / "one"


def test_a_score_is_printed_and_kept(run: Path, batchkit: Command) -> None:
    done = batchkit("score", run)
    assert done.code == 0, done.err
    assert "40 scored of 40, 1 failed and count as wrong" in done.out
    kept = read_score(run)
    assert kept is not None
    assert (kept.scored, kept.failed, kept.gold) == (40, 1, {"topic": "topic"})
    assert {label.label: label.gold for label in kept.labels} == {"news": 20, "sport": 20}
    printed = json.loads(batchkit("score", run, "--json").out)
    assert printed["measures"] == json.loads((run / "score.json").read_bytes())["measures"]


def test_a_score_that_cannot_be_kept_is_printed(run: Path, batchkit: Command) -> None:
    (run / "score.json.tmp").mkdir()
    done = batchkit("score", run)
    assert (done.code, "40 scored of 40" in done.out) == (2, True)
    assert f"{run}/score.json: cannot be written: is a directory" in done.err


def test_another_score_is_asked_for_by_options(run: Path, batchkit: Command) -> None:
    words = ["--gold", "topic=best", "--kind", "label", "--draws", "100", "--seed", "7", "--json"]
    found = json.loads(batchkit("score", run, *words).out)
    assert found["unmatched_gold"] == {"count": 40, "examples": ["x"]}
    assert (found["measures"]["accuracy"]["value"], found["draws"], found["seed"]) == (0, 100, 7)
    words = ["--gold", "topic=topic", "--compare", "topic=text", "--dates", "mdy", "--json"]
    assert json.loads(batchkit("score", run, *words).out)["kind"] == "fields"
    words = ["--gold", "topic=topic", "--kind", "translation", "--tokenizer", "char", "--json"]
    assert "tok:char" in json.loads(batchkit("score", run, *words).out)["signatures"]["bleu"]


@pytest.mark.parametrize(("multiple", "kind"), [("false", "label"), ("true", "labels")])
def test_the_labels_of_a_job_are_scored(
    batchkit: Command, here: Path, multiple: str, kind: str
) -> None:
    topics = ["news", "sport", "art"]
    rows = [{"id": n, "text": f"text {n}", "topic": topics[n % 3]} for n in range(30)]
    write_rows(here / "docs.jsonl", rows)
    section = f'[labels]\ncolumn = "topic"\nmultiple = {multiple}\n[score]\ngold = "topic"\n'
    plain = JOB.partition("[output]")[0].replace(', "best"', "")
    (here / "job.toml").write_text(plain + section, "utf-8")
    assert batchkit("run", "job.toml", "--endpoint", "sim", "-o", "out", "-q").code == 0
    found = json.loads(batchkit("score", "out", "--json").out)
    assert (found["kind"], found["scored"], found["unmatched_answers"]) == (kind, 30, None)
    assert {label["label"]: label["gold"] for label in found["labels"]} == dict.fromkeys(topics, 10)


def test_two_runs_are_compared(run: Path, batchkit: Command) -> None:
    done = batchkit("score", run, "two")
    assert done.code == 0, done.err
    assert "40 in both, compared as label" in done.out
    found = json.loads(batchkit("score", run, "two", "--json").out)
    accuracy = found["measures"]["accuracy"]
    assert (accuracy["difference"], accuracy["p"], accuracy["test"]) == (0, 1, "mcnemar")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["nowhere"], "nowhere: no run here"),
        (["one", "--gold", "price"], "one: gold: no kept column 'price'; the run kept topic, best"),
        (["one", "--gold", "topic="], "--gold: expected FIELD=COLUMN, got 'topic='"),
        (["one", "--kind", "bleu"], "--kind: expected one of label, labels, fields, translation"),
        (["one", "--compare", "topic=money"], "--compare: expected one of text, date, amount"),
        (["one", "--compare", "topic"], "--compare: expected FIELD=FORM, got 'topic'"),
        (["one", "--dates", "ymd"], "--dates: expected one of dmy, mdy, got 'ymd'"),
        (["one", "--draws", "1"], "--draws: expected at least 100, got 1"),
        (["one", "--seed", "-1"], "--seed: expected at least 0, got -1"),
    ],
)
def test_what_cannot_be_scored_is_said(
    words: list[str], fault: str, run: Path, batchkit: Command
) -> None:
    done = batchkit("score", *words)
    assert (done.code, fault in done.err, done.out) == (2, True, ""), done.err


def test_a_run_without_gold_values_asks_for_them(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", [{"model": "glm-4-plus", "prompt": "x"}])
    assert batchkit("run", "q.jsonl", "--endpoint", simulate().url, "-o", "out", "-q").code == 0
    done = batchkit("score", "out")
    assert (done.code, done.err) == (
        2,
        "out: the job has no [score]; give --gold with the column that holds what is right\n",
    )


def test_only_translations_need_sacrebleu(run: Path) -> None:
    code = (
        "import sys; sys.modules['sacrebleu'] = None\n"
        "from batchkit.cli import main; sys.exit(main(sys.argv[1:]))"
    )

    def score(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "score", str(run), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert score().returncode == 0
    refused = score("--kind", "translation")
    assert (refused.returncode, refused.stderr) == (
        2,
        "sacrebleu is missing, which measures translations; pip install 'batchkit[score]'\n",
    )
