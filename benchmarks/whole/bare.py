"""The least that a client can do: send every row of a file, decode every answer, keep nothing.

python -m benchmarks.whole.bare aiohttp|httptools|pyreqwest FILE ADDRESS IN_FLIGHT
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import uvloop

from batchkit.providers.httptools_transport import HttptoolsTransport
from benchmarks.whole.peers import MISSING

TIMEOUT_S = 300.0
HEADERS = {
    "Accept-Encoding": "identity",
    "Authorization": "Bearer id.secret",
    "Content-Type": "application/json",
}
Post: TypeAlias = Callable[[bytes], Awaitable[bytes]]


@asynccontextmanager
async def posting_by_aiohttp(url: str) -> Any:
    import aiohttp  # noqa: PLC0415

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
        timeout=timeout,
    ) as session:

        async def post(body: bytes) -> bytes:
            async with session.post(url, data=body, allow_redirects=False) as response:
                return await response.read()

        yield post


@asynccontextmanager
async def posting_by_pyreqwest(url: str) -> Any:
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415

    builder = ClientBuilder().no_proxy().http1_only().follow_redirects(False)
    client = builder.default_headers(HEADERS).timeout(timedelta(seconds=TIMEOUT_S)).build()

    async def post(body: bytes) -> bytes:
        response = await client.post(url).body_bytes(body).build().send()
        return bytes(await response.bytes())

    yield post
    await client.close()


@asynccontextmanager
async def posting_by_httptools(url: str) -> Any:
    """By batchkit's own transport: there is no other client over httptools."""
    transport = HttptoolsTransport()

    async def post(body: bytes) -> bytes:
        return (await transport.post(url, HEADERS, body, TIMEOUT_S)).body

    yield post
    await transport.aclose()


POSTING = {
    "aiohttp": posting_by_aiohttp,
    "httptools": posting_by_httptools,
    "pyreqwest": posting_by_pyreqwest,
}


def bodies(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            row = msgspec.json.decode(line)
            yield msgspec.json.encode({"model": row["model"], "messages": row["messages"]})


async def main(client: str, path: Path, address: str, in_flight: int) -> None:
    async with POSTING[client](f"{address}/chat/completions") as post:
        waiting = bodies(path)

        async def work() -> None:
            for body in waiting:
                msgspec.json.decode(await post(body))

        await asyncio.gather(*(work() for _ in range(in_flight)))


if __name__ == "__main__":
    try:
        uvloop.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
    except ModuleNotFoundError as error:
        raise SystemExit(MISSING) from error
