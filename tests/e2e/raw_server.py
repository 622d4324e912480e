"""Small raw servers over real sockets, for a transport to get into trouble with."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

KEY = "id.secretsecret"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Respond: TypeAlias = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Reads requests and lets `respond` do what it likes with the nth of them (from 1)."""

    def __init__(self, respond: Respond) -> None:
        self.connections = 0
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.asked = asyncio.Event()
        self.left = asyncio.Event()  # a client closed its connection
        self._respond = respond

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(int(length[1]) if length else 0))
                self.asked.set()
                await self._respond(len(self.bodies), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def listening(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A port on which every connection is served by `serve`; nothing of it is left in the end."""
    serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving[task] = writer
        await serve(reader, writer)

    listener = await asyncio.start_server(keep, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in serving.values():
            writer.transport.abort()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def serving(
    respond: Respond, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Server, str]]:
    server = Server(respond)
    async with listening(server.serve, tls=tls) as port:
        scheme, host = ("http", "127.0.0.1") if tls is None else ("https", "localhost")
        yield server, f"{scheme}://{host}:{port}/v1/chat/completions"


def writing(*parts: bytes, then: str = "keep") -> Respond:
    """Answer with `parts`, then keep the connection, close it, or reset it."""

    async def respond(_n: int, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then == "close":
            writer.close()
        elif then == "reset":
            reset(writer)

    return respond


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
