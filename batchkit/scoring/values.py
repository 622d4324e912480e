"""Values of results as they are compared: labels in a text, values as text, values in messages."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_SEVERAL = re.compile(r"[,;，；、\n]")
_SHOWN_MOST = 40  # characters


def as_text(value: Any) -> str:
    """A value as text: as it is, in JSON's words, or as JSON."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=str).decode().strip('"')


def as_labels(value: Any, *, several: bool) -> list[str]:
    """The labels in a value: a list's, a JSON list's, or those between commas and the like."""
    if value is None:
        return []
    if not several:
        return [as_text(value)]
    if isinstance(value, str):
        value = _list_in(value)
    values = value if isinstance(value, list) else [value]
    return [as_text(one) for one in values if one is not None and one != ""]


def _list_in(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        try:
            return msgspec.json.decode(text, type=list[Any])
        except msgspec.DecodeError:
            pass
    return [label.strip() for label in _SEVERAL.split(text) if label.strip()]


def shown_value(text: str) -> str:
    """A value on one line that a terminal shows as it is, cut where it gets long."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= _SHOWN_MOST else f"{line[: _SHOWN_MOST - 1]}…"
