"""What becomes of an answer that is checked: settled, asked for again, or given up.

An answer that is wrong is asked for again with the reason; one that was cut at `max_tokens` is
asked for again with more room, since a scolding would not make it shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from batchkit import verdicts
from batchkit.life import Answered
from batchkit.records import Completion, Failure, Request
from batchkit.schema import Invalid, Valid

_MORE_ROOM = 2  # times the room of the answer that was cut
_ROOM_NAMES = ("max_tokens", "max_completion_tokens")
_QUOTED = 8000  # characters of a wrong answer that are sent back with the correction


class Form(NamedTuple):
    """What an answer must be."""

    read: Callable[[str | None, str | None], Valid | Invalid | None]
    """(answer, the text it was asked of): None if it is right, and text rather than data."""

    correction: str  # how to end the turn that asks again
    takes_room: Callable[[str], bool] = lambda _text: True  # a cut answer may be right with more


Room: TypeAlias = Callable[[str, int], int]
"""The most tokens that a model can answer a prompt of so many tokens with."""


class AnswerCheck:
    """One job's demand on its answers."""

    def __init__(self, form: Form, repair: int, room: Room) -> None:
        """`repair` is the number of extra tries."""
        self.form = form
        self._repair = repair
        self._room = room

    def read(self, request: Request, completion: Completion, asked_again: int) -> Answered:
        """What becomes of an answer after `asked_again` extra tries."""
        if completion.finish_reason == "tool_calls":
            return Answered()
        found = self.form.read(completion.content, request.source)
        if not isinstance(found, Invalid):
            return Answered(output=None if found is None else found.json)
        if asked_again >= self._repair:
            return Answered(failure=Failure(verdicts.INVALID_OUTPUT, found.reason))
        is_cut = completion.finish_reason == "length"
        if not is_cut or not self.form.takes_room(completion.content or ""):
            return Answered(again=self._corrected(request, completion, found.reason))
        again = self._with_room(request, completion)
        if again is None:
            message = f"cut off, and {request.model} has no more room for it: {found.reason}"
            return Answered(failure=Failure(verdicts.INVALID_OUTPUT, message))
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

    def _corrected(self, request: Request, completion: Completion, reason: str) -> Request:
        answer = (completion.content or "")[:_QUOTED]
        turn = f"This answer cannot be used: {reason}. {self.form.correction}"
        messages = [
            *request.messages,
            {"role": "assistant", "content": answer},
            {"role": "user", "content": turn},
        ]
        return msgspec.structs.replace(request, messages=messages)
