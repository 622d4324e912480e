"""What the service refuses, with which code."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from batchkit.models import builtin_models
from batchkit.simulator.provider_errors import ErrorAnswer
from batchkit.simulator.validate import Call, last_text, read_call
from tests.simulator.samples import FLASH, PLUS, body, raw

TABLE = builtin_models()


def refused(request: bytes) -> ErrorAnswer:
    result = read_call(request, TABLE)
    assert isinstance(result, ErrorAnswer)
    return result


def accepted(request: bytes) -> Call:
    result = read_call(request, TABLE)
    assert isinstance(result, Call)
    return result


@pytest.mark.parametrize(
    "request_",
    [b"", b"{", b"[]", b"1", b"\xff", b'"\\ud800"', b"[" * 100_000, b"NaN", b'{"a": 1e999}'],
)
def test_what_is_not_an_object_is_refused(request_: bytes) -> None:
    assert refused(request_) == ErrorAnswer("1210", 400, "API 调用参数有误，请检查文档")


def test_a_missing_field_is_named() -> None:
    assert refused(b"{}") == ErrorAnswer("1213", 400, "未正常接收到model参数")
    assert refused(raw(messages=None)) == ErrorAnswer("1213", 400, "未正常接收到messages参数")


@pytest.mark.parametrize("model", ["glm-9", "GLM-4-Plus", "", " glm-4-plus"])
def test_an_unknown_model_is_refused_and_names_are_lower_case(model: str) -> None:
    assert refused(raw(model=model)) == ErrorAnswer("1211", 400, "模型不存在，请检查模型代码。")


@pytest.mark.parametrize(
    "messages",
    [
        [],
        {},
        "hello",
        [None],
        [{}],
        [{"role": "user"}],
        [{"role": "user", "content": 1}],
        [{"role": "robot", "content": "x"}],
        [{"role": ["user"], "content": "x"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "user", "content": ["x"]}],
        [{"role": "system", "content": "x"}],
        [{"role": "assistant", "content": "x"}],
        [{"role": "system", "content": "x"}, {"role": "assistant", "content": "y"}],
        [{"role": "assistant", "content": None}, {"role": "user", "content": "x"}],
        [{"role": "tool", "content": "x"}],
    ],
)
def test_messages_that_are_malformed_or_ask_for_nothing_are_refused(messages: Any) -> None:
    assert refused(raw(messages=messages)) == ErrorAnswer(
        "1214", 400, "messages 参数非法。请检查文档。"
    )


def test_text_parts_tool_calls_and_tool_answers_are_accepted() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "first"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]
    assert accepted(raw(messages=messages)).messages == messages


@pytest.mark.parametrize(("model", "most"), [(FLASH, 16384), (PLUS, 4095)])
@pytest.mark.parametrize("given", [0, -1, 1e9, 20_000, "10", True, 1.5])
def test_max_tokens_outside_the_models_range_is_told_the_range(
    model: str, most: int, given: Any
) -> None:
    assert refused(raw(model=model, max_tokens=given)) == ErrorAnswer(
        "1210", 400, f"max_tokens参数非法：限制数值范围[1,{most}]"
    )
    assert accepted(raw(model=model, max_tokens=most)).max_tokens == most


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_sampling_lies_between_0_and_1_with_two_decimals(name: str) -> None:
    def sampled(value: Any) -> bytes:
        return msgspec.json.encode(body() | {name: value})

    for value in (0, 1, 0.01, 0.07, 0.29, 0.57, 0.99):
        accepted(sampled(value))
    for outside in (-0.01, 1.01, "0.5", True):
        assert refused(sampled(outside)) == ErrorAnswer(
            "1210", 400, f"{name}参数非法：限制数值范围[0,1]"
        )
    assert refused(sampled(0.333)) == ErrorAnswer("1210", 400, f"{name}参数非法：限制小数点[2]位")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", "short"),
        ("request_id", "x" * 65),
        ("request_id", 123456),
        ("user_id", "x" * 129),
        ("stream", "yes"),
        ("do_sample", 0),
        ("response_format", "json_object"),
    ],
)
def test_other_malformed_fields_are_named(field: str, value: Any) -> None:
    assert refused(raw(**{field: value})) == ErrorAnswer(
        "1214", 400, f"{field} 参数非法。请检查文档。"
    )


def test_unknown_fields_are_ignored() -> None:
    accepted(raw(n=3, logprobs=True, store="x", tool_choice="none", stop="x"))


def test_a_prompt_longer_than_the_context_is_refused() -> None:
    text = "x" * 30_000
    assert refused(raw(text, model="glm-4-airx")) == ErrorAnswer("1261", 400, "Prompt 超长")
    assert accepted(raw(text)).prompt_tokens == 9005


def test_the_digest_is_of_what_shapes_the_answer() -> None:
    first = accepted(raw(temperature=0.5)).digest
    retried = body(temperature=0.5, request_id="another-1", user_id="user-77", stream=True)
    reordered = dict(reversed(retried.items()))
    assert accepted(msgspec.json.encode(reordered)).digest == first
    assert accepted(raw(temperature=0.6)).digest != first
    assert accepted(raw(temperature=0.5, model=PLUS)).digest != first


def test_the_last_text_is_that_of_the_last_message() -> None:
    parts = [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": parts}]
    assert last_text(accepted(raw(messages=messages))) == "b\nc"
