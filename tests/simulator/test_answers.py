"""Answers follow from the request alone."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest

from batchkit.models import builtin_models
from batchkit.simulator.answers import Answer, answer
from batchkit.simulator.seeds import seeded
from batchkit.simulator.validate import Call, read_call
from batchkit.tokens import estimate
from tests.simulator.samples import raw

TABLE = builtin_models()
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["a", "b", "c"]}, "note": {"type": "string"}},
    "required": ["label", "note"],
    "additionalProperties": False,
}
FENCED = "Answer as JSON.\n```json schema\n" + msgspec.json.encode(SCHEMA).decode() + "\n```\nNow."


def ask(chars: int | None = None, *, prose: bool = False, seed: int = 0, **body: Any) -> Answer:
    call = read_call(raw(**body), TABLE)
    assert isinstance(call, Call)
    return answer(call, seeded(seed, call.digest), chars, prose=prose)


def test_the_same_request_gets_the_same_answer_and_another_gets_another() -> None:
    assert ask(text="a") == ask(text="a")
    answers = {ask(text=str(i)).content for i in range(500)}
    assert len(answers) == 500


def test_the_seed_changes_the_answer() -> None:
    assert ask(text="a", seed=1) != ask(text="a", seed=2)


def test_lengths_differ_and_tokens_are_those_of_the_text() -> None:
    answers = [ask(text=str(i)) for i in range(200)]
    assert all(a.completion_tokens == estimate(a.content) for a in answers)
    assert {a.finish_reason for a in answers} == {"stop"}
    counts = sorted(len(a.content.split()) for a in answers)
    assert counts[0] < 15 < counts[100] < 40 < counts[-1]


def test_a_text_that_is_to_be_kept_comes_back_also_after_a_correction() -> None:
    turns = [
        {"role": "system", "content": "Keep of the text as they are: URLs."},
        {"role": "user", "content": "An example, longer than the text"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "See http://a.example"},
    ]
    corrected = [
        *turns,
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "This answer cannot be used: it lacks a URL."},
    ]
    for messages in (turns, corrected):
        assert ask(messages=messages).content == "See http://a.example"


def test_one_of_the_labels_in_the_prompt_is_the_answer() -> None:
    listed = "One of these:\n```labels\na b\nc\n```"
    assert {ask(text=f"{listed} {n}").content for n in range(50)} == {"a b", "c"}


def test_some_of_the_labels_are_the_answer_as_json() -> None:
    listed = "Some of these:\n```labels\na b\nc\n```"
    form = {"type": "json_object"}
    answers = {ask(text=f"{listed} {n}", response_format=form).content for n in range(99)}
    assert {frozenset(msgspec.json.decode(answer)["labels"]) for answer in answers} == {
        frozenset(), frozenset({"a b"}), frozenset({"c"}), frozenset({"a b", "c"}),
    }  # fmt: skip


@pytest.mark.parametrize("most", [1, 2, 10])
def test_max_tokens_cuts_the_answer(most: int) -> None:
    whole, cut = ask(text="a"), ask(text="a", max_tokens=most)
    assert cut.finish_reason == "length"
    assert cut.completion_tokens <= most
    assert cut.content
    assert whole.finish_reason == "stop"


@pytest.mark.parametrize("chars", [1, 30, 1560, 100_000])
def test_a_fixed_size_is_exact(chars: int) -> None:
    assert len(ask(chars, text="a").content) == chars


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": FENCED}, {"role": "user", "content": "x"}]},
        {"text": FENCED},
        {"text": FENCED, "response_format": {"type": "json_object"}},
        {
            "text": "x",
            "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        },
    ],
)
def test_a_schema_in_the_request_gets_a_valid_instance(body: dict[str, Any]) -> None:
    content = ask(**body).content
    jsonschema_rs.validate(SCHEMA, msgspec.json.decode(content))


def test_a_json_object_without_a_schema_holds_the_answer() -> None:
    value = msgspec.json.decode(ask(text="x", response_format={"type": "json_object"}).content)
    assert list(value) == ["answer"]


@pytest.mark.parametrize("schema", ["{", "false", "[" * 10_000, '{"type": "robot"}'])
def test_a_schema_without_an_instance_gets_words(schema: str) -> None:
    content = ask(text=f"```json schema\n{schema}\n```").content
    assert content.startswith("answer ")


@pytest.mark.parametrize("kind", [["json_object"], {}, 3])
def test_an_odd_response_format_gets_words(kind: Any) -> None:
    assert ask(text="x", response_format={"type": kind}).content.startswith("answer ")


def test_prose_ignores_what_was_asked_for() -> None:
    assert ask(text=FENCED, prose=True).content.startswith("answer ")
