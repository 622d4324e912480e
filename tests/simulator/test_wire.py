"""Bodies as the provider sends them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from batchkit.models import builtin_models
from batchkit.simulator import wire
from batchkit.simulator.answers import Answer
from batchkit.simulator.provider_errors import error_answer
from batchkit.simulator.validate import Call, read_call
from batchkit.simulator.wire import Dialect, Reply
from tests.simulator.samples import PLUS, raw


def reply(cached: int | None = None, **params: Any) -> Reply:
    call = read_call(raw("hello", PLUS, **params), builtin_models())
    assert isinstance(call, Call)
    content = "天气 " + "x" * 40
    return Reply(call, Answer(content, "stop", 14), "id-1", 1790000000, cached)


def test_an_answer_looks_like_the_providers() -> None:
    assert msgspec.json.decode(wire.completion(reply(request_id="mine-77"))) == {
        "id": "id-1",
        "request_id": "mine-77",
        "created": 1790000000,
        "object": "chat.completion",
        "model": PLUS,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "天气 " + "x" * 40},
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 14, "total_tokens": 21},
    }


def test_cached_tokens_are_details_of_usage() -> None:
    usage = msgspec.json.decode(wire.completion(reply(cached=3)))["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 3}


def test_an_id_is_beijing_time_and_digits() -> None:
    assert wire.new_id(0.0, 255) == "19700101080000" + "000000000000ff"


def test_a_stream_has_usage_and_reason_in_its_last_chunk_only() -> None:
    *chunks, done = list(wire.frames(reply()))
    assert done == b"data: [DONE]\n\n"
    decoded = [msgspec.json.decode(chunk.removeprefix(b"data: ")) for chunk in chunks]
    choices = [chunk["choices"][0] for chunk in decoded]
    assert "".join(choice["delta"]["content"] for choice in choices) == "天气 " + "x" * 40
    assert [choice.get("finish_reason") for choice in choices] == [None, None, "stop"]
    assert ["usage" in chunk for chunk in decoded] == [False, False, True]


@pytest.mark.parametrize(
    ("int_codes", "value"), [(False, "1302"), (True, 1302)], ids=["strings", "integers"]
)
def test_codes_are_strings_or_integers(int_codes: bool, value: Any) -> None:
    error = error_answer("1302")
    status, body = wire.error_body(error, Dialect.GLM, int_codes=int_codes)
    assert status == 429
    assert msgspec.json.decode(body) == {"error": {"code": value, "message": error.message}}


def test_1301_says_where_the_content_was_found() -> None:
    _, body = wire.error_body(error_answer("1301"), Dialect.GLM, int_codes=False)
    assert msgspec.json.decode(body)["contentFilter"] == [{"level": 1, "role": "user"}]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1211", (404, "invalid_request_error", "model_not_found")),
        ("1302", (429, "requests", "rate_limit_exceeded")),
        ("1113", (429, "insufficient_quota", "insufficient_quota")),
        ("1002", (401, "authentication_error", "1002")),
        ("500", (500, "server_error", "500")),
        ("1214", (400, "invalid_request_error", "1214")),
    ],
)
def test_openai_errors_have_type_and_code(code: str, expected: tuple[int, str, str]) -> None:
    status, body = wire.error_body(error_answer(code), Dialect.OPENAI, int_codes=False)
    error = msgspec.json.decode(body)["error"]
    assert (status, error["type"], error["code"]) == expected
