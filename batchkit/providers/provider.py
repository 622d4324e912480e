"""One account at one endpoint: what a pool calls to have a request answered."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from typing import Any

from batchkit.models import Model
from batchkit.providers.codec import Dialect, decode, encode, with_request_id
from batchkit.providers.transport import Transport, TransportError
from batchkit.records import Failure, Outcome, Request


class Provider:
    """Asks over `transport`, which it does not own: several providers can share one.

    `endpoint` is the address before `/chat/completions`. Whitespace around `api_key` is dropped;
    a key must be fit for a header otherwise. `schema` is what answers must fit. `wall` tells
    seconds since the epoch.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        endpoint: str,
        dialect: Dialect,
        api_key: str | None,
        schema: dict[str, Any] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._url = endpoint.rstrip("/") + "/chat/completions"
        self._dialect = dialect
        self._schema = schema
        self._key = (api_key or "").strip()
        self._wall = wall
        self._run = secrets.token_hex(8)
        self._serial = itertools.count(1)
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/json; charset=UTF-8",
            "User-Agent": "batchkit",
        }
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"

    def prepare(self, request: Request, model: Model) -> bytes:
        """The body of `request`, for `exchange`, as often as it takes. Raises as `encode` does."""
        return encode(request, model, self._dialect, self._schema)

    async def exchange(self, body: bytes, timeout_s: float) -> Outcome:
        """Send `body` once. Nothing that the network or the service does raises."""
        if self._dialect is Dialect.GLM:
            body = with_request_id(body, f"{self._run}-{next(self._serial)}")
        try:
            reply = await self._transport.post(self._url, self._headers, body, timeout_s)
        except TransportError as error:
            return Failure(error.verdict, error.message)
        return decode(reply, now=self._wall(), secret=self._key)
