"""Answers and errors as bytes, in the provider's form and in that of OpenAI-compatible services."""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from batchkit.simulator.answers import Answer
from batchkit.simulator.provider_errors import ErrorAnswer
from batchkit.simulator.validate import Call

_BEIJING_S = 8 * 3600
_PIECE = 24  # characters in one frame of a stream
_encode = msgspec.json.Encoder().encode


class Dialect(StrEnum):
    """Whose conventions an endpoint follows."""

    GLM = "glm"
    OPENAI = "openai"


_OPENAI_ERRORS = {
    "1211": (404, "invalid_request_error", "model_not_found"),
    "1261": (400, "invalid_request_error", "context_length_exceeded"),
    "1301": (400, "invalid_request_error", "content_filter"),
    "1113": (429, "insufficient_quota", "insufficient_quota"),
    "1302": (429, "requests", "rate_limit_exceeded"),
    "1303": (429, "requests", "rate_limit_exceeded"),
}


class _Message(msgspec.Struct):
    content: str
    role: str = "assistant"


class _Choice(msgspec.Struct):
    finish_reason: str
    message: _Message
    index: int = 0


class _Usage(msgspec.Struct, omit_defaults=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int] | None = None


class _Completion(msgspec.Struct, omit_defaults=True):
    id: str
    request_id: str
    created: int
    object: str
    model: str
    choices: list[_Choice]
    usage: _Usage
    content_filter: list[dict[str, Any]] | None = None


class Reply(msgspec.Struct, frozen=True):
    """An answer with all that stands around it."""

    call: Call
    answer: Answer
    id: str
    created: int  # seconds since the epoch
    cached_tokens: int | None = None  # None: usage has no details


def new_id(now: float, serial: int) -> str:
    """A response id as the provider makes them: Beijing time and fourteen hexadecimal digits."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(now + _BEIJING_S)) + f"{serial:014x}"


def completion(reply: Reply) -> bytes:
    """The body of an answer."""
    answer = reply.answer
    return _encode(_completion(reply, [_Choice(answer.finish_reason, _Message(answer.content))]))


def broken_off(reply: Reply, finish_reason: str) -> bytes:
    """The body of an HTTP 200 whose answer is only half there."""
    half = reply.answer.content[: len(reply.answer.content) // 2]
    body = _completion(reply, [_Choice(finish_reason, _Message(half))])
    if finish_reason == "sensitive":
        body.content_filter = [{"role": "assistant", "level": 1}]
    return _encode(body)


def without_choices(reply: Reply) -> bytes:
    """The body of an HTTP 200 that holds no answer."""
    return _encode(_completion(reply, []))


def frames(reply: Reply, finish_reason: str | None = None) -> Iterator[bytes]:
    """The events of a stream up to the one that has finish reason and usage, then the end's."""
    content = reply.answer.content
    for start in range(0, len(content), _PIECE):
        delta = {"role": "assistant", "content": content[start : start + _PIECE]}
        yield _frame(reply, {"index": 0, "delta": delta})
    last = {"role": "assistant", "content": ""}
    reason = finish_reason or reply.answer.finish_reason
    yield _frame(reply, {"index": 0, "delta": last, "finish_reason": reason}, usage=_usage(reply))
    yield b"data: [DONE]\n\n"


def error_body(error: ErrorAnswer, dialect: Dialect, *, int_codes: bool) -> tuple[int, bytes]:
    """HTTP status and body of `error`."""
    if dialect is Dialect.OPENAI:
        status, kind, code = _OPENAI_ERRORS.get(
            error.code, (error.status, _openai_type(error.status), error.code)
        )
        return status, _encode({"error": {"message": error.message, "type": kind, "code": code}})
    code_value = int(error.code) if int_codes else error.code
    body: dict[str, Any] = {"error": {"code": code_value, "message": error.message}}
    if error.code == "1301":
        body = {"contentFilter": [{"level": 1, "role": "user"}]} | body
    return error.status, _encode(body)


def unsuccessful() -> bytes:
    """The form of an error that comes with HTTP 200."""
    return _encode({"code": 500, "msg": "内部错误", "success": False})


def model_list(names: list[str]) -> bytes:
    """The body of the list of models."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "z-ai"} for name in names]
    return _encode({"object": "list", "data": rows})


def _completion(reply: Reply, choices: list[_Choice]) -> _Completion:
    return _Completion(
        id=reply.id,
        request_id=reply.call.request_id or reply.id,
        created=reply.created,
        object="chat.completion",
        model=reply.call.model.name,
        choices=choices,
        usage=_usage(reply),
    )


def _usage(reply: Reply) -> _Usage:
    prompt, answered = reply.call.prompt_tokens, reply.answer.completion_tokens
    usage = _Usage(prompt, answered, prompt + answered)
    if reply.cached_tokens is not None:
        usage.prompt_tokens_details = {"cached_tokens": reply.cached_tokens}
    return usage


def _frame(reply: Reply, choice: dict[str, Any], **rest: _Usage) -> bytes:
    chunk = {
        "id": reply.id,
        "created": reply.created,
        "object": "chat.completion.chunk",
        "model": reply.call.model.name,
        "choices": [choice],
    }
    return b"data: " + _encode(chunk | rest) + b"\n\n"


def _openai_type(status: int) -> str:
    if status == 401:
        return "authentication_error"
    return "server_error" if status >= 500 else "invalid_request_error"
