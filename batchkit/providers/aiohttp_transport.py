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

import errno
import os
from collections.abc import Mapping
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError
from yarl import URL

from batchkit.errors import BAD_RESPONSE, CUT_OFF, LOCAL_TROUBLE, TIMED_OUT, UNREACHABLE
from batchkit.providers.transport import Reply, TransportError

MOST_ANSWER_BYTES = 16 * 2**20
CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 4.0

_LOCAL = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)  # this machine has run out of something

_REASONS: dict[type[Exception], str] = {
    aiohttp.ClientConnectorDNSError: "its name does not resolve",
    aiohttp.ClientConnectorCertificateError: "its certificate is not trusted",
    aiohttp.ClientConnectorSSLError: "the TLS handshake failed",
    aiohttp.ClientHttpProxyError: "the proxy refuses to connect",
    TimeoutError: "no connection in time",
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
        self._targets: dict[str, tuple[URL, URL | None]] = {}
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
        target, proxy = self._target(url)
        payload = _Payload(body)
        has_answer_begun = False
        try:
            async with self._session.post(
                target,
                data=payload,
                headers=headers,
                proxy=proxy,
                timeout=_timeout(timeout_s),
                allow_redirects=False,
            ) as response:
                has_answer_begun = True
                content = await _read(response.content, self._most_answer_bytes)
                return Reply(response.status, response.headers, content)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            # `from None`: the cause may hold the Authorization header.
            if not payload.is_sent:
                raise _not_sent(error, target) from None
            raise _sent(error, timeout_s, has_answer_begun=has_answer_begun) from None

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        await self._session.close()

    def _target(self, url: str) -> tuple[URL, URL | None]:
        target = self._targets.get(url)
        if target is None:
            try:
                address = _address(url)
                proxy = _proxy_of(address) if self._trust_env else None
            except ValueError:
                words = "the endpoint, or the proxy before it, is not an address"
                raise TransportError(UNREACHABLE, words) from None
            target = self._targets[url] = (address, proxy)
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
            raise TransportError(BAD_RESPONSE, f"the answer is longer than {most_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _address(text: str) -> URL:
    address = URL(text)
    (address.raw_host or "").encode("idna")  # as a look-up does, where it would raise uncaught
    return address


def _proxy_of(address: URL) -> URL | None:
    proxy = getproxies().get(address.scheme)
    if not proxy or proxy_bypass(address.host_port_subcomponent or ""):
        return None
    return _address(proxy)


def _not_sent(error: Exception, target: URL) -> TransportError:
    number = getattr(error, "errno", None)
    if number in _LOCAL:
        lack = os.strerror(number).lower()
        return TransportError(LOCAL_TROUBLE, f"no connection could be opened: {lack}")
    return TransportError(UNREACHABLE, f"cannot connect to {target.authority}: {_reason(error)}")


def _sent(error: Exception, timeout_s: float, *, has_answer_begun: bool) -> TransportError:
    if isinstance(error, TimeoutError):
        return TransportError(TIMED_OUT, f"no whole answer within {timeout_s:g} s")
    if has_answer_begun:
        return TransportError(BAD_RESPONSE, "the answer was cut off")
    if isinstance(error, aiohttp.ClientResponseError):
        return TransportError(BAD_RESPONSE, "the answer is not HTTP")
    return TransportError(CUT_OFF, "the connection was closed before an answer came")


def _reason(error: Exception) -> str:
    """Why there is no connection, in words of ours or the system's, never the exception's own."""
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return reason
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else "the connection failed"
