"""`run --eager`: the first rows are sent while the others are checked, and nothing bad is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from batchkit import opening, plan, planned_rows, prepare, revision
from batchkit.planner import Planner
from batchkit.simulator.server import Running
from tests.e2e.conftest import Command, Done, Simulate, prompts, summary_of, write_rows

Rows = list[Any]
BLOCK = 16  # rows; and parts have 10
COLUMNS = ["row", "custom_id", "model", "status", "content", "error_kind", "error_message", "cost"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PART_ROWS", 10)
    for module in (plan, planned_rows, prepare, revision):
        monkeypatch.setattr(module, "BLOCK_ROWS", BLOCK)


class Bench:
    """Runs over `q.jsonl`, asked of one simulated service."""

    def __init__(self, batchkit: Command, service: Running, here: Path) -> None:
        self.service = service
        self._batchkit = batchkit
        self._file = here / "q.jsonl"
        self._here = here

    def write(self, rows: Rows) -> None:
        """Rows as JSON, and texts as they are."""
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        self._file.write_text("".join(f"{line}\n" for line in lines), "utf-8")

    def run(self, *words: str, code: int = 0, out: str = "out") -> Done:
        url = self.service.url
        done = self._batchkit("run", "q.jsonl", "--endpoint", url, "-o", out, *words)
        assert done.code == code, done.err
        return done

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._batchkit("status", "out", "--json").out)
        return found

    def table(self, out: str = "out") -> pa.Table:
        return ds.dataset(self._here / out / "results", format="arrow").to_table()

    def lasting(self, out: str = "out") -> list[dict[str, Any]]:
        """What of the results is the same whenever they are asked."""
        found: list[dict[str, Any]] = self.table(out).select(COLUMNS).to_pylist()
        return found

    @property
    def asked(self) -> int:
        """Requests that the service answered, of different rows."""
        seen = self.service.service.seen
        assert set(seen.values()) <= {1}, "a row was asked twice"
        return len(seen)


@pytest.fixture
def bench(batchkit: Command, simulate: Simulate, here: Path) -> Bench:
    return Bench(batchkit, simulate(record=True), here)


def bad_rows(count: int) -> Rows:
    """`count` rows; three after the second block are bad, one of them for its id alone."""
    rows: Rows = prompts(count)
    rows[2 * BLOCK + 5] = '{"prompt": '
    rows[2 * BLOCK + 9] = {"custom_id": "x", "model": "glm-9", "prompt": "?"}
    rows[2 * BLOCK + 12] = rows[2 * BLOCK + 12] | {"custom_id": "q-0"}
    return rows


FAULTS = [
    "q.jsonl:38: not JSON: input data was truncated",
    "q.jsonl:42: model 'glm-9' is not in the model table; add it with --models",
    "q.jsonl:45: custom_id 'q-0' was used before, on line 1; ids must be unique",
]


OF_THE_MOMENT = (
    "wall_s",
    "requests_per_s",
    "out",
    "slot_utilization",
    "mean_latency_s",
    "bound_by",
)


def totals(out: str) -> dict[str, Any]:
    """The summary without what the clock has a part in."""
    found = summary_of(Path(out))
    for one in (found, *found["models"].values()):
        for name in OF_THE_MOMENT:
            one.pop(name, None)
    return found


@pytest.mark.parametrize("rows", [1, BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK, 5 * BLOCK + 3])
def test_the_results_are_those_of_a_run_without_it(bench: Bench, rows: int) -> None:
    bench.write(prompts(rows))
    bench.run()
    bench.run("--eager", out="eager")
    assert bench.lasting("eager") == bench.lasting()
    schemas = [bench.table(out).schema for out in ("out", "eager")]
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert totals("eager") == totals("out")
    first, second = (json.loads(Path(out, "run.json").read_bytes()) for out in ("out", "eager"))
    assert first | {"starts": 0} == second | {"starts": 0}


def test_a_bad_row_met_later_stops_the_run_and_was_not_sent(bench: Bench) -> None:
    bench.write(bad_rows(5 * BLOCK))
    done = bench.run("--eager", code=3)
    said = [line for line in done.err.splitlines() if line.startswith(("q.jsonl", "3 of"))]
    remedy = "mend them and go on with --update, or go on with --skip-invalid"
    safe = f"{bench.asked} of 32 rows checked so far are safe in out"
    assert said == [*FAULTS, f"3 of 80 rows cannot be sent; {remedy}: {safe}"]
    assert bench.asked <= 2 * BLOCK
    assert not Path("out/summary.json").exists()
    status = bench.status()
    assert (status["state"], status["summary"]["rows"]) == ("stopped", 2 * BLOCK)
    assert not status["summary"]["all_rows"]
    assert not status["summary"]["complete"]


@pytest.mark.parametrize("how", [[], ["--eager"]])
def test_it_goes_on_past_bad_rows_that_are_to_be_skipped(bench: Bench, how: list[str]) -> None:
    bench.write(bad_rows(5 * BLOCK))
    bench.run("--eager", code=3)
    bench.run("--skip-invalid", *how, code=1)
    assert bench.asked == 5 * BLOCK - 3
    bench.run("--skip-invalid", code=1, out="calm")
    assert bench.lasting() == bench.lasting("calm")
    assert totals("out") == totals("calm")


def test_a_bad_row_is_skipped_beside_the_sending(bench: Bench) -> None:
    bench.write(bad_rows(5 * BLOCK))
    bench.run("--eager", "--skip-invalid", code=1)
    table = bench.table().to_pylist()
    bad = {row["row"]: row["error_message"] for row in table if row["status"] == "failed"}
    assert bad == dict(zip((37, 41, 44), FAULTS, strict=True))
    assert bench.asked == 5 * BLOCK - 3


def test_without_it_a_run_that_was_begun_with_it_is_checked_to_the_end_first(bench: Bench) -> None:
    bench.write(bad_rows(5 * BLOCK))
    bench.run("--eager", code=3)
    asked = bench.asked
    done = bench.run(code=2)
    assert done.err.splitlines()[:3] == FAULTS
    assert "3 of 80 rows cannot be sent; mend them and go on with --update" in done.err
    assert bench.asked == asked


@pytest.mark.parametrize("how", [[], ["--eager"]])
def test_mended_rows_go_on_and_what_was_answered_stays(bench: Bench, how: list[str]) -> None:
    bench.write(bad_rows(5 * BLOCK))
    bench.run("--eager", code=3)
    bench.write(prompts(5 * BLOCK))
    bench.run("--update", *how)
    assert bench.asked == 5 * BLOCK
    bench.run(out="calm")
    assert bench.lasting() == bench.lasting("calm")


def test_a_row_that_was_sent_and_changed_needs_to_be_updated(bench: Bench) -> None:
    rows = bad_rows(5 * BLOCK)
    bench.write(rows)
    bench.run("--eager", code=3)
    changed = prompts(5 * BLOCK)
    changed[3] = changed[3] | {"prompt": "Another question?"}
    bench.write(changed)
    done = bench.run("--eager", code=2)
    assert "1 changed, 48 not checked before; 49 to ask" in done.err
    dry = bench.run("--dry-run", "--update").out.split("\n")
    assert [line.split(None, 1) for line in dry if line] == [
        ["31", "kept: they ask what they asked"],
        ["1", "changed: would be asked"],
        ["48", "not checked before: would be asked"],
    ]
    bench.run("--eager", "--update")
    assert bench.asked == 5 * BLOCK + 1


def test_bad_rows_before_anything_was_sent_are_all_named_and_nothing_is(bench: Bench) -> None:
    rows = bad_rows(5 * BLOCK)
    rows[3] = {"custom_id": "q-3"}
    bench.write(rows)
    done = bench.run("--eager", code=2)
    assert done.err.splitlines()[1:4] == FAULTS
    assert "4 of 80 rows cannot be sent; mend them, or run with --skip-invalid" in done.err
    assert bench.asked == 0
    assert not Path("out/journal.db").exists()


def test_a_screenful_of_bad_rows_is_enough(bench: Bench) -> None:
    bench.write([*prompts(2 * BLOCK), *["{"] * (10 * BLOCK)])
    done = bench.run("--eager", code=3)
    named = [line for line in done.err.splitlines() if line.startswith("q.jsonl:")]
    assert len(named) == 20
    assert "… and 12 more" in done.err
    assert "32 of 64 rows cannot be sent" in done.err


def test_rows_of_a_model_that_comes_late_get_lanes_of_their_own(bench: Bench) -> None:
    rows = prompts(6 * BLOCK)
    for row in rows[3 * BLOCK :: 2]:
        row["model"] = "glm-4-air-250414"
    bench.write(rows)
    done = bench.run("--eager")
    assert "going on with glm-4-air-250414: the first rows named other models" in done.err
    assert bench.asked == 6 * BLOCK
    bench.run(out="calm")
    assert bench.lasting() == bench.lasting("calm")
    assert totals("out") == totals("calm")


def test_a_late_model_that_cannot_be_asked_stops_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    Path("more.toml").write_text(
        '[models.far]\nendpoint = "https://far.example/v1"\napi_key_env = "NO_SUCH_KEY"\n'
        "concurrency = 3\n",
        "utf-8",
    )
    rows = prompts(4 * BLOCK)
    rows[-1]["model"] = "far"
    bench.write(rows)
    done = bench.run("--eager", "--models", "more.toml", code=3)
    assert "NO_SUCH_KEY" in done.err
    assert bench.asked == bench.status()["summary"]["ok"]


def test_the_default_model_may_come_late(bench: Bench) -> None:
    rows = prompts(4 * BLOCK)
    for row in rows[3 * BLOCK :]:
        del row["model"]
    bench.write(rows)
    done = bench.run("--eager", "--model", "glm-4-air-250414")
    assert "going on with" not in done.err
    assert bench.asked == 4 * BLOCK


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dedupe"], "--eager: dedupe needs to know which rows ask the same"),
        (["--confirm-above", "1"], "--eager: --confirm-above needs to know what all rows cost"),
        (["--max-failed", "5%"], "--eager: --max-failed needs to know how many rows there are"),
    ],
)
def test_what_needs_all_rows_is_refused(bench: Bench, words: list[str], said: str) -> None:
    bench.write(prompts(3))
    done = bench.run("--eager", *words, code=2)
    assert done.err.startswith(said)
    assert bench.asked == 0


JOB = """
input = "{file}"
id = "id"
keep = ["label"]
model = "glm-4-flash-250414"
[prompt]
user = "{{{{ text }}}}"
"""


def test_kept_columns_must_tell_their_types(bench: Bench, batchkit: Command) -> None:
    rows = [{"id": n, "text": f"Text {n}", "label": n % 3} for n in range(4 * BLOCK + 2)]
    write_rows(Path("d.jsonl"), rows)
    pq.write_table(pa.Table.from_pylist(rows), "d.parquet")
    Path("job.toml").write_text(JOB.format(file="d.jsonl"), "utf-8")
    words = ["run", "job.toml", "--endpoint", bench.service.url, "--eager", "-o", "out"]
    done = batchkit(*words)
    assert done.code == 2
    assert done.err.startswith("--eager: keep needs to know the columns' types, which d.jsonl")
    assert batchkit(*words, "--input", "d.parquet").code == 0
    assert bench.table().column("label").to_pylist() == [row["label"] for row in rows]


def test_a_file_that_changes_while_it_is_read_stops_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write(prompts(6 * BLOCK))
    step = Planner.step

    def meddled(planner: Planner) -> Any:
        if planner.checked == 3 * BLOCK:
            with Path("q.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"custom_id": "last", "prompt": "?"} | MODEL) + "\n")
        return step(planner)

    with monkeypatch.context() as patch:
        patch.setattr(Planner, "step", meddled)
        done = bench.run("--eager", code=3)
    assert "q.jsonl: was changed while it was read; run again" in done.err
    bench.run()  # no row that was planned has changed
    assert bench.asked == 6 * BLOCK + 1


MODEL = {"model": "glm-4-flash-250414"}


def test_a_part_of_the_plan_can_be_exported_and_reported(bench: Bench, batchkit: Command) -> None:
    bench.write(bad_rows(5 * BLOCK))
    bench.run("--eager", code=3)
    done = batchkit("export", "out", "--to", "jsonl", "-O", "out.jsonl")
    assert done.code == 0
    assert done.err.endswith("; the input was not checked to its end yet\n")
    assert batchkit("report", "out").code == 0
    assert "so far" in Path("out/report.html").read_text("utf-8")
    text = batchkit("status", "out").out
    assert "and those that are not checked yet" in text
    assert "32 so far" in text


def test_the_limit_is_kept(bench: Bench) -> None:
    bench.write(bad_rows(5 * BLOCK))
    bench.run("--eager", "--limit", str(2 * BLOCK + 3))
    assert bench.asked == 2 * BLOCK + 3
