"""`batchkit costs` on runs against the simulator."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from batchkit.journal import Journal
from tests.e2e.conftest import Command, Simulate, prompts, summary_of, write_rows

KEY = "0123456789abcdef.secretsecret"


@pytest.fixture
def runs(
    batchkit: Command, simulate: Simulate, here: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Path]:
    """Two runs under `runs`, with a key, and one against the simulator in the same process."""
    monkeypatch.setenv("ZAI_API_KEY", KEY)
    url = simulate().url
    write_rows(here / "a.jsonl", prompts(20, model="glm-4-plus"))
    write_rows(here / "b.jsonl", prompts(10, model="glm-4-air-250414"))
    for name, endpoint in (("a", url), ("b", url), ("c", "sim")):
        spec = "a.jsonl" if name == "c" else f"{name}.jsonl"
        words = ["run", spec, "--endpoint", endpoint, "-o", f"runs/{name}", "-q"]
        assert batchkit(*words).code == 0
    return [here / "runs" / name for name in "abc"]


def test_runs_are_added_up_to_the_last_digit(runs: list[Path], batchkit: Command) -> None:
    done = batchkit("costs", "--by", "model", "--to", "json")
    assert (done.code, done.err) == (0, "")
    sums = {(row["model"], row["simulated"]): row for row in json.loads(done.out)}
    a, b, c = (summary_of(folder) for folder in runs)
    assert {group: row["cost"] for group, row in sums.items()} == {
        ("glm-4-air-250414", False): b["cost"],
        ("glm-4-plus", False): a["cost"],
        ("glm-4-plus", True): c["cost"],
    }
    assert sums["glm-4-plus", False]["prompt_tokens"] == a["prompt_tokens"]


def test_the_table_has_a_total_per_currency(runs: list[Path], batchkit: Command) -> None:
    lines = batchkit("costs", "runs/a", "runs/b", "runs/../runs/a").out.splitlines()
    paid = sum((Decimal(summary_of(folder)["cost"]) for folder in runs[:2]), Decimal(0))
    head, *rows, total = [line.split() for line in lines]
    assert head[:4] == ["day", "model", "job", "key"]
    assert [row[1:3] for row in rows] == [["glm-4-air-250414", "b"], ["glm-4-plus", "a"]]
    assert (total[0], total[1], total[-2:]) == ("total", "30", [f"{paid.normalize():f}", "CNY"])
    assert batchkit("costs", "runs/c").out.splitlines()[-1].endswith("CNY  simulated")


def test_a_key_is_known_by_its_fingerprint_alone(runs: list[Path], batchkit: Command) -> None:
    rows = json.loads(batchkit("costs", "--by", "key", "--to", "json").out)
    (fingerprint,) = {row["key"] for row in rows if not row["simulated"]}
    assert len(fingerprint) == 16
    assert KEY not in "".join(path.read_text() for path in Path("runs").glob("*/run.json"))


def test_sums_come_as_arrow(runs: list[Path], batchkit: Command, here: Path) -> None:
    assert batchkit("costs", "--to", "arrow", "-O", "costs.arrow").code == 0
    with pa.memory_map(str(here / "costs.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
    assert table.schema.names[:4] == ["day", "model", "job", "key"]
    assert pc.sum(table.column("attempts")).as_py() == 50


def test_a_damaged_part_is_said_and_its_cost_counts(runs: list[Path], batchkit: Command) -> None:
    whole = json.loads(batchkit("costs", "runs/a", "--by", "model", "--to", "json").out)
    (runs[0] / "attempts/part-00000.arrow").unlink()
    done = batchkit("costs", "runs/a", "--by", "model", "--to", "json")
    assert (done.code, json.loads(done.out)) == (3, whole)
    assert "part-00000.arrow: is missing: what it cost is added without a day" in done.err


def test_a_damaged_journal_leaves_its_run_out(runs: list[Path], batchkit: Command) -> None:
    (runs[0] / "journal.db").write_bytes(b"SQLite format 3\0 but not really")
    done = batchkit("costs", "--by", "job")
    assert (done.code, "the run is left out" in done.err) == (3, True), done.err
    assert [line.split()[:2] for line in done.out.splitlines()[1:3]] == [["a", "20"], ["b", "10"]]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "runs: no run here"),
        (["empty"], "empty: no runs here; name the folders that batchkit run has made"),
        (["empty", "--by", "week"], "--by: expected some of day, model, job, key, run, got 'week'"),
    ],
)
def test_what_cannot_be_added_up_is_said(
    words: list[str], fault: str, batchkit: Command, here: Path
) -> None:
    (here / "empty").mkdir()
    done = batchkit("costs", *words)
    assert (done.code, done.out, fault in done.err) == (2, "", True), done.err


def test_a_run_that_was_never_planned_has_cost_nothing(
    runs: list[Path], batchkit: Command, here: Path
) -> None:
    (here / "runs/bad").mkdir()
    Journal.create(here / "runs/bad/journal.db").close()
    done = batchkit("costs", "--by", "job", "--to", "json")
    assert (done.code, len(json.loads(done.out))) == (0, 3)
    assert "runs/bad: has not begun; nothing to add up" in done.err
