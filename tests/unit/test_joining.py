"""Answers of chunks as one: in order, by field, by vote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit import joining
from batchkit.errors import ErrorKind
from batchkit.normal import normal
from batchkit.records import Result
from tests.samples import new_result


def valid(text: str) -> tuple[str | None, str]:
    return text, ""


def outputs(*values: dict[str, Any]) -> list[Result]:
    return [new_result(output=json.dumps(value)) for value in values]


def said(*contents: str | None) -> list[Result]:
    return [new_result(content=content, response_id=content) for content in contents]


def test_texts_are_joined_with_the_white_space_that_stood_between_them() -> None:
    joined = joining.in_order(said(" Eins.\n", "Zwei.", None, "Vier."), ["\n\n", " ", ""])
    assert (joined.content, joined.output, joined.response_id) == (
        "Eins.\n\nZwei. Vier.",
        None,
        None,
    )


def test_a_text_of_which_one_part_was_cut_is_cut() -> None:
    answers = [new_result(finish_reason="length"), new_result()]
    assert joining.in_order(answers, [""]).finish_reason == "length"
    assert joining.in_order(answers[1:], []).finish_reason == "stop"


def test_the_first_value_that_says_something_counts() -> None:
    joined = joining.first(
        [
            {"a": None, "b": "", "c": [], "d": 0, "e": None},
            {"a": "x", "b": "y", "c": [1], "d": 7, "e": None},
            {"a": "z", "b": "z", "c": [2], "d": 8, "f": False},
        ]
    )
    assert joined == {"a": "x", "b": "y", "c": [1], "d": 0, "e": None, "f": False}


def test_a_field_that_nobody_fills_stays_empty_rather_than_null() -> None:
    assert joining.first([{"a": None, "b": ""}, {"a": [], "b": None}]) == {"a": [], "b": ""}


def test_lists_are_united_and_objects_field_by_field() -> None:
    joined = joining.union(
        [
            {"names": ["A", "B"], "term": {"from": None, "tags": ["x"]}, "law": None},
            {"names": None, "term": None, "law": "NY"},
            {"names": ["B", "C"], "term": {"from": "2020", "tags": ["x", "y"]}, "law": "DE"},
        ]
    )
    assert joined == {
        "names": ["A", "B", "C"],
        "term": {"from": "2020", "tags": ["x", "y"]},
        "law": "NY",
    }


def test_equal_objects_of_a_united_list_are_one_whatever_the_order_of_their_keys() -> None:
    joined = joining.union([{"p": [{"a": 1, "b": 2}]}, {"p": [{"b": 2, "a": 1}, {"a": 1}]}])
    assert joined == {"p": [{"a": 1, "b": 2}, {"a": 1}]}


def test_a_joined_output_is_also_the_content() -> None:
    joined = joining.merged(outputs({"a": [1]}, {"a": [2]}), joining.union, valid)
    assert (joined.status, joined.content, joined.output) == ("ok", '{"a":[1,2]}', '{"a":[1,2]}')


def test_a_joined_output_that_does_not_validate_fails_the_row() -> None:
    joined = joining.merged(
        outputs({"a": [1]}, {"a": [2]}), joining.union, lambda _: (None, "long")
    )
    assert (joined.status, joined.error_kind) == ("failed", ErrorKind.INVALID_OUTPUT)
    assert (joined.error_message, joined.content) == ("join: long", '{"a":[1,2]}')


@pytest.mark.parametrize(
    ("contents", "winner", "agreement"),
    [
        (["yes", "no", "Yes"], "yes", 2 / 3),
        (["no", "ＹＥＳ", " yes\n"], "ＹＥＳ", 2 / 3),
        (["a", "b"], "a", 0.5),
        (["b", "a", "a b", "A  B", "b"], "b", 0.4),
        (["x", "x"], "x", 1.0),
    ],
)
def test_most_votes_win_and_of_as_many_the_first(
    contents: list[str], winner: str, agreement: float
) -> None:
    chosen = joining.majority(said(*contents))
    assert (chosen.content, chosen.response_id, chosen.agreement) == (winner, winner, agreement)


def test_outputs_are_voted_on_not_the_texts_around_them() -> None:
    answers = [
        new_result(content="no", output='{"a":2}'),
        new_result(content="Sure: 1", output='{"a":1}'),
        new_result(content='{"a": 1}', output='{"a":1}'),
    ]
    assert joining.majority(answers).content == "Sure: 1"


@given(st.lists(st.text(max_size=4), min_size=1, max_size=9))
def test_a_vote_gives_one_of_the_answers_with_its_share(contents: list[str]) -> None:
    chosen = joining.majority(said(*contents))
    votes = [normal(content) for content in contents]
    share = votes.count(normal(chosen.content or "")) / len(votes)
    assert chosen.content in contents
    assert chosen.agreement == share == max(map(votes.count, votes)) / len(votes)
