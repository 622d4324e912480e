"""The jobs in `jobs/`: each runs to its end, and its page says what is so."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from batchkit import cli
from batchkit.job import read_job
from tests.e2e.conftest import Command, summary_of

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "jobs").glob("*/*.toml"))
JOBS = sorted((ROOT / "jobs").glob("*/job.toml"))
FEW = 100  # rows: enough to have every slot at work, quick
SECTIONS = ("What comes out", "How it scores", "What it costs", "Where the data comes from")
LOCAL = ["--models", "local.toml"]
LOCAL_ROW = '[models."smollm2-135m-instruct"]\nconcurrency = 4\n'
TSV = "{}one\t0\tid{}1\n{}two\t26,27\tid{}2\n"

by_folder = pytest.mark.parametrize("spec", JOBS, ids=lambda path: path.parent.name)


def page(spec: Path) -> str:
    return (spec.parent / "README.md").read_text("utf-8")


BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(spec: Path) -> Iterator[tuple[str, str]]:
    """The blocks of code of a job's page as lines of a shell, or as one Python text."""
    for language, text in BLOCK.findall(page(spec)):
        if language == "python":
            yield language, text
        else:
            yield from ((language, line) for line in text.splitlines())


def asked(spec: Path, batchkit: Command) -> dict[str, float]:
    """What `batchkit plan` says of the job's own model."""
    done = batchkit("plan", spec, "--json")
    assert done.code == 0, done.err
    (found,) = json.loads(done.out)["asked"]
    cost = {f"cost_{name}": amount for name, amount in found["cost"].items()}
    return {**found, **cost, "prompt_tokens": found["prompt_tokens"]["p50"]}


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_job_runs_to_its_end_at_the_v1_limits(spec: Path, batchkit: Command, here: Path) -> None:
    (here / "local.toml").write_text(LOCAL_ROW)
    words = ["--endpoint", "sim", "--tier", "V1", "--limit", str(FEW), "--json", *LOCAL]
    done = batchkit("run", spec, "-o", "out", *words)
    assert done.code == 0, done.err
    summary = summary_of(here / "out")
    assert (summary["complete"], summary["failed"]) == (True, 0)
    assert summary["ok"] == summary["rows"] >= 20
    if read_job(spec).score is not None:
        assert batchkit("score", "out").code == 0
        score = msgspec.json.decode((here / "out/score.json").read_bytes())
        assert score["scored"] == summary["rows"]
        assert score.get("unmatched_gold") is None, "a gold value that no answer can meet"


@by_folder
def test_every_command_on_a_page_is_understood(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inline = re.findall(r"`(batchkit [^`\n]+)`", page(spec))
    lines = [text for language, text in steps(spec) if language == "sh"]
    for line in [*inline, *(line for line in lines if line.startswith("batchkit"))]:
        with suppress(SystemExit):  # bad usage, which is said on stderr
            cli._parser().parse_args(shlex.split(line)[1:])
        assert (line, capsys.readouterr().err) == (line, "")


@by_folder
def test_a_page_runs_from_top_to_bottom(spec: Path, batchkit: Command, here: Path) -> None:
    """As a reader would, with few rows and at the simulator."""
    shutil.copytree(ROOT / "jobs" / spec.parent.name, here / "jobs" / spec.parent.name)
    (here / "local.toml").write_text(LOCAL_ROW)
    for part in ("train", "dev", "test"):  # what the page of emotions begins with
        (here / f"{part}.tsv").write_text(TSV.format(part, part, part, part))
    few = ["--endpoint", "sim", "--limit", "5", *LOCAL]
    ran = 0
    for language, text in steps(spec):
        if language == "python":
            exec(compile(text, str(spec), "exec"), {})  # noqa: S102  # our own page
        elif text.startswith("batchkit"):
            _, command, *words = shlex.split(text)
            done = batchkit(command, *words, *(few if command == "run" else []))
            assert done.code == 0, (text, done.err)
        else:
            assert text.startswith("pip install ")
        ran += 1
    assert ran >= 3


@by_folder
def test_a_page_has_every_section_and_a_notice(spec: Path) -> None:
    heads = re.findall(r"^## (.+)$", page(spec), re.MULTILINE)
    assert [head for head in heads if head in SECTIONS] == list(SECTIONS)
    assert "[NOTICE.md](NOTICE.md)" in page(spec)
    named = re.findall(r"`([\w.-]+\.(?:jsonl|parquet))`", (spec.parent / "NOTICE.md").read_text())
    assert read_job(spec).input in named


@by_folder
def test_a_page_and_the_readme_say_how_many_rows_there_are(spec: Path, batchkit: Command) -> None:
    rows = f"{asked(spec, batchkit)['rows']:,}"
    opening = page(spec).split("\n\n")[1]
    readme = (ROOT / "README.md").read_text("utf-8")
    (line,) = re.findall(rf"^\| \[`jobs/{spec.parent.name}`\].*$", readme, re.MULTILINE)
    for text in (opening, line):
        assert re.search(rf"\b{rows} ", text), text


ESTIMATE = re.compile(
    r"([\d,]+) requests(?:,| and) ([\d.]+)(k?) prompt tokens"
    r"(?: and ([\d.]+) CNY \(([\d.]+) to ([\d.]+), at most ([\d.]+)\))?"
)


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_page_says_what_a_plan_estimates(spec: Path, batchkit: Command) -> None:
    found = asked(spec, batchkit)
    at = sorted(spec.parent.glob("*.toml"), reverse=True).index(spec)  # job.toml is first
    requests, tokens, thousand, *costs = ESTIMATE.findall(page(spec))[at]
    assert int(requests.replace(",", "")) == found["requests"]
    said = float(tokens) * (1000 if thousand else 1)
    assert said == pytest.approx(found["prompt_tokens"], rel=0.02)
    names = ("cost_p50", "cost_p10", "cost_p90", "cost_most")
    assert [float(cost or 0) for cost in costs] == pytest.approx(
        [found[name] for name in names], rel=0.1
    )
