"""Untrusted text made fit to be stored and shown."""

from __future__ import annotations

import re
from typing import Any

MESSAGE_LENGTH = 300  # characters of a provider's message that are kept
LABEL_LENGTH = 100  # of an id, a code, a model's name
MASK = "***"

_LOOKED_AT = 4096  # nobody needs the end of a longer message; bounds the work on a hostile one
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")


def one_line(text: str, secret: str | None = None, length: int = MESSAGE_LENGTH) -> str:
    """`text` on one line of at most `length` printable characters, `secret` masked.

    Escape sequences, control characters and marks that change the direction of writing are
    removed, so that the line cannot act on a terminal or show other than it says.
    """
    words = " ".join(_ANSI.sub("", text[:_LOOKED_AT]).split())
    line = "".join(character for character in words if character.isprintable())
    if secret:
        # Mask before cutting: half a key is still half a key.
        line = line.replace(secret, MASK)
    return line if len(line) <= length else line[: length - 1] + "…"


def label(text: str) -> str:
    """A short name as it came, unless it is long or not printable: then what `one_line` leaves."""
    if len(text) <= LABEL_LENGTH and text.isprintable():
        return text
    return one_line(text, length=LABEL_LENGTH)


def whole(value: Any) -> Any:
    """`value`, a text or a JSON value, with every text in it fit for UTF-8.

    JSON can spell half of a surrogate pair (`"\\ud83d"`), which neither UTF-8 nor Arrow can hold:
    two halves are joined, a half without the other is replaced.
    """
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {whole(key): whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [whole(inner) for inner in value]
    return value
