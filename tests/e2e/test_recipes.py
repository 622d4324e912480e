"""Jobs with sections that shape prompts and check answers, run whole against the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchkit as package
from batchkit.document import first_of
from batchkit.inputs import Input, open_input
from batchkit.prepare import scan
from batchkit.records import Request
from batchkit.sources.context import with_rows_before
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
    return [first_of(builder.build(raw)) for raw in given.source.scan()]


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


TRANSLATE = """
input = "in.jsonl"
id = "id"
model = "glm-4-flash-250414"
[prompt]
system = "Translate into {{ translate.target }}."
user = '''
{% if translate.glossary %}Terms:
{{ translate.glossary }}
{% endif %}{% if translate.context %}Before:
{{ translate.context }}
{% endif %}Text:
{{ en }}'''
[translate]
text = "en"
target = "zh-CN"
"""
KINDS = "placeholders, numbers, urls, tags, paragraphs"
LINES: list[dict[str, Any]] = [
    {"id": "a1", "doc": "a", "en": "The bank of {name} opened in 2018."},
    {"id": "a2", "doc": "a", "en": "See https://a.example/1 for it."},
    {"id": "b1", "doc": "b", "en": "Another document's BANK.\n\nWith <b>two</b> paragraphs."},
    {"id": "b2", "doc": "b", "en": "The last one, 1,234 long."},
]


def write_translation(here: Path, more: str, rows: list[dict[str, Any]] | None = None) -> Path:
    write_rows(here / "in.jsonl", rows or LINES)
    (here / "terms.tsv").write_text("bank\t银行\nbanks\t多家银行\n", "utf-8")
    path = here / "job.toml"
    path.write_text(TRANSLATE + more, "utf-8")
    return path


def test_a_translation_that_keeps_everything_is_ok_and_has_no_output_column(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    job = write_translation(here, 'glossary = "terms.tsv"\ncontext = 1\n')
    done = batchkit("run", job, "--endpoint", simulate().url, "-o", "out")
    assert done.code == 0, done.err
    assert "output" not in package.read_results("out").column_names
    assert column("attempts") == [1] * 4


def test_a_translation_that_lost_something_is_told_what_and_fails_with_its_text(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    job = write_translation(here, 'glossary = "terms.tsv"\ncontext = 1\n[output]\nrepair = 1\n')
    running = simulate(faults={"prose": 1.0})
    assert batchkit("run", job, "--endpoint", running.url, "-o", "out").code == 1
    assert column("error_message") == [
        "of the source it lacks '{name}', '2018'",
        "of the source it lacks 'https://a.example/1'",
        "of the source it lacks '<b>', '</b>', 1 of 2 paragraphs",
        "of the source it lacks '1,234'",
    ]
    assert column("attempts") == [2] * 4
    assert all(column("content"))


def test_terms_and_the_rows_before_of_the_same_group_go_into_the_prompt(here: Path) -> None:
    job = write_translation(here, 'glossary = "terms.tsv"\ncontext = 2\ngroup = "doc"\n')
    given = open_input(load_spec(job))
    builder = given.rendering()
    raws = with_rows_before(given.source.scan(), builder.rows_before)
    requests = [first_of(builder.build(raw)) for raw in raws]
    assert [request.messages[1]["content"] for request in requests] == [
        f"Terms:\nbank = 银行\nText:\n{LINES[0]['en']}",
        f"Before:\n{LINES[0]['en']}\nText:\n{LINES[1]['en']}",
        f"Terms:\nbank = 银行\nText:\n{LINES[2]['en']}",
        f"Before:\n{LINES[2]['en']}\nText:\n{LINES[3]['en']}",
    ]
    assert len({str(request.messages[0]) for request in requests}) == 1
    assert [request.source for request in requests] == [line["en"] for line in LINES]


def test_rows_with_context_go_on_after_some_were_answered(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    """A row is asked with the rows before it, also where those were answered in an earlier run."""
    rows = [{"id": n, "doc": n // 7, "en": f"Sentence number {n}."} for n in range(40)]
    job = write_translation(here, 'context = 3\ngroup = "doc"\nglossary = "terms.tsv"\n', rows)
    marks = {f"Text:\nSentence number {n}.": "1301" for n in (3, 4, 17, 39)}
    first = simulate(marks=marks)
    assert batchkit("run", job, "--endpoint", first.url, "-o", "out").code == 1
    again = batchkit("run", job, "--endpoint", simulate().url, "-o", "out", "--retry-failed")
    assert again.code == 0, again.err
    assert column("attempts") == [2 if n in (3, 4, 17, 39) else 1 for n in range(40)]


def test_a_changed_glossary_asks_only_rows_with_that_term(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    url = simulate().url
    job = write_translation(here, 'glossary = "terms.tsv"\ncontext = 1\n')
    assert batchkit("run", job, "--endpoint", url, "-o", "out").code == 0
    (here / "terms.tsv").write_text("bank\t岸\n", "utf-8")
    refused = batchkit("run", job, "--endpoint", url, "-o", "out")
    assert "out was begun with another glossary: 2 changed; 2 to ask" in refused.err


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('glossary = "terms.tsv"\n',
         "translate.context: is missing; the prompt uses {{ translate.context }}"),
        ("context = 21\n", "translate.context: expected 0 to 20, got 21"),
        ('check = ["url"]\n', f"translate.check: expected kinds out of {KINDS}; got 'url'"),
        ('[labels]\nvalues = ["a"]\n', "translate: stands beside labels; keep one"),
        ('[output.schema]\ntype = "object"\n', "translate: stands beside output.schema; keep one"),
    ],
)  # fmt: skip
def test_a_translation_job_that_does_not_fit_together_is_refused(
    batchkit: Command, here: Path, text: str, fault: str
) -> None:
    job = write_translation(here, text)
    done = batchkit("check", job)
    assert (done.code, done.err) == (2, f"{job}: {fault}\n")


def test_a_glossary_that_no_prompt_uses_is_refused(batchkit: Command, here: Path) -> None:
    job = write_job(here, '[translate]\ntext = "text"\nglossary = "terms.tsv"\n', CITIES)
    assert batchkit("check", job).err == (
        f"{job}: translate.glossary: the prompt does not use it; "
        "put {{ translate.glossary }} into it\n"
    )


def test_a_row_without_its_text_is_named(batchkit: Command, here: Path) -> None:
    rows: list[dict[str, Any]]
    rows = [*LINES, {"id": "c", "doc": "c"}, {"id": "d", "en": " "}, {"id": "e", "en": 5}]
    job = write_translation(here, 'glossary = "terms.tsv"\ncontext = 1\n', rows)
    *lines, _ = batchkit("check", job).err.splitlines()
    assert [line.removeprefix(f"{here}/") for line in lines] == [
        "in.jsonl:5: translate.text: column 'en' is missing; the row has id, doc",
        "in.jsonl:6: translate.text: expected text in column 'en', got blank text",
        "in.jsonl:7: translate.text: expected text in column 'en', got a number",
    ]


CHOICE = '[labels]\nvalues = ["Oslo", "Rome"]\n'
EXAMPLES = '[examples]\nfile = "ex.jsonl"\noutput = "k"\ncount = 2\n'


def write_examples(here: Path, count: int = 5) -> None:
    rows = [{"text": f"Text {n}", "k": "Oslo" if n % 2 else "Rome"} for n in range(count)]
    write_rows(here / "ex.jsonl", rows)


def test_fixed_examples_are_a_prefix_that_rows_share_and_never_answer_the_row(here: Path) -> None:
    write_examples(here)
    rows = [{"id": n, "text": f"Text {n}"} for n in (7, 8, 1)]
    first, second, leak = rendered(write_job(here, EXAMPLES + CHOICE, rows))
    assert first.messages[:-1] == second.messages[:-1]
    assert [message["content"] for message in first.messages[1:]] == [
        "Text 0", "Rome", "Text 1", "Oslo", "Text 7",
    ]  # fmt: skip
    assert [message["content"] for message in leak.messages[1:]] == [
        "Text 0", "Rome", "Text 2", "Rome", "Text 1",
    ]  # fmt: skip
    assert first.messages[0] == leak.messages[0]


def test_a_job_with_the_nearest_examples_runs_and_goes_on(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_examples(here, 50)
    rows = [{"id": n, "text": f"Text {n} or so"} for n in range(30)]
    job = write_job(here, f'{EXAMPLES}choose = "nearest"\n{CHOICE}', rows)
    (turns,) = [r.messages[1:-1] for r in rendered(job) if r.row == 7]
    assert turns[-2:] == [
        {"role": "user", "content": "Text 7"},
        {"role": "assistant", "content": "Oslo"},
    ]
    first = simulate(marks={f"Text {n} or": "1301" for n in (3, 29)})
    assert batchkit("run", job, "--endpoint", first.url, "-o", "out").code == 1
    again = batchkit("run", job, "--endpoint", simulate().url, "-o", "out", "--retry-failed")
    assert again.code == 0, again.err
    path = here / "ex.jsonl"
    path.write_text(path.read_text().replace('7", "k": "Oslo', '7", "k": "Rome'))
    refused = batchkit("run", job, "--endpoint", simulate().url, "-o", "out")
    assert "out was begun with another examples: " in refused.err


def test_translated_examples_are_known_by_their_text_and_bring_their_terms(here: Path) -> None:
    job = write_translation(here, 'glossary = "terms.tsv"\ncontext = 1\n' + EXAMPLES)
    write_rows(here / "ex.jsonl", [{"en": line["en"], "k": "译文"} for line in LINES])
    given = open_input(load_spec(job))
    builder = given.rendering()
    raws = with_rows_before(given.source.scan(), builder.rows_before)
    second = [first_of(builder.build(raw)) for raw in raws][1]
    assert [message["content"] for message in second.messages[1:]] == [
        f"Terms:\nbank = 银行\nText:\n{LINES[0]['en']}", "译文",
        f"Terms:\nbank = 银行\nText:\n{LINES[2]['en']}", "译文",
        f"Before:\n{LINES[0]['en']}\nText:\n{LINES[1]['en']}",
    ]  # fmt: skip


def test_examples_without_a_prompt_or_a_file_are_refused(batchkit: Command, here: Path) -> None:
    write_rows(here / "in.jsonl", [{"prompt": "hi"}])
    job = here / "job.toml"
    job.write_text(f'input = "in.jsonl"\nmodel = "glm-4-plus"\n{EXAMPLES}', "utf-8")
    assert "examples: stands without [prompt]" in batchkit("check", job).err
    job = write_job(here, EXAMPLES, CITIES)
    assert batchkit("check", job).err == (
        f"{job}: examples: {here}/ex.jsonl: there is no such file; check the path\n"
    )
