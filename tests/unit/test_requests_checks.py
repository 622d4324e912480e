"""What the provider would refuse is a fault before anything is sent; what it takes is passed on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_requests import HI, build, fault

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = [*HI, {"role": "assistant", "tool_calls": [CALL]}]


def glm(name: str, value: Any) -> Any:
    return build({"prompt": "hi", name: value}).params[name]


def openai(name: str, value: Any) -> Any:
    return build({"prompt": "hi", "model": "local", name: value}).params[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0),
        ("temperature", 1),
        ("temperature", 0.123),
        ("top_p", 0.01),
        ("top_p", 1.0),
        ("max_tokens", 1),
        ("max_tokens", 4095),
        ("do_sample", False),
        ("stop", "END"),
        ("stop", ["END"]),
        ("stop", []),
        ("tools", []),
        ("tools", [{"type": "function", "function": {"name": "a-b_C9", "parameters": {}}}] * 128),
        ("tools", [{"type": "web_search", "web_search": {"enable": True}}]),
        ("response_format", {"type": "json_object"}),
        ("request_id", "123456"),
        ("user_id", "u" * 128),
        ("seed", -1),
        ("n", 1),
        ("stream", False),
        ("watermark_enabled", True),
        ("tool_choice", "auto"),
    ],
)
def test_glm_takes(name: str, value: Any) -> None:
    assert glm(name, value) == value


def test_a_whole_number_that_a_column_made_a_fraction_is_an_integer_again() -> None:
    assert [repr(glm(name, 1.0)) for name in ("max_tokens", "seed", "n")] == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", 1.01, "expected a number from 0 to 1, got 1.01"),
        ("temperature", -0.1, "expected a number from 0 to 1, got -0.1"),
        ("temperature", "0.5", "expected a number from 0 to 1, got '0.5'"),
        ("temperature", True, "expected a number from 0 to 1, got True"),
        ("temperature", float("nan"), "expected a number from 0 to 1, got nan"),
        ("top_p", 0, "expected a number above 0 up to 1, got 0"),
        ("max_tokens", 0, "expected an integer from 1 to 4095 (glm-4-plus), got 0"),
        ("max_tokens", 4096, "expected an integer from 1 to 4095 (glm-4-plus), got 4096"),
        ("max_tokens", 1.5, "expected an integer from 1 to 4095 (glm-4-plus), got 1.5"),
        ("max_tokens", True, "expected an integer from 1 to 4095 (glm-4-plus), got True"),
        ("max_tokens", 1e300, "expected an integer from 1 to 4095 (glm-4-plus), got 1e+300"),
        ("do_sample", 1, "expected true or false, got 1"),
        ("stop", ["a", "b"], "has 2 strings; the service takes one"),
        ("stop", [1], "expected a string or a list of one string"),
        ("stop", "", "expected a string or a list of one string"),
        ("tools", [{"type": "web_search"}] * 129, "has 129 tools; the service takes 128"),
        ("tools", {}, "expected a list, got an object"),
        ("tools", "[", "expected JSON, got text that is not JSON: input data was truncated"),
        ("response_format", {"type": "xml"}, None),
        (
            "response_format",
            {"type": "json_schema", "json_schema": {}},
            "the service ignores json_schema; use [output] schema in a job file",
        ),
        ("request_id", "12345", "expected a string of 6 to 64 characters, got '12345'"),
        ("user_id", 123456, "expected a string of 6 to 128 characters, got 123456"),
        ("seed", 1.5, "expected an integer, got 1.5"),
        ("n", 2, "expected 1, one answer a request, got 2"),
        ("stream", True, "expected false, since answers are read whole, got True"),
    ],
)
def test_glm_refuses(name: str, value: Any, message: str | None) -> None:
    expected = message or ".type: expected text or json_object, got 'xml'"
    found = fault({"prompt": "hi", name: value})
    assert found == (f"{name}: {expected}" if message else f"{name}{expected}")


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ("x", "tools[0].type: expected one of function, retrieval, web_search, mcp, got None"),
        (
            {"type": ["function"]},
            "tools[0].type: expected one of function, retrieval, web_search, mcp, got ['function']",
        ),
        (
            {"type": "function", "function": {"name": "a b"}},
            "tools[0].function.name: expected 1 to 64 of A-Z a-z 0-9 _ -, got 'a b'",
        ),
        (
            {"type": "function"},
            "tools[0].function.name: expected 1 to 64 of A-Z a-z 0-9 _ -, got None",
        ),
    ],
)
def test_a_bad_tool_is_a_fault(tool: Any, message: str) -> None:
    assert fault({"prompt": "hi", "tools": [tool]}) == message


def test_openai_is_checked_lightly() -> None:
    given = {
        "temperature": 2,
        "max_tokens": 100_000,
        "max_completion_tokens": 5,
        "stop": ["a", "b"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x"}},
        "logit_bias": {"1": None},
    }
    assert {name: openai(name, value) for name, value in given.items()} == given
    row = {"prompt": "hi", "model": "local"}
    assert [fault(row | bad) for bad in ({"temperature": 2.1}, {"max_tokens": 0}, {"n": 3})] == [
        "temperature: expected a number from 0 to 2, got 2.1",
        "max_tokens: expected an integer of at least 1, got 0",
        "n: expected 1, one answer a request, got 3",
    ]


def test_a_value_in_a_message_is_bounded() -> None:
    found = fault({"prompt": "hi", "temperature": "secret " * 1000})
    assert len(found) == len("temperature: expected a number from 0 to 1, got ") + 60


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "s"}, *HI, {"role": "assistant", "content": "a"}, *HI],
        [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        [*ASKED, {"role": "tool", "tool_call_id": "c1", "content": "42"}],
        [{"role": "user", "content": "hi", "name": "n"}],
    ],
)
def test_glm_takes_messages(messages: list[Any]) -> None:
    assert build({"messages": messages}).messages == messages


def test_nulls_and_empty_calls_are_left_out_of_messages() -> None:
    row = [
        {"role": "user", "content": "hi", "tool_calls": []},
        {"role": "assistant", "content": None, "tool_calls": [CALL | {"index": None}]},
    ]
    before = repr(row)
    assert build({"messages": row}).messages == ASKED
    assert repr(row) == before


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: is empty; at least one message is needed"),
        ({}, "messages: expected a list, got an object"),
        (
            "hi",
            "messages: expected a list, got text that is not JSON: invalid character (byte 0)",
        ),
        ("{}", "messages: expected a list, got an object"),
        (["hi"], "messages[0]: expected an object, got a string"),
        (
            [*HI, {"content": "x"}],
            "messages[1].role: expected one of assistant, system, tool, user; got none",
        ),
        (
            [{"role": "developer", "content": "x"}],
            "messages[0].role: expected one of assistant, system, tool, user; got 'developer'",
        ),
        (
            [{"role": ["user"], "content": "x"}],
            "messages[0].role: expected one of assistant, system, tool, user; got ['user']",
        ),
        ([{"role": "user"}], "messages[0].content: is missing"),
        ([{"role": "user", "content": None}], "messages[0].content: is missing"),
        ([{"role": "user", "content": 5}], "messages[0].content: expected a string, got a number"),
        ([{"role": "user", "content": []}], "messages[0].content: is an empty list"),
        (
            [{"role": "user", "content": ["x"]}],
            "messages[0].content[0]: expected an object with a 'type'",
        ),
        (
            [{"role": "user", "content": [{"type": "text"}]}],
            "messages[0].content[0].text: expected a string",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "messages[0].content[0]: a text model takes no part of type 'image_url'",
        ),
        (
            [{"role": "system", "content": "x"}, {"role": "assistant", "content": "y"}],
            "messages: only system and assistant; a user or tool message is needed",
        ),
        ([{"role": "user", "content": " \n"}], "messages: hold no text"),
        (
            [{"role": "tool", "content": "x"}],
            "messages[0].tool_call_id: a tool message needs one, a string",
        ),
        (
            [{"role": "user", "content": "x", "tool_calls": [CALL]}],
            "messages[0].tool_calls: only an assistant message has them, not a user message",
        ),
        (
            [*HI, {"role": "assistant", "tool_calls": "x"}],
            "messages[1].tool_calls: expected a list, got a string",
        ),
        (
            [*HI, {"role": "assistant", "tool_calls": [{"function": {}}]}],
            "messages[1].tool_calls[0]: expected a call of a named function",
        ),
        (
            [
                *HI,
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
            ],
            "messages[1].tool_calls[0].function.arguments: expected JSON text",
        ),
    ],
)
def test_bad_messages_are_faults(messages: Any, message: str) -> None:
    assert fault({"messages": messages}) == message


def test_openai_takes_developers_pictures_and_a_chat_without_a_user() -> None:
    messages = [
        {"role": "developer", "content": "x"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
    ]
    assert build({"messages": messages, "model": "local"}).messages == messages
    alone = [{"role": "system", "content": ""}]
    assert build({"messages": alone, "model": "local"}).messages == alone
