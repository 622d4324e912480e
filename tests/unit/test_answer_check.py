"""What becomes of an answer: settled, asked for again with a reason or with room, or given up."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit import verdicts
from batchkit.answer_check import AnswerCheck, Form
from batchkit.life import Answered
from batchkit.records import Completion, Failure, Request, Usage
from batchkit.schema import OutputSchema

HI = [{"role": "user", "content": "hi"}]
SCHEMA = OutputSchema.load({"type": "object", "required": ["a"]}, "p")
FORM = Form(lambda text, _source: SCHEMA.read(text), SCHEMA.correction)
CUT = '{"a": [1, 2'
NOT_CLOSED = "not JSON: an object is not closed"
ROOM = 100


def request(**params: Any) -> Request:
    return Request(0, "r-0", "m", HI, params, 6)


def read(
    content: str | None,
    finish_reason: str = "stop",
    *,
    used: int = 5,
    asked: int = 0,
    **params: Any,
) -> Answered:
    check = AnswerCheck(FORM, 2, lambda _model, prompt: ROOM - prompt)
    completion = Completion(content, finish_reason, Usage(10, 0, used))
    return check.read(request(**params), completion, asked)


def test_a_valid_answer_settles_also_one_that_was_cut_behind_it() -> None:
    for finish_reason in ("stop", "length"):
        assert read('{"b": 2, "a": 1} and', finish_reason) == Answered(output='{"a":1,"b":2}')


def test_an_answer_of_another_shape_is_asked_for_again_with_the_reason() -> None:
    answered = read("[1]", temperature=0)
    assert answered.again is not None
    assert answered.again.params == {"temperature": 0}
    assert answered.again.messages == [
        *HI,
        {"role": "assistant", "content": "[1]"},
        {
            "role": "user",
            "content": 'This answer cannot be used: at $: [1] is not of type "object". '
            "Answer again with the corrected JSON object and nothing else.",
        },
    ]


def test_no_more_than_a_part_of_a_huge_answer_is_sent_back() -> None:
    answered = read("x" * 2_000_000)
    assert answered.again is not None
    assert answered.again.messages[1] == {"role": "assistant", "content": "x" * 8000}


@pytest.mark.parametrize(
    ("used", "params", "room"),
    [
        (20, {}, {"max_tokens": 40}),
        (20, {"max_tokens": 20}, {"max_tokens": 40}),
        (20, {"max_completion_tokens": 20}, {"max_completion_tokens": 40}),
        (60, {"max_tokens": 60}, {"max_tokens": 90}),
        (0, {}, {"max_tokens": 90}),
    ],
)
def test_an_answer_that_was_cut_gets_twice_the_room_and_no_scolding(
    used: int, params: dict[str, Any], room: dict[str, Any]
) -> None:
    assert read(CUT, "length", used=used, **params) == Answered(again=request(**params | room))


@pytest.mark.parametrize(("used", "params"), [(90, {}), (88, {"max_tokens": 90}), (95, {})])
def test_an_answer_that_had_all_the_room_there_is_is_not_asked_for_again(
    used: int, params: dict[str, Any]
) -> None:
    message = f"cut off, and m has no more room for it: {NOT_CLOSED}"
    failure = Failure(verdicts.INVALID_OUTPUT, message)
    assert read(CUT, "length", used=used, **params) == Answered(failure=failure)


def test_after_the_last_try_the_row_fails_with_the_reason() -> None:
    failure = Failure(verdicts.INVALID_OUTPUT, NOT_CLOSED)
    for finish_reason in ("stop", "length"):
        assert read(CUT, finish_reason, asked=2) == Answered(failure=failure)


def test_a_call_of_a_tool_is_no_answer_to_check() -> None:
    assert read(None, "tool_calls") == Answered()


def test_a_cut_answer_that_room_would_not_help_is_corrected() -> None:
    form = FORM._replace(correction="One word.", takes_room=lambda text: text[0] == "{")
    check = AnswerCheck(form, 1, lambda _model, _prompt: ROOM)
    answered = check.read(request(max_tokens=5), Completion("So", "length", Usage(10, 0, 5)), 0)
    assert answered.again is not None
    assert answered.again.params == {"max_tokens": 5}
    assert answered.again.messages[-1]["content"].endswith("in the answer. One word.")
    cut = check.read(request(max_tokens=5), Completion(CUT, "length", Usage(10, 0, 5)), 0)
    assert cut == Answered(again=request(max_tokens=10))
