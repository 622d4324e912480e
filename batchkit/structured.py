"""Answers as data: what is added to a request for it, and what becomes of an answer.

An answer that does not validate is asked for again with the validator's words; one that was cut at
`max_tokens` is asked for again with more room, since a scolding would not make it shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from batchkit import errors
from batchkit.pool import Answered
from batchkit.records import Completion, Failure, Message, Request
from batchkit.schema import Invalid, OutputSchema
from batchkit.tokens import estimate_prompt

_MORE_ROOM = 2  # times the room of the answer that was cut
_QUOTED = 8000  # characters of a wrong answer that are sent back with the correction
_QUOTED = 8000  # characters of a wrong answer that are sent back with the correction


class StructuredOutput:
    """One job's schema at work."""

    def __init__(self, schema: OutputSchema, repair: int, room: Callable[[str], int]) -> None:
        """`repair` is the number of extra tries; `room` the largest `max_tokens` of a model."""
        self.schema = schema
        self._repair = repair
        self._room = room

    def ask(self, request: Request) -> Request:
        """`request` with the schema in its first message and JSON asked for."""
        messages = with_instruction(request.messages, self.schema.instruction)
        params: dict[str, Any] = {"response_format": {"type": "json_object"}} | request.params
        return msgspec.structs.replace(
            request, messages=messages, params=params, prompt_tokens=estimate_prompt(messages)
        )

    def read(self, request: Request, completion: Completion, asked_again: int) -> Answered:
        """What becomes of an answer after `asked_again` extra tries."""
        if completion.finish_reason == "tool_calls":
            return Answered()
        found = self.schema.read(completion.content)
        if not isinstance(found, Invalid):
            return Answered(output=found.json)
        if asked_again >= self._repair:
            return Answered(failure=Failure(errors.INVALID_OUTPUT, found.reason))
        if completion.finish_reason == "length":
            return Answered(again=self._with_room(request, completion))
        return Answered(again=_corrected(request, completion, found.reason))

    def _with_room(self, request: Request, completion: Completion) -> Request:
        most = self._room(request.model)
        asked = request.params.get("max_tokens", completion.usage.completion)
        room = min(most, max(1, _MORE_ROOM * asked))
        return msgspec.structs.replace(request, params=request.params | {"max_tokens": room})


def with_instruction(messages: list[Message], instruction: str) -> list[Message]:
    """`messages` with `instruction` in the system message, which stays first (prefix caches)."""
    first = messages[0]
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        system = first | {"content": f"{first['content']}\n\n{instruction}"}
        return [system, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]


def _corrected(request: Request, completion: Completion, reason: str) -> Request:
    answer = (completion.content or "")[:_QUOTED]
    turn = (
        f"This answer cannot be used: {reason}. "
        "Answer again with the corrected JSON object and nothing else."
    )
    messages = [
        *request.messages,
        {"role": "assistant", "content": answer},
        {"role": "user", "content": turn},
    ]
    return msgspec.structs.replace(request, messages=messages)
