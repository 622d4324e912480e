"""The answer to a call, from the call and a generator alone: the same call gets the same bytes.

A call that brings a JSON Schema gets an instance of it: in `response_format`, or in a message
between the fences of SCHEMA_FENCE. One that lists labels behind LABELS_FENCE gets one of them, or a
JSON list of some if it asks for JSON. Any other that asks for a JSON object gets one. One that says
KEPT gets its own text back, which keeps everything. All others get words whose number is lognormal;
they begin with the call's digest, so that no two calls share an answer.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from random import Random
from typing import Any

import msgspec

from batchkit.simulator.instances import SchemaError, instance
from batchkit.simulator.validate import Call
from batchkit.simulator.words import words
from batchkit.tokens import estimate, texts

SCHEMA_FENCE = "```json schema\n"
KEPT = "Keep of the text as they are: "
CORRECTION = "This answer cannot be used: "
LABELS_FENCE = "```labels\n"
_FENCE_END = "\n```"
_MEDIAN_WORDS = 24
_SIGMA = 0.7
_MOST_WORDS = 4000


class Answer(msgspec.Struct, frozen=True):
    """What the simulated model says."""

    content: str
    finish_reason: str
    completion_tokens: int  # estimated from `content`


def answer(call: Call, rng: Random, chars: int | None = None, *, prose: bool = False) -> Answer:
    """The answer to `call`; free text is `chars` characters long if given, `prose` ignores JSON."""
    text = None if prose else _formed(call, rng, chars)
    return _limited(_prose(call, rng, chars) if text is None else text, call.max_tokens)


def _formed(call: Call, rng: Random, chars: int | None) -> str | None:
    schema = _schema(call)
    if schema is not None:
        try:
            return msgspec.json.encode(instance(schema, rng)).decode()
        except SchemaError:
            return None
    labels = _fenced(call, LABELS_FENCE)
    if labels is not None:
        return _labels(labels.split("\n"), call, rng)
    if call.response_format.get("type") in ("json_object", "json_schema"):
        return msgspec.json.encode({"answer": _prose(call, rng, chars)}).decode()
    return _kept(call)


def _schema(call: Call) -> Any:
    given = call.response_format.get("json_schema")
    if isinstance(given, dict) and given.get("schema") is not None:
        return given["schema"]
    text = _fenced(call, SCHEMA_FENCE)
    return None if text is None else _parsed(text)


def _fenced(call: Call, fence: str) -> str | None:
    for text in reversed(texts(call.messages)):
        start = text.rfind(fence)
        if start >= 0:
            return text[start + len(fence) :].partition(_FENCE_END)[0]
    return None


def _kept(call: Call) -> str | None:
    """The user's last text, if a message says that it is to be kept."""
    if not any(KEPT in text for text in texts(call.messages)):
        return None
    asked = ("".join(texts([one])) for one in call.messages if one.get("role") == "user")
    kept = [text for text in asked if not text.startswith(CORRECTION)]
    return kept[-1] if kept else None


def _labels(labels: list[str], call: Call, rng: Random) -> str:
    if call.response_format.get("type") != "json_object":
        return rng.choice(labels)
    some = rng.sample(labels, rng.randint(0, min(3, len(labels))))
    return msgspec.json.encode({"labels": some}).decode()


@lru_cache(maxsize=64)  # a run sends one schema with every request
def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _prose(call: Call, rng: Random, chars: int | None) -> str:
    opening = f"answer {call.digest:016x}: "
    if chars is None:
        count = round(_MEDIAN_WORDS * rng.lognormvariate(0.0, _SIGMA))
        return opening + words(rng, max(1, min(_MOST_WORDS, count)))
    passage = words(rng, min(12, chars // 4 + 1)) + " "
    return (opening + passage * (chars // len(passage) + 1))[:chars]


def _limited(text: str, max_tokens: int | None) -> Answer:
    tokens = max(1, estimate(text))
    if max_tokens is None or tokens <= max_tokens:
        return Answer(text, "stop", tokens)
    lengths = range(len(text) + 1)
    fits = bisect_right(lengths, max_tokens, key=lambda n: estimate(text[:n])) - 1
    return Answer(text[:fits], "length", max(1, estimate(text[:fits])))
