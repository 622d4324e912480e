"""Opens connections to one address: its name, a socket, the proxy's tunnel, TLS, in this order.

Whatever goes wrong here happens before anything was sent. A name is looked up once in a while, not
for every connection; of several addresses the first that connects is taken (RFC 8305, by
aiohappyeyeballs).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias, TypeVar

import aiohappyeyeballs
import anyio
from yarl import URL

from batchkit.providers import faults
from batchkit.providers.addresses import Target

_NAME_S = 300.0  # how long a name's addresses are kept …
_NO_NAME_S = 1.0  # … and how long that it has none
_NEXT_ADDRESS_S = 0.25  # RFC 8305, "Connection Attempt Delay"
_MOST_HEAD_BYTES = 2**14  # of a proxy's answer
_PORTS = {"http": 80, "https": 443}

Addresses: TypeAlias = Sequence[aiohappyeyeballs.AddrInfoType]
Made = TypeVar("Made", bound=asyncio.Protocol)


class Dialer:
    """Opens connections to `target`, through its proxy if it has one."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._peer = target.proxy or target.address  # what the socket connects to
        self._loop = asyncio.get_running_loop()
        self._looking_up = anyio.Lock()
        self._found: Addresses | OSError = []
        self._found_until = 0.0

    async def open(self, new: Callable[[], Made], timeout_s: float) -> Made:
        """A connection whose protocol `new` made.

        Raises `TransportError`: it did not come about within `timeout_s`, and nothing was sent.
        """
        address = self._target.address
        if address.scheme not in _PORTS:
            raise faults.not_sent(address, "it is neither http nor https")
        if self._peer.scheme == "https" and self._target.proxy is not None:
            raise faults.not_sent(address, "a proxy behind TLS needs --transport aiohttp")
        is_connected = False
        try:
            with anyio.fail_after(timeout_s):
                sock = await self._connect()
                is_connected = True
                if address.scheme == "http":
                    _, made = await self._loop.create_connection(new, sock=sock)
                else:
                    await self._tunnel(sock)
                    _, made = await self._loop.create_connection(
                        new, sock=sock, ssl=_trust(), server_hostname=address.raw_host
                    )
                return made
        except OSError as error:
            is_in_handshake = is_connected and address.scheme == "https"
            reason = _reason(error, is_in_handshake=is_in_handshake)
            raise faults.not_sent(address, reason, error.errno) from None

    async def _connect(self) -> socket.socket:
        return await aiohappyeyeballs.start_connection(
            await self._addresses(), happy_eyeballs_delay=_NEXT_ADDRESS_S, loop=self._loop
        )

    async def _addresses(self) -> Addresses:
        async with self._looking_up:
            if self._loop.time() >= self._found_until:
                await self._look_up()
        if isinstance(self._found, OSError):
            raise self._found
        return self._found

    async def _look_up(self) -> None:
        host, port = self._peer.raw_host, self._peer.port
        try:
            self._found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            kept_s = _NAME_S
        except OSError as error:
            self._found = error
            kept_s = _NO_NAME_S
        self._found_until = self._loop.time() + kept_s

    async def _tunnel(self, sock: socket.socket) -> None:
        """Have the proxy, if there is one, pass everything on (RFC 9110, 9.3.6)."""
        if self._target.proxy is None:
            return
        address = self._target.address
        peer = f"{address.host_subcomponent}:{address.port}"
        asked = f"CONNECT {peer} HTTP/1.1\r\nHost: {peer}\r\n".encode()
        try:
            await self._loop.sock_sendall(sock, asked + proxy_authorization(self._peer) + b"\r\n")
            _check_tunnel(await self._head(sock))
        except BaseException:
            sock.close()
            raise

    async def _head(self, sock: socket.socket) -> bytes:
        """The head of an answer, or as much of it as comes."""
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD_BYTES:
            received = await self._loop.sock_recv(sock, _MOST_HEAD_BYTES)
            if not received:
                return b""
            head += received
        return head


class _NoTunnelError(OSError):
    """The proxy refuses, or does not speak HTTP."""


def _check_tunnel(head: bytes) -> None:
    if not head.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")):
        raise _NoTunnelError


def proxy_authorization(proxy: URL) -> bytes:
    """The header line for the credentials in a proxy's address; nothing if there are none."""
    if proxy.user is None:
        return b""
    token = b64encode(f"{proxy.user}:{proxy.password or ''}".encode())
    return b"Proxy-Authorization: Basic " + token + b"\r\n"


@cache
def _trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: OSError, *, is_in_handshake: bool) -> str | None:
    """Our words for what went wrong; None for what the system says best."""
    match error:
        case socket.gaierror():
            return faults.NO_NAME
        case TimeoutError():
            return faults.NO_TIME
        case ssl.SSLCertVerificationError():
            return faults.NO_TRUST
        case _NoTunnelError():
            return faults.NO_PROXY
        case _:
            return faults.NO_HANDSHAKE if is_in_handshake else None
