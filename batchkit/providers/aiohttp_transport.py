"""The transport over aiohttp: one session and one pool of connections per run.

* Whether an attempt can have been executed is told by the request's own body: if it was never
  handed to a connection, nothing was sent, whatever the exception says.
* Idle connections are dropped before a server drops them (usually after 5 s), and a POST that fails
  on one all the same is not sent again: the server may have read it.
* No redirect is followed (a 307 would carry body and key elsewhere), no cookie kept, no `.netrc`
  read.
* Answers are asked for uncompressed: a truncated gzip body can pass for a whole one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError
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

_REASONS: dict[type[Exception], str] = {
    aiohttp.ClientConnectorDNSError: faults.NO_NAME,
    aiohttp.ClientConnectorCertificateError: faults.NO_TRUST,
    aiohttp.ClientConnectorSSLError: faults.NO_HANDSHAKE,
    aiohttp.ClientHttpProxyError: faults.NO_PROXY,
    TimeoutError: faults.NO_TIME,
}


class AiohttpTransport:
    """Made and closed inside the event loop that uses it.

    Args:
        trust_env: go through the proxy that the environment names, if it names one for an address.
        most_answer_bytes: an answer with more is given up.
    """

    def __init__(
        self, *, trust_env: bool = False, most_answer_bytes: int = MOST_ANSWER_BYTES
    ) -> None:
        self._trust_env = trust_env
        self._most_answer_bytes = most_answer_bytes
        self._targets: dict[str, Target] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=300
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
        )

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Reply:
        """As `Transport.post`; `timeout_s` bounds the whole exchange, connecting included."""
        target = self._target(url)
        payload = _Payload(body)
        has_answer_begun = False
        try:
            async with self._session.post(
                target.address,
                data=payload,
                headers=headers,
                proxy=target.proxy,
                timeout=_timeout(timeout_s),
                allow_redirects=False,
            ) as response:
                has_answer_begun = True
                content = await _read(response.content, self._most_answer_bytes)
                return Reply(response.status, response.headers, content)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            # `from None`: the cause may hold the Authorization header.
            if not payload.is_sent:
                raise _not_sent(error, target.address) from None
            raise _sent(error, timeout_s, has_answer_begun=has_answer_begun) from None

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        await self._session.close()

    def _target(self, url: str) -> Target:
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = Target(url, trust_env=self._trust_env)
        return target


class _Payload(aiohttp.Payload):
    """A request's body that knows whether it was handed to a connection.

    (aiohttp's own `BytesPayload` warns of bodies above 1 MiB; a long prompt is one.)
    """

    _value: bytes
    _autoclose = True

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)
        self.is_sent = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.is_sent = True
        await writer.write(self._value)


@lru_cache(maxsize=64)
def _timeout(timeout_s: float) -> aiohttp.ClientTimeout:
    assert timeout_s > 0, "aiohttp takes 0 for no bound at all"
    return aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, timeout_s))


async def _read(stream: aiohttp.StreamReader, most_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while not stream.at_eof():
        chunk = await stream.readany()
        size += len(chunk)
        if size > most_bytes:
            raise faults.too_long(most_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _not_sent(error: Exception, target: URL) -> TransportError:
    reasons = (reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return faults.not_sent(target, next(reasons, None), getattr(error, "errno", None))


def _sent(error: Exception, timeout_s: float, *, has_answer_begun: bool) -> TransportError:
    if isinstance(error, TimeoutError):
        return faults.timed_out(timeout_s)
    if has_answer_begun:
        return faults.cut_short()
    if isinstance(error, aiohttp.ClientResponseError):
        return faults.not_http()
    return faults.cut_off()
