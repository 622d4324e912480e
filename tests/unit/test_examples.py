"""Which examples go into a prompt: the first or the nearest, never the row's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchkit.errors import UsageError
from batchkit.example_rows import read_examples
from batchkit.examples import Example, Examples, words
from batchkit.job import PromptSection
from batchkit.sections import ExamplesSection

SYSTEM = {"role": "system", "content": "You sort."}
POOL = [
    "my card has not arrived",
    "the machine swallowed my card",
    "how do I change my PIN",
    "我的银行卡还没有到",
    "怎样修改密码",
]


def chosen(text: str, count: int, *, nearest: bool) -> list[str]:
    examples = [Example(f"Q: {one}", f"A{n}", one) for n, one in enumerate(POOL)]
    row = {"role": "user", "content": f"Q: {text}"}
    messages = Examples(examples, count, nearest=nearest).insert([SYSTEM, row], text)
    assert (messages[0], messages[-1]) == (SYSTEM, row)
    turns = messages[1:-1]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * count
    return [turn["content"] for turn in turns[1::2]]


def test_fixed_examples_are_the_first_for_every_row() -> None:
    assert chosen("where is it", 2, nearest=False) == ["A0", "A1"]
    assert chosen("怎样", 2, nearest=False) == ["A0", "A1"]


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("Did the machine swallow it? The MACHINE!", ["A0", "A1"]),
        ("Change a PIN?", ["A0", "A2"]),
        ("银行卡丢了", ["A0", "A3"]),
        ("密码怎样改", ["A0", "A4"]),
        ("xyz", ["A1", "A0"]),
        ("?!", ["A1", "A0"]),
    ],
)
def test_the_nearest_stands_last_and_ties_go_by_the_files_order(
    text: str, answers: list[str]
) -> None:
    assert chosen(text, 2, nearest=True) == answers


@pytest.mark.parametrize("nearest", [False, True])
def test_an_example_that_asks_what_the_row_asks_is_left_out(nearest: bool) -> None:
    answers = chosen(" MY card  has not arrived", 2, nearest=nearest)
    assert "A0" not in answers
    assert answers[-1 if nearest else 0] == "A1"


def test_scripts_without_spaces_are_compared_by_pairs_of_characters() -> None:
    assert list(words("gpu显卡价 is 5元 ok")) == ["gpu", "显卡", "卡价", "is", "5", "元", "ok"]


def test_examples_without_a_word_can_be_chosen_too() -> None:
    marks = [Example(one, "A", one) for one in ("?", "!", "…")]
    turns = Examples(marks, 2, nearest=True).insert([SYSTEM], "a word")
    assert [turn["content"] for turn in turns[::2]] == ["!", "?", SYSTEM["content"]]


# --- the file ---


def read(rows: list[Any], **section: Any) -> list[Example]:
    Path("ex.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    given = msgspec.convert(
        {"file": "ex.jsonl", "output": "label", "count": 1} | section, ExamplesSection
    )
    prompt = PromptSection(user="Question: {{ text }}", system="{{ not_in_examples }}")
    return read_examples(Path("ex.jsonl"), given, prompt, None)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


MISSING = "is missing; the row has"
ROW = {"text": "hi", "label": "greeting", "a b": 'x"\\'}


@pytest.mark.parametrize(
    ("section", "asked", "answered"),
    [
        ({}, "Question: hi", "greeting"),
        ({"output": "{{ label | upper }}!"}, "Question: hi", "GREETING!"),
        ({"input": "text", "output": "a b"}, "hi", 'x"\\'),
        ({"input": "{{ text }}?", "output": "{{ row | tojson }}"}, "hi?", json.dumps(ROW)),
    ],
)
def test_a_question_is_made_as_a_rows_is_or_as_the_section_says(
    section: dict[str, Any], asked: str, answered: str
) -> None:
    assert read([ROW], **section) == [Example(asked, answered, asked)]


def test_examples_that_ask_the_same_count_once_and_no_more_are_read_than_are_needed() -> None:
    rows = [ROW, ROW, {"text": "HI ", "label": "x"}, {"text": "bye", "label": "y"}, "broken"]
    assert [one.answered for one in read(rows)] == ["greeting", "y"]


@pytest.mark.parametrize(
    ("rows", "section", "fault"),
    [
        ([ROW], {"count": 2}, "ex.jsonl: holds 1 different examples; examples.count is 2"),
        ([ROW, 5], {"choose": "nearest"}, "ex.jsonl:2: expected a JSON object, got a number"),
        ([{"text": "a"}], {}, f"ex.jsonl:1: examples.output:1: column 'label' {MISSING} text"),
        ([{"label": "a"}], {}, f"ex.jsonl:1: prompt.user:1: column 'text' {MISSING} label"),
        ([ROW], {"input": "{{ nope }}"},
         f"ex.jsonl:1: examples.input:1: column 'nope' {MISSING} text, label, a b"),
        ([ROW], {"output": "{{ label"}, "examples.output:1: "),
        ([{"text": "a", "label": " "}], {}, "ex.jsonl:1: examples.output: renders to nothing"),
    ],
)  # fmt: skip
def test_examples_that_cannot_be_used_are_refused_with_their_place(
    rows: list[Any], section: dict[str, Any], fault: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(rows, **section)
    assert str(caught.value).startswith(fault)
