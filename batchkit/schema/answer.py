"""Finds the JSON value in a model's answer.

1. The whole answer is tried first, then what follows the first ```` ```json ````, then the prose.
2. In prose the first balanced `{…}` that is JSON counts. A `[{…}]` counts as a whole: to take the
   first of several objects would be a guess.
3. An object that never closes ends the search: what stands inside it is a part of an answer that
   was cut off, not an answer.
4. The work is linear in the length of the answer, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

MAX_DEPTH = 100  # levels of nesting; jsonschema-rs gives up past 255, Python's stack soon after
MAX_CANDIDATES = 100  # objects tried in prose; an answer that holds more is none

_TAGGED_FENCE = re.compile(r"```json[ \t]*\r?\n", re.IGNORECASE)
_START = re.compile(r'\{\s*["}]|\[\s*\{')
# A string is one token, to its closing quote or to the end of the text, so that no quote is tried
# as the start of a string twice.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_BLANK = " \t\r\n\ufeff"


class NotJsonError(Exception):
    """No JSON value in the answer; the message says why, in a few words."""


def json_value(text: str) -> Any:
    """The value that the answer gives, of any JSON type; raises `NotJsonError`."""
    text = text.strip(_BLANK)
    if not text:
        raise NotJsonError("the answer is empty")
    try:
        return decode(text)
    except NotJsonError as error:
        fault = error
    for candidate in islice(_candidates(text), MAX_CANDIDATES):
        try:
            return decode(candidate)
        except NotJsonError as error:
            fault = error
    raise fault


def decode(text: str) -> Any:
    """The value of a JSON text: of equal keys the last, integers of any size, no NaN."""
    if _depth(text) > MAX_DEPTH:
        raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")
    try:
        return msgspec.json.decode(text)
    except UnicodeEncodeError:
        raise NotJsonError("not JSON: a lone surrogate") from None
    except ValueError as error:  # malformed; also a number past what Python reads
        raise NotJsonError(f"not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None


def encode(value: Any) -> str:
    """The JSON text of `value`, compact, keys sorted: equal values have equal texts."""
    return msgspec.json.encode(value, order="deterministic").decode()


def _candidates(text: str) -> Iterator[str]:
    fence = None if text.startswith(("{", "[")) else _TAGGED_FENCE.search(text)
    if fence:
        yield from _balanced(text, fence.end())
    yield from _balanced(text, 0)


def _balanced(text: str, begin: int) -> Iterator[str]:
    """Each `{…}` or `[{…}]` from `begin` on that is not inside another, in order."""
    found = False
    while start := _START.search(text, begin):
        end = _end(text, start.start())
        if end is None:
            raise NotJsonError("not JSON: an object is not closed")
        yield text[start.start() : end]
        found, begin = True, end
    if not found and not begin:
        raise NotJsonError("no JSON object in the answer")


def _end(text: str, begin: int) -> int | None:
    """Where the bracket at `begin` is closed."""
    depth = 0
    for token in _TOKEN.finditer(text, begin):
        depth += _step(token.group())
        if not depth:
            return token.end()
    return None


def _depth(text: str) -> int:
    """The deepest nesting of brackets, or a bound on it that is small enough."""
    brackets = text.count("{") + text.count("[")
    if brackets <= MAX_DEPTH:
        return brackets
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        depth += _step(token.group())
        deepest = max(deepest, depth)
    return deepest


def _step(token: str) -> int:
    if token in ("{", "["):
        return 1
    return -1 if token in ("}", "]") else 0
