"""The seam between a provider and an HTTP client: one POST out, one whole reply back.

An implementation
* never sends a request twice, follows no redirect and accepts no cookie;
* bounds the bytes of an answer and the time of an exchange;
* raises `TransportError` for everything the network does, with the verdict that says whether the
  request may have been executed;
* closes the request at the server at once when it is cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from batchkit.errors import Verdict

MOST_ANSWER_BYTES = 16 * 2**20
CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 4.0  # idle connections are dropped before a server drops them, usually after 5 s


class Reply(msgspec.Struct, frozen=True):
    """A whole HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]  # looked up by lower-case names
    body: bytes


class TransportError(Exception):
    """No whole reply: what follows from it, and a message that is safe to show."""

    def __init__(self, verdict: Verdict, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.message = message


class Transport(Protocol):
    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Reply: ...

    async def aclose(self) -> None: ...
