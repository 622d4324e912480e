"""Jobs with sections that shape prompts and check answers, run whole against the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

import batchkit as package
from batchkit.inputs import Input, open_input
from batchkit.prepare import scan
from batchkit.records import Request
from batchkit.spec import load_spec
from tests.e2e.conftest import Command, Simulate, write_rows
from tests.fakes import Blocks

HEAD = """
input = "in.jsonl"
id = "id"
model = "glm-4-flash-250414"
[prompt]
system = "You sort."
user = "{{ text }}"
"""
CITIES = [
    {"id": n, "text": f"Text {n}", "k": label} for n, label in enumerate(["Oslo", "Rome", "Oslo"])
]


def write_job(here: Path, text: str, rows: list[dict[str, Any]]) -> Path:
    write_rows(here / "in.jsonl", rows)
    path = here / "job.toml"
    path.write_text(HEAD + text, "utf-8")
    return path


def rendered(path: Path) -> list[Request]:
    """Every request of the job, as a run would send it."""
    given: Input = open_input(load_spec(path))
    builder = given.rendering()
    return [builder.build(raw) for raw in given.source.scan()]


def column(name: str, folder: str = "out") -> list[Any]:
    values: list[Any] = package.read_results(folder).column(name).to_pylist()
    return values


def test_one_label_is_a_typed_column_of_words_of_the_job(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    job = write_job(here, '[labels]\ncolumn = "k"\n', CITIES)
    done = batchkit("run", job, "--endpoint", simulate().url, "-o", "out")
    assert done.code == 0, done.err
    labels = column("output")
    assert {value["label"] for value in labels} <= {"Oslo", "Rome"}
    assert [value["label"] for value in labels] == column("content")
    output = package.read_results("out").schema.field("output").type
    assert output == pa.struct([("label", pa.string())])


def test_several_labels_are_a_list(batchkit: Command, simulate: Simulate, here: Path) -> None:
    (here / "l.txt").write_text("joy\nanger\n", "utf-8")
    job = write_job(here, '[labels]\nfile = "l.txt"\nmultiple = true\n', CITIES)
    assert batchkit("run", job, "--endpoint", simulate().url, "-o", "out").code == 0
    output = package.read_results("out").schema.field("output").type
    assert output == pa.struct([("labels", pa.list_(pa.string()))])
    assert batchkit("export", "out", "--to", "jsonl").out.count('"labels"') == 3


def test_an_answer_that_names_no_label_is_asked_again_and_fails_with_its_text(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    job = write_job(here, '[labels]\ncolumn = "k"\n[output]\nrepair = 2\n', CITIES)
    running = simulate(faults={"prose": 1.0})
    assert batchkit("run", job, "--endpoint", running.url, "-o", "out").code == 1
    assert column("error_kind") == ["invalid_output"] * 3
    assert column("error_message") == ["it is none of the labels"] * 3
    assert column("attempts") == [3] * 3
    assert all(column("content"))


def test_the_prompt_begins_with_the_same_bytes_for_every_row(here: Path) -> None:
    job = write_job(here, '[labels]\ncolumn = "k"\n', CITIES)
    systems = {str(request.messages[0]) for request in rendered(job)}
    (system,) = systems
    assert "You sort.\\n\\nAnswer with exactly one of these labels" in system
    assert "```labels\\nOslo\\nRome\\n```" in system


def test_labels_that_change_ask_every_row_again_and_only_with_update(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    """A column's labels are a part of what is asked, though the job file does not name them."""
    url = simulate().url
    job = write_job(here, '[labels]\ncolumn = "k"\n', CITIES)
    assert batchkit("run", job, "--endpoint", url, "-o", "out").code == 0
    assert "3 of 3 rows are done" in batchkit("run", job, "--endpoint", url, "-o", "out").err
    write_rows(here / "in.jsonl", [*CITIES, {"id": 3, "text": "Text 3", "k": "Lima"}])
    refused = batchkit("run", job, "--endpoint", url, "-o", "out")
    assert refused.code == 2
    assert "another schema and another labels" in refused.err
    assert "3 changed, 1 new; 4 to ask" in refused.err
    assert batchkit("run", job, "--endpoint", url, "-o", "out", "--update").code == 0
    assert len(column("output")) == 4


def test_check_counts_the_prompts_as_they_will_be_sent(here: Path) -> None:
    plain = write_job(here, "", CITIES)
    given = open_input(load_spec(plain))
    before = scan(given.source, given.rendering(), Blocks()).shares[0].prompt_tokens
    given = open_input(load_spec(write_job(here, '[labels]\ncolumn = "k"\n', CITIES)))
    after = scan(given.source, given.rendering(), Blocks()).shares[0].prompt_tokens
    assert after == sum(request.prompt_tokens for request in rendered(plain)) > before + 3 * 40
