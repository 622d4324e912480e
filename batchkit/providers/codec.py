"""A chat completion as bytes: a request's body out, an answer's body in. Pure.

* The row's own parameters go out as they stand, unknown ones too. The glm dialect changes only what
  that service is known to refuse or to read otherwise (docs.bigmodel.cn, chat completion).
* `stream` is never sent: an answer is read whole.
* Where a row's answer must be JSON and its endpoint can hold it to a schema (`json_schema` of the
  model table, the openai dialect), the schema goes along. The request itself stays the same, so its
  digest does not depend on where it is sent.
* A body is encoded once per request; only its `request_id` differs between attempts.
* Whatever a service answers becomes a `Completion` or a `Failure`; nothing it sends raises. The
  dialects' answers need not be told apart.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeGuard

import msgspec

from batchkit.errors import UsageError, Verdict
from batchkit.models import Model
from batchkit.providers.answer import Answer, read_answer, spent
from batchkit.providers.refusal import refusal
from batchkit.providers.transport import Reply
from batchkit.providers.untrusted import label, whole
from batchkit.records import Completion, Failure, Message, Outcome, Request, Usage
from batchkit.verdicts import CONTEXT_FULL, NETWORK_ERROR, SENSITIVE_ANSWER

_NOT_PARAMETERS = frozenset({"model", "messages", "stream", "stream_options"})

_JSON_OBJECT = {"type": "json_object"}

_NOT_KEPT: dict[str | None, tuple[Verdict, str]] = {
    "sensitive": (SENSITIVE_ANSWER, "the provider's content filter stopped the answer"),
    "content_filter": (SENSITIVE_ANSWER, "the provider's content filter stopped the answer"),
    "model_context_window_exceeded": (CONTEXT_FULL, "the answer outgrew the model's context"),
    "network_error": (NETWORK_ERROR, "inference broke off inside the service"),
}
"""Finish reasons of answers that are no completion; every other one, known or not, is."""

_to_json = msgspec.json.Encoder().encode


class Dialect(StrEnum):
    """How an endpoint wants a request to be put."""

    GLM = "glm"  # open.bigmodel.cn, api.z.ai
    OPENAI = "openai"  # whatever calls itself compatible: vLLM, llama.cpp, …


def dialect_of(endpoint_url: str) -> Dialect:
    """`glm` for an address that ends in `/paas/v4`, a trailing slash aside; else `openai`."""
    is_glm = endpoint_url.rstrip("/").endswith("/paas/v4")
    return Dialect.GLM if is_glm else Dialect.OPENAI


def encode(
    request: Request, model: Model, dialect: Dialect, schema: dict[str, Any] | None = None
) -> bytes:
    """The body of `request`, without a `request_id` of ours; its answer is to fit `schema`.

    Halves of surrogate pairs are replaced. Raises `UsageError` for what JSON cannot hold: a row
    that came from JSON or Arrow can only be nested too deeply for it.
    """
    body: dict[str, Any] = {"model": model.spelling or model.name, "messages": request.messages}
    body |= {name: value for name, value in request.params.items() if name not in _NOT_PARAMETERS}
    if dialect is Dialect.GLM:
        _adapt_to_glm(body, model)
    elif schema is not None and model.json_schema:
        _constrain(body, schema)
    try:
        return _to_json(body)
    except UnicodeEncodeError:
        return _to_json(whole(body))
    except (TypeError, RecursionError) as error:
        raise UsageError(
            f"row {request.row} ({request.custom_id!r}): cannot be written as JSON; "
            "use plain values, less deeply nested"
        ) from error


def with_request_id(body: bytes, request_id: str) -> bytes:
    """`body` with `request_id` as its first key; the rest is not encoded again."""
    return b'{"request_id":' + _to_json(request_id) + b"," + body[1:]


def decode(reply: Reply, *, now: float, secret: str | None = None) -> Outcome:
    """What `reply` is: an answer to keep, or why there is none.

    `now` (seconds since the epoch) turns dates into waits. `secret` is masked in messages. An
    answer that does not say what it used has a `Usage` of zeros.
    """
    if 200 <= reply.status < 300:
        answer = read_answer(reply.body)
        if answer is not None:
            return _outcome(answer, reply.status)
    return refusal(reply, now=now, secret=secret)


def _outcome(answer: Answer, status: int) -> Outcome:
    choice = answer.choices[0]
    content = choice.message.content
    usage = spent(answer.usage)
    response_id = label(answer.id) if answer.id is not None else None
    response_model = label(answer.model) if answer.model is not None else None
    not_kept = _NOT_KEPT.get(choice.finish_reason)
    if not_kept is not None:
        verdict, message = not_kept
        return Failure(
            verdict,
            message,
            http_status=status,
            usage=usage,
            content=content,
            finish_reason=choice.finish_reason,
            response_id=response_id,
            response_model=response_model,
        )
    calls = choice.message.tool_calls
    return Completion(
        content,
        label(choice.finish_reason) if choice.finish_reason is not None else None,
        usage or Usage(),
        tool_calls=_to_json(calls).decode() if calls else None,
        response_id=response_id,
        response_model=response_model,
        http_status=status,
    )


def _constrain(body: dict[str, Any], schema: dict[str, Any]) -> None:
    """Hold the answer to `schema`, unless the row asks for another format itself."""
    if body.get("response_format", _JSON_OBJECT) == _JSON_OBJECT:
        form = {"name": "answer", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}


def _adapt_to_glm(body: dict[str, Any], model: Model) -> None:
    body["model"] = model.name.lower()
    body["messages"] = [_flattened(message) for message in body["messages"]]
    body.pop("request_id", None)  # the same one twice is refused (1231): each attempt gets its own
    _adapt_sampling(body)
    max_tokens = body.get("max_tokens")
    if model.max_output is not None and _is_number(max_tokens) and max_tokens > model.max_output:
        body["max_tokens"] = model.max_output  # more is refused (1210)
    if isinstance(body.get("stop"), str):
        body["stop"] = [body["stop"]]


def _adapt_sampling(body: dict[str, Any]) -> None:
    """Greedy is `do_sample: false`; both knobs lie in [0.01, 1] and have two decimals at most."""
    temperature = body.get("temperature")
    if _is_number(temperature) and temperature <= 0:
        body["do_sample"] = False
        del body["temperature"]
        body.pop("top_p", None)
        return
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if _is_number(value):
            body[name] = min(max(round(value, 2), 0.01), 1.0)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return type(value) in (int, float)  # a bool is neither


def _flattened(message: Message) -> Message:
    """`message` with the texts of its content joined; with other parts it stays as it is."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = [
        part["text"]
        for part in content
        if isinstance(part, dict)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    ]
    return message | {"content": "".join(texts)} if len(texts) == len(content) else message
