"""The transport over pyreqwest (Rust's reqwest): a third of aiohttp's processor time a request.

What it does by itself and may not do here is switched off: redirects, the environment's proxies,
HTTP/2 (which sends again silently), automatic Referer. What it does not do well:

* A cancelled request is not closed at the server: it runs on until its answer or its timeout comes,
  or the process ends. `closes_on_cancel` says so.
* Its error for a failed connection and for one that was closed after the request was read is the
  same class; only the chain of causes tells them apart.
* A hostile Content-Length kills the process when a body is read as a whole, so it is read by the
  chunk. An error under EMFILE does unless `pyreqwest.exceptions` was imported before.
* A client that was used before a fork hangs after it: nothing may fork while this one is open.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

import anyio.lowlevel
import pyreqwest.exceptions as reqwest
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.http import Url
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import ResponseBodyReader
from yarl import URL

from batchkit.providers import faults
from batchkit.providers.addresses import Target
from batchkit.providers.transport import (
    CONNECT_TIMEOUT_S,
    KEEPALIVE_S,
    MOST_ANSWER_BYTES,
    Reply,
    TransportError,
)

_CONNECT_SHARE = 0.9  # of a short timeout: connecting must fail before the whole does, to be told
_CONNECTING = "client error (Connect)"  # the cause of every failure before anything was sent
_REASONS = {
    "dns error": faults.NO_NAME,
    "deadline has elapsed": faults.NO_TIME,
    "operation timed out": faults.NO_TIME,
    "invalid peer certificate": faults.NO_TRUST,
    "tunnel error": faults.NO_PROXY,
}
_NUMBER = re.compile(r"\(os error (\d+)\)")


class PyreqwestTransport:
    """Made and closed inside the event loop that uses it; the options are `AiohttpTransport`'s."""

    closes_on_cancel: ClassVar[bool] = False

    def __init__(
        self, *, trust_env: bool = False, most_answer_bytes: int = MOST_ANSWER_BYTES
    ) -> None:
        self._trust_env = trust_env
        self._most_answer_bytes = most_answer_bytes
        self._routes: dict[tuple[str, float], _Route] = {}

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Reply:
        """As `Transport.post`; `timeout_s` bounds the whole exchange, connecting included."""
        route = self._routes.get((url, timeout_s))
        if route is None:
            target = Target(url, trust_env=self._trust_env)
            route = self._routes[url, timeout_s] = _Route(target, timeout_s)
        try:
            async with route.request(headers, body) as response:
                content = await _read(response.body_reader, self._most_answer_bytes)
                return Reply(response.status, response.headers, content)
        except asyncio.CancelledError:
            # pyreqwest raises one of its own making, which anyio's scopes would not know again.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise
        except reqwest.PyreqwestError as error:
            raise _fault(error, route.address, timeout_s) from None

    async def aclose(self) -> None:
        """Begin nothing more. Requests in flight run on at the server."""
        for route in self._routes.values():
            await route.client.close()


class _Route:
    """What requests to one address have in common: their client, with its pool, and their bound."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        assert timeout_s > 0
        self.address = target.address
        connect_s = min(CONNECT_TIMEOUT_S, _CONNECT_SHARE * timeout_s)
        self._timeout = timedelta(seconds=timeout_s)
        try:
            self._url = Url(str(target.address))
            self.client = _client(target.proxy, connect_s)
        except (
            ValueError,
            RuntimeError,
        ):  # an address that it takes for none; no thread of its own
            raise faults.not_sent(target.address, "no client for it could be set up") from None

    def request(self, headers: Mapping[str, str], body: bytes) -> StreamRequest:
        request = self.client.post(self._url).headers(headers).body_bytes(body)
        return request.timeout(self._timeout).build_streamed()


def _client(proxy: URL | None, connect_s: float) -> Client:
    builder = (
        ClientBuilder()
        .no_proxy()
        .http1_only()
        .follow_redirects(False)
        .referer(False)
        .default_cookie_store(False)
        .default_headers({"Accept-Encoding": "identity"})
        .connect_timeout(timedelta(seconds=connect_s))
        .pool_idle_timeout(timedelta(seconds=KEEPALIVE_S))
    )
    if proxy is not None:
        builder = builder.proxy(ProxyBuilder.all(str(proxy)))
    return builder.build()


async def _read(reader: ResponseBodyReader, most_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while (chunk := await reader.read_chunk()) is not None:
        size += len(chunk)
        if size > most_bytes:
            raise faults.too_long(most_bytes)
        chunks.append(bytes(chunk))
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _fault(error: reqwest.PyreqwestError, address: URL, timeout_s: float) -> TransportError:
    causes = _causes(error)
    if _CONNECTING in causes or isinstance(error, reqwest.BuilderError):
        said = " ".join(causes)
        number = _NUMBER.search(said)
        reasons = (reason for words, reason in _REASONS.items() if words in said)
        reason = next(reasons, None if number else _unnamed(address))
        return faults.not_sent(address, reason, int(number[1]) if number else None)
    if isinstance(error, TimeoutError):
        return faults.timed_out(timeout_s)
    if isinstance(error, reqwest.ReadError | reqwest.BodyDecodeError):
        return faults.cut_short()
    if isinstance(error, reqwest.DecodeError):
        return faults.not_http()
    return faults.cut_off()


def _causes(error: reqwest.PyreqwestError) -> list[str]:
    if not isinstance(error, reqwest.DetailedPyreqwestError):
        return []
    return [cause["message"] for cause in error.details["causes"] or ()]


def _unnamed(address: URL) -> str | None:
    return faults.NO_HANDSHAKE if address.scheme == "https" else None
