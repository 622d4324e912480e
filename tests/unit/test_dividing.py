"""Rows as documents: what each chunk asks, what the plan counts, what a row cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit.document import Document
from batchkit.errors import ErrorKind, RowError, UsageError
from batchkit.inputs import Input, open_input
from batchkit.records import Request, Result
from batchkit.requests import digest
from batchkit.spec import load_spec
from tests.samples import new_result

HEAD = 'input = "rows.jsonl"\nid = "id"\nmodel = "small"\n'
SMALL = "[models.small]\ncontext = 200\nmax_output = 100\nconcurrency = 4\n"
PARAMS = "[params]\nmax_tokens = 50\n"
PROMPT = (
    f'[prompt]\nsystem = "S"\nuser = "{{{{ chunk }}}}/{{{{ chunks }}}}: {{{{ text }}}}"\n{PARAMS}'
)
SPLIT = '[split]\ncolumn = "text"\n'
TEXT = "One two three. " * 40  # 180 tokens


def given(here: Path, rows: list[dict[str, Any]], *parts: str) -> Input:
    lines = "".join(json.dumps({"id": n, **row}) + "\n" for n, row in enumerate(rows))
    (here / "rows.jsonl").write_text(lines)
    (here / "job.toml").write_text(HEAD + "".join(parts) + SMALL)
    return open_input(load_spec(here / "job.toml"))


def asked(here: Path, row: dict[str, Any], *parts: str) -> Request | Document:
    job = given(here, [row], *parts)
    (raw,) = job.source.scan()
    return job.rendering().build(raw)


def document(here: Path, row: dict[str, Any], *parts: str) -> Document:
    found = asked(here, row, *parts)
    assert isinstance(found, Document)
    return found


def users(found: Document) -> list[str]:
    return [chunk.messages[-1]["content"] for chunk in found.chunks]


def fault(here: Path, row: dict[str, Any], *parts: str) -> str:
    with pytest.raises(RowError) as caught:
        asked(here, row, *parts)
    return str(caught.value)


def test_a_text_that_does_not_fit_becomes_chunks_that_do(tmp_path: Path) -> None:
    found = document(tmp_path, {"text": TEXT}, PROMPT, SPLIT)
    assert [chunk.chunk for chunk in found.chunks] == [1, 2]
    assert users(found)[0].startswith("1/2: One two three.")
    assert "".join(user.partition(": ")[2] for user in users(found)) == TEXT
    assert all(chunk.prompt_tokens + 50 <= 200 for chunk in found.chunks)
    assert found.prompt_tokens == sum(chunk.prompt_tokens for chunk in found.chunks)


def test_a_row_that_fits_is_one_request_which_is_not_a_chunk(tmp_path: Path) -> None:
    found = asked(tmp_path, {"text": "short"}, PROMPT, SPLIT)
    assert isinstance(found, Request)
    assert (found.chunk, found.messages[-1]["content"]) == (None, "1/1: short")


def test_the_size_is_that_of_the_job_if_it_is_less_than_what_fits(tmp_path: Path) -> None:
    found = document(tmp_path, {"text": TEXT}, PROMPT, SPLIT, "tokens = 45\n")
    assert len(found.chunks) == 4  # of ten sentences
    larger = document(tmp_path, {"text": TEXT}, PROMPT, SPLIT, "tokens = 100000\n")
    assert len(larger.chunks) == 2


def test_room_is_left_for_an_answer_of_a_length_that_nobody_gave(tmp_path: Path) -> None:
    found = document(tmp_path, {"text": TEXT}, '[prompt]\nuser = "{{ text }}"\n', SPLIT)
    assert all(chunk.prompt_tokens + 50 <= 200 for chunk in found.chunks)


@pytest.mark.parametrize("text", ["x" * 3000, "字" * 1000, "one two " * 300])
def test_a_paragraph_longer_than_the_context_is_cut_and_not_lost(tmp_path: Path, text: str) -> None:
    found = document(tmp_path, {"text": text}, PROMPT, SPLIT)
    assert "".join(user.partition(": ")[2] for user in users(found)) == text
    assert all(chunk.prompt_tokens + 50 <= 200 for chunk in found.chunks)


@pytest.mark.parametrize("text", ["", "  \n", None])
def test_an_empty_document_is_one_request(tmp_path: Path, text: str | None) -> None:
    found = asked(tmp_path, {"text": text}, PROMPT, SPLIT)
    assert isinstance(found, Request)
    assert found.chunk is None


def test_the_whole_row_sees_the_chunk_in_the_place_of_the_column(tmp_path: Path) -> None:
    prompt = (
        "[prompt]\nuser = \"{{ row['text'] }}|{{ row['title'] }}\"\n[params]\nmax_tokens = 50\n"
    )
    found = document(tmp_path, {"text": TEXT, "title": "T"}, prompt, SPLIT)
    assert [user.endswith("|T") for user in users(found)] == [True, True]
    assert "".join(user.removesuffix("|T") for user in users(found)) == TEXT


def test_what_travels_along_is_the_documents(tmp_path: Path) -> None:
    job = given(tmp_path, [{"text": TEXT}], 'keep = ["text"]\n', PROMPT, SPLIT)
    (raw,) = job.source.scan()
    plain = job.rendering().build(raw)
    assert isinstance(plain, Document)
    assert {(chunk.custom_id, chunk.keep, chunk.metadata) for chunk in plain.chunks} == {
        ("0", None, None)
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"body": "x"}, "split: column 'text' is missing; the row has id, body"),
        ({"text": 7}, "split: column 'text': expected text, got a number"),
        ({"text": ["a"]}, "split: column 'text': expected text, got a list"),
    ],
)
def test_a_column_that_is_not_there_or_not_text_is_the_rows_fault(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    assert fault(tmp_path, row, PROMPT, SPLIT) == message


def test_a_column_that_a_columnar_file_lacks_is_refused_at_once(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "body": ["x"]}), tmp_path / "rows.parquet")
    (tmp_path / "job.toml").write_text(HEAD.replace("jsonl", "parquet") + PROMPT + SPLIT + SMALL)
    with pytest.raises(UsageError) as caught:
        open_input(load_spec(tmp_path / "job.toml"))
    assert str(caught.value) == (
        f"{tmp_path / 'job.toml'}: split.column: there is no column 'text'; "
        f"{tmp_path / 'rows.parquet'} has id, body"
    )


def test_a_prompt_that_leaves_no_room_says_so(tmp_path: Path) -> None:
    prompt = PROMPT.replace("max_tokens = 50", "max_tokens = 100").replace('"S"', f'"{"s " * 200}"')
    assert fault(tmp_path, {"text": TEXT}, prompt, SPLIT) == (
        "split: of the context of 200 (small) the prompt takes 129 and the answer 100: 0 are left "
        "for a chunk with 0 of overlap; shorten the prompt, or lower max_tokens"
    )


def test_a_changed_join_is_another_question(tmp_path: Path) -> None:
    ask = '[join]\nuser = "{{ title }} {{ answers }}"\n'
    row = {"text": TEXT, "title": "T"}
    found = [
        digest(document(tmp_path, row, PROMPT, SPLIT)),
        digest(document(tmp_path, row, PROMPT, SPLIT, ask)),
        digest(document(tmp_path, row, PROMPT, SPLIT, ask.replace("{{ title", "x {{ title"))),
        digest(document(tmp_path, {**row, "title": "U"}, PROMPT, SPLIT, ask)),
    ]
    assert len(set(found)) == 4


def answers(found: Document, *contents: str) -> list[Result]:
    return [new_result(content=content) for content in contents[: len(found.chunks)]]


def test_answers_are_joined_in_order_with_the_original_separators(tmp_path: Path) -> None:
    text = f"{'a b ' * 70}\n\n{'c d ' * 70}"
    found = document(tmp_path, {"text": text}, PROMPT, SPLIT)
    joined = found.join(answers(found, "eins\n", " zwei"))
    assert isinstance(joined, Result)
    assert joined.content == "eins \n\nzwei"


def test_a_last_request_sees_the_answers_and_the_row(tmp_path: Path) -> None:
    ask = (
        '[join]\nsystem = "J"\nuser = "{{ title }}:{% for a in answers %} <{{ a }}>{% endfor %}"\n'
    )
    found = document(tmp_path, {"text": TEXT, "title": "T"}, PROMPT, SPLIT, ask)
    assert found.last_tokens == 100  # two answers of 50 at most
    last = found.join(answers(found, "a", "b"))
    assert isinstance(last, Request)
    assert (last.chunk, last.params) == (3, {"max_tokens": 50})
    assert [message["content"] for message in last.messages] == ["J", "T: <a> <b>"]


def test_a_last_request_sees_outputs_as_data(tmp_path: Path) -> None:
    job = (
        '[prompt]\nuser = "{{ text }}"\n[params]\nmax_tokens = 30\n',
        SPLIT,
        '[join]\nuser = "{{ answers[0].n + answers[1].n }}"\n',
        '[output]\nschema = { type = "object" }\n',
    )
    found = document(tmp_path, {"text": TEXT}, *job)
    last = found.join([new_result(output=f'{{"n":{n}}}') for n in range(len(found.chunks))])
    assert isinstance(last, Request)
    assert last.messages[-1]["content"] == "1"
    assert "JSON Schema" in last.messages[0]["content"]


def test_answers_that_cannot_be_joined_fail_the_row(tmp_path: Path) -> None:
    ask = '[join]\nuser = "{{ answers[7] }}"\n'
    found = document(tmp_path, {"text": TEXT}, PROMPT, SPLIT, ask)
    joined = found.join(answers(found, "a", "b"))
    assert isinstance(joined, Result)
    assert (joined.status, joined.error_kind) == ("failed", ErrorKind.INVALID_REQUEST)
    assert joined.error_message == "join: join.user:1: a value has no such part"


def test_a_column_that_only_the_join_needs_is_missed_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    ask = '[join]\nuser = "{{ title }} {{ answers }}"\n'
    assert fault(tmp_path, {"text": TEXT}, PROMPT, SPLIT, ask) == (
        "join: column 'title' is missing; the row has id, text"
    )


def test_votes_are_the_same_request_several_times(tmp_path: Path) -> None:
    prompt = '[prompt]\nuser = "{{ text }}"\n'
    found = document(tmp_path, {"text": "x"}, prompt, "[output]\nvotes = 3\n")
    assert (found.word, [chunk.chunk for chunk in found.chunks]) == ("vote", [1, 2, 3])
    assert len({digest(chunk) for chunk in found.chunks}) == 1
    joined = found.join([new_result(content=content) for content in ("a", "b", "B")])
    assert isinstance(joined, Result)
    assert (joined.content, joined.agreement) == ("b", 2 / 3)


LINES = "{% for r in rows %}{{ r.text }}\\n{% endfor %}"
GROUP = f'[group]\nby = "doc"\n[prompt]\nuser = "{LINES}"\n{PARAMS}'


def grouped(here: Path, texts: list[Any], *parts: str) -> Request | Document:
    rows = [{"doc": "d", "text": text} for text in texts]
    job = given(here, rows, GROUP, *parts)
    (raw,) = job.source.scan()
    return job.rendering().build(raw)


def test_a_group_is_one_request_with_its_rows(tmp_path: Path) -> None:
    found = grouped(tmp_path, ["a", "b"])
    assert isinstance(found, Request)
    assert (found.custom_id, found.messages[-1]["content"]) == ("0", "a\nb\n")


def test_a_group_that_does_not_fit_is_cut_between_rows(tmp_path: Path) -> None:
    texts = [f"{n} {'word ' * 15}".strip() for n in range(10)]
    found = grouped(tmp_path, texts, SPLIT)
    assert isinstance(found, Document)
    assert "".join(users(found)) == "".join(f"{text}\n" for text in texts)
    joined = found.join([new_result(content=f"answer {c.chunk}") for c in found.chunks])
    assert isinstance(joined, Result)
    assert joined.content == "\n".join(f"answer {chunk.chunk}" for chunk in found.chunks)


def test_a_row_of_a_group_that_is_longer_than_a_chunk_is_cut_itself(tmp_path: Path) -> None:
    texts = ["short", TEXT, None, "end"]
    found = grouped(tmp_path, texts, SPLIT)
    assert isinstance(found, Document)
    words = " ".join(" ".join(users(found)).split())
    assert words == " ".join(f"short {TEXT} end".split())
    assert all(chunk.prompt_tokens + 50 <= 200 for chunk in found.chunks)


def test_a_row_of_a_group_without_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="split: column 'text': expected text, got a number"):
        grouped(tmp_path, ["a", 7], SPLIT)


def test_an_unchanged_row_asks_the_same_twice(tmp_path: Path) -> None:
    job = given(tmp_path, [{"text": TEXT}], PROMPT, SPLIT, "overlap = 5\n")
    (raw,) = job.source.scan()
    first, second = (job.rendering().build(raw) for _ in range(2))
    assert digest(first) == digest(second)
    assert isinstance(first, Document)
    changed = msgspec.structs.replace(first, chunks=first.chunks[::-1])
    assert digest(changed) != digest(first)
