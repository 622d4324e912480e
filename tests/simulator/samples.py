"""Requests that the tests send."""

from __future__ import annotations

from typing import Any

import msgspec

FLASH = "glm-4-flash-250414"
PLUS = "glm-4-plus"


def body(text: str = "hello", model: str = FLASH, **params: Any) -> dict[str, Any]:
    """A chat request of one message; a parameter that is None is left out."""
    given = {"model": model, "messages": [{"role": "user", "content": text}]} | params
    return {name: value for name, value in given.items() if value is not None}


def raw(text: str = "hello", model: str = FLASH, **params: Any) -> bytes:
    """The same as bytes."""
    return msgspec.json.encode(body(text, model, **params))
