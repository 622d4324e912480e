"""Answers as data: what is added to a request for it, and what becomes of an answer.

An answer that does not validate is asked for again with the validator's words; one that was cut at
`max_tokens` is asked for again with more room, since a scolding would not make it shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from batchkit import errors
from batchkit.pool import Answered
from batchkit.records import Completion, Failure, Message, Request
from batchkit.schema import Invalid, OutputSchema
from batchkit.tokens import estimate_prompt

_MORE_ROOM = 2  # times the room of the answer that was cut
_ROOM_NAMES = ("max_tokens", "max_completion_tokens")
_QUOTED = 8000  # characters of a wrong answer that are sent back with the correction


Room: TypeAlias = Callable[[str, int], int]
"""The most tokens that a model can answer a prompt of so many tokens with."""


class StructuredOutput:
    """One job's schema at work."""

    def __init__(self, schema: OutputSchema, repair: int, room: Room) -> None:
        """`repair` is the number of extra tries."""
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
        if completion.finish_reason != "length":
            return Answered(again=_corrected(request, completion, found.reason))
        again = self._with_room(request, completion)
        if again is None:
            message = f"cut off, and {request.model} has no more room for it: {found.reason}"
            return Answered(failure=Failure(errors.INVALID_OUTPUT, message))
        return Answered(again=again)

    def _with_room(self, request: Request, completion: Completion) -> Request | None:
        """`request` with more room for its answer; None if it had the most there is."""
        name = next((name for name in _ROOM_NAMES if name in request.params), _ROOM_NAMES[0])
        had = max(request.params.get(name, 0), completion.usage.completion)
        most = self._room(request.model, completion.usage.prompt)
        room = min(most, _MORE_ROOM * had or most)  # not every service says what was used
        if room <= had:
            return None
        return msgspec.structs.replace(request, params=request.params | {name: room})


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
