"""The first rows of a job, really asked, to be looked at before the rest is paid for.

A trial is a run of its own in a folder of its own, so the prompts that are shown are those that
were sent, and the figures are those of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TextIO

import msgspec

from batchkit.accounting import from_decimal, to_text
from batchkit.document import first_of
from batchkit.errors import RowError
from batchkit.inputs import Input
from batchkit.records import Message
from batchkit.sources import Raw
from batchkit.sources.context import with_rows_before
from batchkit.terminal import console_on, headline, plain, readable, side_by_side

_LINES, _CHARACTERS = 24, 2000  # of a text that is not shown in full


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One row: what was asked and what came back."""

    row: int
    custom_id: str
    model: str
    messages: list[Message]  # of its first request
    status: str
    content: str | None
    output: Any  # parsed and validated; None without a schema
    finish_reason: str | None
    error: str | None
    attempts: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost: str
    currency: str
    latency_s: float | None


def read_trial(given: Input, results: Iterable[dict[str, Any]]) -> Iterator[Tried]:
    """A finished trial, row by row; `results` are its rows, from the first, in input order."""
    rendering = given.rendering()
    raws = with_rows_before(given.source.scan(), rendering.rows_before)
    for raw, result in zip(raws, results, strict=False):
        yield _tried(_messages(rendering, raw), result)


def show_trial(tried: Iterable[Tried], stream: TextIO, *, full: bool) -> None:
    """Prompts and answers side by side; long texts are cut unless `full`.

    A system message is shown once, and again where it changes.
    """
    console = console_on(stream)
    cut = {} if full else {"lines": _LINES, "characters": _CHARACTERS}
    shown: str | None = None
    for one in tried:
        system, prompt = _prompt(one.messages)
        if system and system != shown:
            console.print(headline("system"))
            console.print(plain(readable(system, **cut)))
            console.print()
        shown = system
        console.print(headline(_headline(one), "bold" if one.status == "ok" else "bold red"))
        columns = [("prompt", prompt), ("answer", _answer(one))]
        if one.output is not None:
            columns.append(("output", _indented(one.output)))
        console.print(side_by_side([(title, readable(text, **cut)) for title, text in columns]))
        console.print()


def _messages(rendering: Any, raw: Raw) -> list[Message]:
    with suppress(RowError):
        return first_of(rendering.build(raw)).messages
    return []


def _tried(messages: list[Message], result: dict[str, Any]) -> Tried:
    kind, code, words = (result[f"error_{part}"] for part in ("kind", "code", "message"))
    error = None if kind is None else f"{kind}{f' {code}' if code else ''}: {words}"
    plain = {name: result[name] for name in Tried.__struct_fields__ if name in result}
    given = {"output": None, "messages": messages, "error": error} | plain
    return Tried(**given | {"cost": to_text(from_decimal(result["cost"]))})


def _headline(one: Tried) -> str:
    ended = "" if one.finish_reason in {None, "stop"} else f" ({one.finish_reason})"
    words = [
        f"row {one.row}",
        one.custom_id,
        one.model,
        f"{one.status}{ended}",
        f"{one.prompt_tokens:,} + {one.completion_tokens:,} tokens",
        f"{one.cost} {one.currency}",
    ]
    if one.latency_s is not None:
        words.append(f"{one.latency_s:.2f} s")
    if one.attempts != 1:
        words.append(f"{one.attempts} attempts")
    return readable(" · ".join(words))


def _prompt(messages: list[Message]) -> tuple[str, str]:
    """The system message, and the other messages with their roles where they are several."""
    system = "\n\n".join(_text(one) for one in messages if one.get("role") == "system")
    turns = [one for one in messages if one.get("role") != "system"]
    if len(turns) == 1:
        return system, _text(turns[0])
    return system, "\n\n".join(f"[{one.get('role')}]\n{_text(one)}" for one in turns)


def _text(message: Message) -> str:
    content = message.get("content")
    return content.strip() if isinstance(content, str) else _indented(content)


def _indented(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode()


def _answer(one: Tried) -> str:
    parts = [one.error] if one.error is not None else []
    if one.content is not None:
        parts.append(one.content.strip())
    return "\n\n".join(parts) or "(no text)"
