"""Requests that the tests send, and sending them."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from batchkit.simulator.server import Running

FLASH = "glm-4-flash-250414"
PLUS = "glm-4-plus"


def body(text: str = "hello", model: str = FLASH, **params: Any) -> dict[str, Any]:
    """A chat request of one message; a parameter that is None is left out."""
    given = {"model": model, "messages": [{"role": "user", "content": text}]} | params
    return {name: value for name, value in given.items() if value is not None}


def raw(text: str = "hello", model: str = FLASH, **params: Any) -> bytes:
    """The same as bytes."""
    return msgspec.json.encode(body(text, model, **params))


async def post(
    http: aiohttp.ClientSession, running: Running, text: str = "hello", **params: Any
) -> tuple[int, Any]:
    url = running.url + "/chat/completions"
    async with http.post(url, json=body(text, **params), allow_redirects=False) as response:
        return response.status, await response.json(content_type=None)
