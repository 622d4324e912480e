"""The transport over httptools: connections of our own, a quarter of aiohttp's time.

No redirect, cookie, `.netrc` or second try is switched off here: there are none. Idle connections
are dropped before a server drops them, and the one used last is used first, so that few are open.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import partial

from batchkit.providers.addresses import Target
from batchkit.providers.connection import Connection
from batchkit.providers.dialing import Dialer, proxy_authorization
from batchkit.providers.transport import (
    CONNECT_TIMEOUT_S,
    KEEPALIVE_S,
    MOST_ANSWER_BYTES,
    Reply,
)


class HttptoolsTransport:
    """Made and closed inside the event loop that uses it; the options are `AiohttpTransport`'s."""

    def __init__(
        self, *, trust_env: bool = False, most_answer_bytes: int = MOST_ANSWER_BYTES
    ) -> None:
        self._trust_env = trust_env
        self._most_answer_bytes = most_answer_bytes
        self._routes: dict[str, _Route] = {}

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Reply:
        """As `Transport.post`; `timeout_s` bounds the whole exchange, connecting included."""
        route = self._routes.get(url)
        if route is None:
            target = Target(url, trust_env=self._trust_env)
            route = self._routes[url] = _Route(target, self._most_answer_bytes)
        return await route.post(headers, body, timeout_s)

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        for route in self._routes.values():
            route.close()


class _Route:
    """The connections to one address."""

    def __init__(self, target: Target, most_answer_bytes: int) -> None:
        self._target = target
        self._most_answer_bytes = most_answer_bytes
        self._dialer = Dialer(target)
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._idle: deque[Connection] = deque()  # the one used last at the end
        self._headers: Mapping[str, str] = {}
        self._head = b""

    async def post(self, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Reply:
        until = self._loop.time() + timeout_s
        connection = self._take_idle() or await self._open(timeout_s)
        head = b"%b%d\r\n\r\n" % (self._head_of(headers), len(body))
        reply = await connection.ask(head, body, until=until, timeout_s=timeout_s)
        self._put_back(connection)
        return reply

    def close(self) -> None:
        for connection in self._connections:
            connection.abort()

    async def _open(self, timeout_s: float) -> Connection:
        connection = await self._dialer.open(
            partial(Connection, self._most_answer_bytes, self._connections.discard),
            min(CONNECT_TIMEOUT_S, timeout_s),
        )
        self._connections.add(connection)
        return connection

    def _take_idle(self) -> Connection | None:
        oldest = self._loop.time() - KEEPALIVE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    def _put_back(self, connection: Connection) -> None:
        if connection.is_open:
            self._idle.append(connection)
        else:
            connection.abort()
        oldest = connection.idle_since - KEEPALIVE_S
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().abort()

    def _head_of(self, headers: Mapping[str, str]) -> bytes:
        """All of a request's head but the length of its body; a provider's is always the same."""
        if headers is not self._headers:
            self._headers, self._head = headers, _head(self._target, headers)
        return self._head


def _head(target: Target, headers: Mapping[str, str]) -> bytes:
    address, proxy = target.address, target.proxy
    path, credentials = address.raw_path_qs, b""
    if proxy is not None and address.scheme == "http":  # RFC 9112, 3.2.2
        path, credentials = str(address), proxy_authorization(proxy)
    host = address.host_port_subcomponent
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode("latin-1")
    assert head.count(b"\n") == len(lines) - 1, "a header has several lines"
    return head + b"\r\n" + credentials + b"Content-Length: "
