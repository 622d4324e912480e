"""What the answers of a row's chunks come to: texts in order, fields united, a vote.

All are functions of results that are ok, in the order of their chunks. The result that comes out
carries the last chunk's latency and status; tokens and cost are the document's own business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from batchkit.errors import ErrorKind
from batchkit.normal import normal
from batchkit.records import Result

Merge = Callable[[list[dict[str, Any]]], dict[str, Any]]
Read = Callable[[str], tuple[str | None, str]]  # JSON text -> it, if it validates, and why not

_NOTHING: tuple[Any, ...] = (None, "", [], {})


def in_order(answers: Sequence[Result], separators: Sequence[str]) -> Result:
    """The texts, with the white space between them that stood between the chunks."""
    texts = [(answer.content or "").strip() for answer in answers]
    between = [*separators, ""]
    text = "".join(part for pair in zip(texts, between, strict=True) for part in pair)
    return _joined(answers, text, None)


def merged(answers: Sequence[Result], merge: Merge, read: Read) -> Result:
    """The outputs as one, which must validate as each of them did."""
    outputs = [msgspec.json.decode(answer.output or "{}") for answer in answers]
    text = msgspec.json.encode(merge(outputs), order="deterministic").decode()
    output, fault = read(text)
    result = _joined(answers, text, output)
    if output is None:
        result.status = "failed"
        result.error_kind = ErrorKind.INVALID_OUTPUT
        result.error_message = f"join: {fault}"
    return result


def first(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each field the first value that says something: not null, not empty."""
    fields = dict.fromkeys(name for output in outputs for name in output)
    return {name: _first([output.get(name) for output in outputs]) for name in fields}


def union(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each field what all chunks say: lists united, objects field by field, else the first.

    A united list has each value once, in the order of first mention.
    """
    fields = dict.fromkeys(name for output in outputs for name in output)
    return {name: _union([output.get(name) for output in outputs]) for name in fields}


def majority(answers: Sequence[Result]) -> Result:
    """The answer that most votes are for, of several such the first; and their share."""
    ballots = [_ballot(answer) for answer in answers]
    winner, votes = Counter(ballots).most_common(1)[0]  # of equal counts the first seen
    chosen = answers[ballots.index(winner)]
    return msgspec.structs.replace(chosen, agreement=votes / len(ballots))


def _ballot(answer: Result) -> tuple[str | None, ...]:
    if answer.output is not None:
        return ("output", answer.output)
    return ("text", normal(answer.content or ""), answer.tool_calls)


def _first(values: list[Any]) -> Any:
    return next((value for value in values if value not in _NOTHING), _of_nothing(values))


def _of_nothing(values: list[Any]) -> Any:
    """What a field is that no chunk says anything of: empty rather than null, if one was."""
    return next((value for value in values if value is not None), None)


def _union(values: list[Any]) -> Any:
    said = [value for value in values if value is not None]
    if said and all(isinstance(value, list) for value in said):
        every = [item for value in said for item in value]
        return list(
            {msgspec.json.encode(item, order="deterministic"): item for item in every}.values()
        )
    if said and all(isinstance(value, dict) for value in said):
        return union(said)
    return _first(values)


def _joined(answers: Sequence[Result], text: str, output: str | None) -> Result:
    is_cut = any(answer.finish_reason == "length" for answer in answers)
    return msgspec.structs.replace(
        answers[-1],
        content=text,
        output=output,
        tool_calls=None,
        finish_reason="length" if is_cut else answers[-1].finish_reason,
        response_id=None,  # there are several
    )
