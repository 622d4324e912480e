"""The benchmarks still work; what they find is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(300)  # each is a handful of processes, which others may slow down


def benchmark(module: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_whole_command_and_a_bare_loop_do_the_same_rows() -> None:
    cases = ["--only", "bare aiohttp", "--only", "batchkit aiohttp"]
    said = benchmark("whole", "--rows", "60", "--in-flight", "5", "--rounds", "1", *cases)
    lines = [line.split() for line in said.splitlines()[1:]]
    assert [(line[:2], line[3]) for line in lines] == [
        (["bare", "aiohttp"], "60"),
        (["batchkit", "aiohttp"], "60"),
    ]


def test_a_peer_that_is_not_installed_says_so(tmp_path: Path) -> None:
    words = ["nothing.jsonl", "http://127.0.0.1:9", "1", str(tmp_path / "out")]
    command = [sys.executable, "-S", "-m", "benchmarks.whole.peers", "curator", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "No module named" in done.stderr) == (77, True)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("stages", ["--rows", "60", "--in-flight", "5"]),
        ("sizes", ["--rows", "60", "--in-flight", "5"]),
        ("growth", ["--rows", "60", "--slots", "5", "--rows-by-slots", "60"]),
    ],
)
def test_a_benchmark_prints_its_table(module: str, words: list[str]) -> None:
    head, *lines = benchmark(module, *words).splitlines()
    assert ("CPU" in head, len(lines) >= 1) == (True, True)


def test_the_journal_is_measured_by_the_size_of_its_groups() -> None:
    said = benchmark("storage", "--rows", "60", "--group", "16")
    found: dict[str, Any] = json.loads(said)
    assert set(found) == {"commit", "seal"}
