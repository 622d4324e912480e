"""How values from the input are shown in a message: one line, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_VALUE_MOST = 60  # characters
_NAME_MOST = 40
_NAMES_MOST = 20
_REASON_MOST = 120
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def kind_of(value: Any) -> str:
    """What a value is in JSON's words."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def shown(value: Any) -> str:
    """A value as Python writes it, cut where it gets long."""
    text = repr(value[: _VALUE_MOST + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _VALUE_MOST else f"{text[: _VALUE_MOST - 1]}…"


def shown_names(names: Sequence[str]) -> str:
    """The first names of a list, such as a row's columns."""
    listed = ", ".join(name[:_NAME_MOST] for name in names[:_NAMES_MOST]) or "nothing"
    return f"{listed}, …" if len(names) > _NAMES_MOST else listed


def reason(words: object) -> str:
    """A library's words on what went wrong, as a part of a sentence of ours."""
    line = " ".join(str(words).split())[:_REASON_MOST]
    return line if line[:2].isupper() else f"{line[:1].lower()}{line[1:]}"
