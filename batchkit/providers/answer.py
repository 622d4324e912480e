"""The body of an answer, read twice if need be: strictly and fast, else with what can be believed.

An answer has been paid for, so one that is a little out of shape is still read: content in parts,
bytes that are not UTF-8, a count that is text. A value of the wrong type counts as absent.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec

from batchkit.providers.untrusted import whole
from batchkit.records import Usage

MOST_TOKENS = 10**7  # no answer uses more; a larger count is not believed

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)] | None


class AnswerMessage(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: list[Any] | None = None


class Choice(msgspec.Struct, gc=False):
    message: AnswerMessage
    finish_reason: str | None = None


class PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: _Tokens = None


class UsageBlock(msgspec.Struct, gc=False):
    """`usage` as services send it; each part may be missing."""

    prompt_tokens: _Tokens = None
    completion_tokens: _Tokens = None
    prompt_tokens_details: PromptDetails | None = None
    prompt_cache_hit_tokens: _Tokens = None  # DeepSeek's word for cached tokens


class Answer(msgspec.Struct, gc=False):
    """A chat completion; of its choices only the first counts."""

    choices: Annotated[list[Choice], msgspec.Meta(min_length=1)]
    id: str | None = None
    model: str | None = None
    usage: UsageBlock | None = None
    error: Any = None  # an error can come with HTTP 200
    success: Any = None


_decode = msgspec.json.Decoder(Answer).decode


def read_answer(body: bytes) -> Answer | None:
    """The chat completion in `body`; None if it holds none."""
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _salvaged(read_json(body))
    return None if answer.error or answer.success is False else answer


def read_json(body: bytes) -> Any:
    """What `body` says, read leniently; None if it is not JSON."""
    try:
        return json.loads(
            body.decode("utf-8-sig", "replace"), strict=False, parse_constant=lambda _: None
        )
    except (ValueError, RecursionError):
        return None


def usage_block(value: Any) -> UsageBlock | None:
    """`usage` with whatever in it can be believed."""
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    return UsageBlock(
        prompt_tokens=_count(value.get("prompt_tokens")),
        completion_tokens=_count(value.get("completion_tokens")),
        prompt_tokens_details=PromptDetails(_count(details.get("cached_tokens")))
        if isinstance(details, dict)
        else None,
        prompt_cache_hit_tokens=_count(value.get("prompt_cache_hit_tokens")),
    )


def spent(block: UsageBlock | None) -> Usage | None:
    """The tokens that `block` says were used; None if it says none were."""
    if block is None:
        return None
    prompt = block.prompt_tokens or 0
    completion = block.completion_tokens or 0
    if not (prompt or completion):
        return None
    details = block.prompt_tokens_details
    cached = (details and details.cached_tokens) or block.prompt_cache_hit_tokens or 0
    return Usage(prompt, min(cached, prompt), completion)


def _salvaged(document: Any) -> Answer | None:
    if not isinstance(document, dict) or document.get("error") or document.get("success") is False:
        return None
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return None
    message = choice["message"]
    content = _joined(message.get("content"))
    if content is not None and not isinstance(content, str):
        return None
    calls = message.get("tool_calls")
    return Answer(
        choices=[
            Choice(
                AnswerMessage(content, whole(calls) if isinstance(calls, list) else None),
                _text(choice.get("finish_reason")),
            )
        ],
        id=_text(document.get("id")),
        model=_text(document.get("model")),
        usage=usage_block(document.get("usage")),
    )


def _joined(content: Any) -> Any:
    if not isinstance(content, list):
        return whole(content)
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return whole("".join(text for text in texts if isinstance(text, str)))


def _text(value: Any) -> str | None:
    if type(value) is int:  # some services number their answers
        return str(value)
    return whole(value) if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
