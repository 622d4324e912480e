"""Reading a request as the service does: either a `Call` or the error that refuses it.

Rules: docs.bigmodel.cn, the chat-completion page, and recorded refusals. Fields that the service is
known to ignore are ignored here too; names of models must be in lower case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
import xxhash

from batchkit.models import Model
from batchkit.records import Message
from batchkit.simulator.provider_errors import ErrorAnswer, error_answer, invalid_parameter
from batchkit.tokens import estimate_prompt, texts

Body: TypeAlias = dict[str, Any]

_ROLES = frozenset({"system", "user", "assistant", "tool"})
_ASKING = frozenset({"user", "tool"})  # messages of other roles alone ask for nothing
_DECIMALS = 2
_NOT_IN_DIGEST = frozenset({"request_id", "user_id", "stream", "stream_options"})


class Call(msgspec.Struct, gc=False):
    """A chat completion that the service accepts."""

    model: Model
    messages: list[Message]
    max_tokens: int | None
    response_format: dict[str, Any]
    stream: bool
    request_id: str | None
    prompt_tokens: int  # estimated
    digest: int  # of all that shapes the answer: a retry has the same


def read_call(raw: bytes, models: Mapping[str, Model]) -> Call | ErrorAnswer:
    """The call in the bytes of a request, or the answer that refuses it."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return error_answer("1210")
    if not isinstance(body, dict):
        return error_answer("1210")
    model = _model(body, models)
    if isinstance(model, ErrorAnswer):
        return model
    for check in _CHECKS:
        error = check(body, model)
        if error is not None:
            return error
    messages: list[Message] = body["messages"]
    prompt_tokens = estimate_prompt(messages)
    if prompt_tokens > model.context:
        return error_answer("1261")
    shaping = {key: value for key, value in body.items() if key not in _NOT_IN_DIGEST}
    return Call(
        model=model,
        messages=messages,
        max_tokens=body.get("max_tokens"),
        response_format=body.get("response_format") or {},
        stream=body.get("stream") is True,
        request_id=body.get("request_id"),
        prompt_tokens=prompt_tokens,
        digest=xxhash.xxh3_64_intdigest(msgspec.json.encode(shaping, order="deterministic")),
    )


def last_text(call: Call) -> str:
    """The text of the last message; what marks and records go by."""
    return "\n".join(texts(call.messages[-1:]))


def _model(body: Body, models: Mapping[str, Model]) -> Model | ErrorAnswer:
    name = body.get("model")
    if name is None:
        return error_answer("1213", field="model")
    if not isinstance(name, str):
        return error_answer("1214", field="model")
    return models.get(name) or error_answer("1211")


def _check_messages(body: Body, _: Model) -> ErrorAnswer | None:
    messages = body.get("messages")
    if messages is None:
        return error_answer("1213", field="messages")
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        return error_answer("1214", field="messages")
    if _ASKING.isdisjoint(message["role"] for message in messages):
        return error_answer("1214", field="messages")
    return None


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        return False
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        return False
    if content is None:
        return role == "assistant" and bool(message.get("tool_calls"))
    return isinstance(content, str) or (isinstance(content, list) and all(map(_is_text, content)))


def _is_text(part: Any) -> bool:
    if not isinstance(part, dict) or part.get("type") != "text":
        return False
    return isinstance(part.get("text"), str)


def _check_max_tokens(body: Body, model: Model) -> ErrorAnswer | None:
    value = body.get("max_tokens")
    most = model.max_output or model.context
    if value is None or (_is_integer(value) and 1 <= value <= most):
        return None
    return invalid_parameter("max_tokens", f"限制数值范围[1,{most}]")


def _check_sampling(body: Body, _: Model) -> ErrorAnswer | None:
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            return invalid_parameter(name, "限制数值范围[0,1]")
        if round(value, _DECIMALS) != value:
            return invalid_parameter(name, f"限制小数点[{_DECIMALS}]位")
    return None


def _check_ids(body: Body, _: Model) -> ErrorAnswer | None:
    for name, most in (("request_id", 64), ("user_id", 128)):
        value = body.get(name)
        if value is not None and not (isinstance(value, str) and 6 <= len(value) <= most):
            return error_answer("1214", field=name)
    return None


def _check_flags(body: Body, _: Model) -> ErrorAnswer | None:
    for name in ("stream", "do_sample"):
        if not isinstance(body.get(name, False), bool | None):
            return error_answer("1214", field=name)
    if not isinstance(body.get("response_format"), dict | None):
        return error_answer("1214", field="response_format")
    return None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKS: tuple[Callable[[Body, Model], ErrorAnswer | None], ...] = (
    _check_messages,
    _check_max_tokens,
    _check_sampling,
    _check_ids,
    _check_flags,
)
