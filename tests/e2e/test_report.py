"""`report.html`: written when a run ends and at any time, and never a reason for a run to fail."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from batchkit.report import writing
from tests.e2e.conftest import Command, Simulate, prompts, write_rows

pytest.importorskip("vl_convert")


def test_a_run_ends_with_its_report(here: Path, batchkit: Command, simulate: Simulate) -> None:
    write_rows(here / "q.jsonl", prompts(12))
    done = batchkit("run", "q.jsonl", "--endpoint", simulate().url, "-o", "out", report=True)
    assert done.code == 0
    assert done.err.splitlines()[-1] == "report    out/report.html"
    text = (here / "out" / "report.html").read_text("utf-8")
    assert "<title>out · batchkit</title>" in text
    assert all(f"q-{row}" in text for row in range(12))


def test_no_report_writes_none(here: Path, batchkit: Command, simulate: Simulate) -> None:
    write_rows(here / "q.jsonl", prompts(2))
    words = ("run", "q.jsonl", "--endpoint", simulate().url, "-o", "out", "--no-report")
    assert batchkit(*words, report=True).code == 0
    assert not (here / "out" / "report.html").exists()


def test_a_run_that_stops_early_has_a_report_which_says_so(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    write_rows(here / "q.jsonl", prompts(30))
    url = simulate(arrears_after=10).url
    words = ("run", "q.jsonl", "--endpoint", url, "-o", "out", "--concurrency", "1")
    assert batchkit(*words, report=True).code == 3
    assert '<p class="state stopped">stopped</p>' in (here / "out/report.html").read_text("utf-8")


def test_a_report_that_cannot_be_written_is_said_and_changes_nothing(
    here: Path, batchkit: Command, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(here / "q.jsonl", prompts(2))
    words = ("run", "q.jsonl", "--endpoint", simulate().url, "-o", "out")
    (here / "out" / "report.html").mkdir(parents=True)
    (here / "out" / "run.json").write_text("{}")
    done = batchkit(*words, report=True)
    assert done.code == 0
    last = done.err.splitlines()[-1]
    assert last.startswith("report.html: not written: ")
    assert "Traceback" not in done.err
    assert [path.name for path in (here / "out").iterdir() if path.name.endswith(".tmp")] == []

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "read_facts", interrupted)
    done = batchkit(*words, report=True)
    assert (done.code, done.err.splitlines()[-1]) == (
        0,
        "report.html: not written, interrupted; batchkit report out writes it at any time",
    )


def test_without_the_plotting_library_a_run_goes_well_and_the_report_says_what_to_install(
    here: Path, batchkit: Command, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "vl_convert":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    write_rows(here / "q.jsonl", prompts(2))
    words = ("run", "q.jsonl", "--endpoint", simulate().url, "-o", "out")
    fault = (
        "vl-convert-python: not installed, and it draws the report; pip install 'batchkit[report]'"
    )
    done = batchkit(*words, report=True)
    assert (done.code, done.err.splitlines()[-1]) == (0, f"report.html: not written: {fault}")
    assert batchkit("report", "out") == (2, "", f"{fault}\n")
    assert batchkit(*words, "-q", report=True) == (0, "", "")


def test_report_writes_anew_and_refuses_what_is_no_run(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    write_rows(here / "q.jsonl", prompts(3))
    batchkit("run", "q.jsonl", "--endpoint", simulate().url, "-o", "out")
    assert batchkit("report", "out") == (0, "", "report    out/report.html\n")
    assert (here / "out" / "report.html").stat().st_mode & 0o777 == 0o644
    assert batchkit("report", "nowhere") == (
        2,
        "",
        "nowhere: no run here; expected a folder that batchkit run has made\n",
    )
