"""The transports and what the network can do to them: the verdict on each fault."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from batchkit.errors import Verdict
from batchkit.providers.transport import Reply, TransportError
from batchkit.verdicts import BAD_RESPONSE, CUT_OFF, LOCAL_TROUBLE, TIMED_OUT, UNREACHABLE
from tests.e2e.raw_server import (
    CHUNKED,
    HEADERS,
    KEY,
    OK,
    listening,
    serving,
    writing,
)
from tests.e2e.transports import Opens

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


async def fault(
    transport: Opens, url: str, timeout_s: float = 5.0, **options: Any
) -> tuple[Verdict, str]:
    """What posting to `url` raises."""
    async with transport(**options) as client:
        with pytest.raises(TransportError) as caught:
            await client.post(url, HEADERS, b'{"a":1}', timeout_s)
    assert KEY not in caught.value.message
    assert str(caught.value) == caught.value.message
    return caught.value.verdict, caught.value.message


async def test_a_refused_connection_was_never_sent(transport: Opens) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        outcome = await fault(transport, f"http://127.0.0.1:{port}/v1")
    assert outcome == (UNREACHABLE, f"cannot connect to 127.0.0.1:{port}: connection refused")


async def test_a_connection_that_does_not_come_about_in_time_was_never_sent(
    transport: Opens,
) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # fill the queue that nobody accepts from
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        outcome = await fault(transport, f"http://127.0.0.1:{port}/v1", timeout_s=0.05)
    assert outcome == (UNREACHABLE, f"cannot connect to 127.0.0.1:{port}: no connection in time")


async def test_a_failed_tls_handshake_was_never_sent(transport: Opens) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"this is not TLS\r\n")
        writer.close()

    async with listening(babble) as port:
        outcome = await fault(transport, f"https://127.0.0.1:{port}/v1")
    assert outcome == (
        UNREACHABLE,
        f"cannot connect to 127.0.0.1:{port}: the TLS handshake failed",
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http://[::1/v1", "ftp://x/v1", "x"])
async def test_an_address_that_is_none_was_never_sent(url: str, transport: Opens) -> None:
    verdict, _ = await fault(transport, url)
    assert verdict == UNREACHABLE


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "x" * 300])
async def test_a_name_that_cannot_be_one_was_never_sent(host: str, transport: Opens) -> None:
    verdict, _ = await fault(transport, f"http://{host}/v1")
    assert verdict == UNREACHABLE


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_running_out_of_descriptors_is_this_machines_trouble(transport: Opens) -> None:
    closing = OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
    async with serving(writing(closing)) as (server, url), transport() as client:
        assert (await client.post(url, HEADERS, b"{}", 5.0)).status == 200
        await anyio.sleep(0.01)  # its connection gives its descriptor back
        with no_descriptor_left(), pytest.raises(TransportError) as caught:
            await client.post(url, HEADERS, b"{}", 5.0)
        assert caught.value.verdict == LOCAL_TROUBLE
        assert caught.value.message == "no connection could be opened: too many open files"
        assert server.bodies == [b"{}"]
        assert (await client.post(url, HEADERS, b"{}", 5.0)).status == 200


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_connection_closed_before_the_answer_may_have_been_billed(
    then: str, transport: Opens
) -> None:
    async with serving(writing(then=then)) as (server, url):
        outcome = await fault(transport, url)
    assert outcome == (CUT_OFF, "the connection was closed before an answer came")
    assert len(server.bodies) == 1


@pytest.mark.parametrize("began", [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"2\r\n{"])
async def test_an_answer_that_is_not_whole_in_time_timed_out(
    began: bytes, transport: Opens
) -> None:
    async with serving(writing(began)) as (_, url):
        outcome = await fault(transport, url, timeout_s=0.05)
    assert outcome == (TIMED_OUT, "no whole answer within 0.05 s")


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        CHUNKED + b"2\r\n{}\r\n",
        CHUNKED + b"5\r\n{}",
    ],
    ids=["short", "no last chunk", "in a chunk"],
)
async def test_an_answer_that_was_cut_is_a_bad_one(raw: bytes, then: str, transport: Opens) -> None:
    async def respond(n: int, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await asyncio.sleep(0.01)  # a reset would overtake what is on its way
        await writing(then=then)(n, writer)

    async with serving(respond) as (_, url):
        outcome = await fault(transport, url)
    assert outcome == (BAD_RESPONSE, "the answer was cut off")


@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**20 + b"\r\n\r\n",
        CHUNKED + b"zz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_what_is_not_http_is_a_bad_answer(raw: bytes, transport: Opens) -> None:
    async with serving(writing(raw, then="close")) as (_, url):
        verdict, message = await fault(transport, url)
    assert verdict == BAD_RESPONSE
    assert message in {"the answer is not HTTP", "the answer was cut off"}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_answer_without_end_is_given_up(encoding: str, transport: Opens) -> None:
    zeros = bytes(2**16)
    if encoding == "gzip":
        zeros = gzip.compress(bytes(2**24))
    chunk = b"%x\r\n%b\r\n" % (len(zeros), zeros)
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: %b\r\n\r\n" % encoding.encode())

    async def respond(_n: int, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(chunk)
            await writer.drain()

    async with serving(respond) as (server, url):
        outcome = await fault(transport, url, most_answer_bytes=2**20)
        with anyio.fail_after(30):
            await server.left.wait()
    assert outcome == (BAD_RESPONSE, "the answer is longer than 1048576 bytes")


async def test_no_garbled_answer_raises_anything_else(transport: Opens) -> None:
    rng = random.Random(20261124)  # not a secret
    replies = [
        OK,
        CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}"),
        b"HTTP/1.1 503 No\r\nRetry-After: 5\r\n\r\n",
    ]

    async def respond(_n: int, writer: asyncio.StreamWriter) -> None:
        raw = bytearray(rng.choice(replies))
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        writer.write(raw[: rng.randrange(len(raw) + 40)])
        writer.close()

    async with serving(respond) as (_, url), transport() as client:
        for _ in range(400):
            try:
                reply = await client.post(url, HEADERS, b"{}", 5.0)
                assert isinstance(reply, Reply)
            except TransportError as error:
                assert error.verdict in {BAD_RESPONSE, CUT_OFF}  # noqa: PT017  # either may be
