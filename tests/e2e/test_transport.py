"""The aiohttp transport against small servers that misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import re
import resource
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import anyio
import pytest

from batchkit.errors import (
    BAD_RESPONSE,
    CUT_OFF,
    LOCAL_TROUBLE,
    TIMED_OUT,
    UNREACHABLE,
    Verdict,
)
from batchkit.providers.aiohttp_transport import AiohttpTransport
from batchkit.providers.transport import Reply, TransportError

pytestmark = pytest.mark.anyio

KEY = "id.secretsecret"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


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
async def serving(respond: Respond) -> AsyncIterator[tuple[Server, str]]:
    server = Server(respond)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield server, f"http://127.0.0.1:{port}/v1/chat/completions"
    finally:
        listener.close()


def writing(*parts: bytes, then: str = "keep") -> Respond:
    """Answer with `parts`, then keep the connection, close it, reset it, or hang."""

    async def respond(_n: int, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then == "hang":
            await asyncio.sleep(5)
        elif then == "close":
            writer.close()
        elif then == "reset":
            reset(writer)

    return respond


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@asynccontextmanager
async def transport(**options: Any) -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport(**options)
    try:
        yield made
    finally:
        await made.aclose()


async def fault(url: str, timeout_s: float = 5.0, **options: Any) -> tuple[Verdict, str]:
    """What posting to `url` raises."""
    async with transport(**options) as client:
        with pytest.raises(TransportError) as caught:
            await client.post(url, HEADERS, b'{"a":1}', timeout_s)
    assert KEY not in caught.value.message
    assert str(caught.value) == caught.value.message
    return caught.value.verdict, caught.value.message


async def test_a_reply_is_whole_and_its_headers_have_no_case() -> None:
    raw = b"HTTP/1.1 429 Busy\r\nReTRY-After: 3\r\nContent-Length: 5\r\n\r\nlater"
    async with serving(writing(raw)) as (_, url), transport() as client:
        reply = await client.post(url, HEADERS, b"{}", 5.0)
    assert (reply.status, reply.headers["retry-after"], reply.body) == (429, "3", b"later")


@pytest.mark.parametrize(
    "raw",
    [
        CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"ab"),
    ],
    ids=["chunked", "until close", "http 1.0", "continued", "gzip all the same"],
)
async def test_every_framing_of_an_answer_is_read(raw: bytes) -> None:
    async with serving(writing(raw, then="close")) as (_, url), transport() as client:
        reply = await client.post(url, HEADERS, b"{}", 5.0)
    assert (reply.status, reply.body) == (200, b"ab")


async def test_a_request_goes_out_with_its_headers_and_asks_for_no_compression() -> None:
    async with serving(writing(OK)) as (server, url), transport() as client:
        await client.post(url, HEADERS | {"User-Agent": "batchkit", "Accept": "*/*"}, b"{}", 5.0)
    lines = server.heads[0].rstrip().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert sorted(line for line in lines[1:] if not line.startswith("Host")) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        f"Authorization: Bearer {KEY}",
        "Content-Length: 2",
        "Content-Type: application/json",
        "User-Agent: batchkit",
    ]


async def test_a_long_prompt_arrives_whole() -> None:
    body = os.urandom(3 * 2**20)
    async with serving(writing(OK)) as (server, url), transport() as client:
        await client.post(url, HEADERS, body, 5.0)
    assert server.bodies == [body]


async def test_an_answer_that_comes_before_the_request_was_read_is_an_answer() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.close()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with transport() as client:
        reply = await client.post(f"http://127.0.0.1:{port}/", HEADERS, bytes(20 * 2**20), 5.0)
    listener.close()
    assert (reply.status, reply.body) == (413, b"")


async def test_neither_redirects_nor_cookies_are_followed() -> None:
    raw = b"HTTP/1.1 307 Elsewhere\r\nLocation: /other\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with serving(writing(raw)) as (server, url), transport() as client:
        replies = [await client.post(url, HEADERS, b"{}", 5.0) for _ in range(2)]
    assert [reply.status for reply in replies] == [307, 307]
    assert len(server.heads) == 2
    assert not any("Cookie" in head for head in server.heads)


async def test_a_connection_is_used_again() -> None:
    async with serving(writing(OK)) as (server, url), transport() as client:
        for _ in range(20):
            await client.post(url, HEADERS, b"{}", 5.0)
    assert (server.connections, len(server.bodies)) == (1, 20)


async def test_a_refused_connection_was_never_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        outcome = await fault(f"http://127.0.0.1:{port}/v1")
    assert outcome == (UNREACHABLE, f"cannot connect to 127.0.0.1:{port}: connection refused")


async def test_a_connection_that_does_not_come_about_in_time_was_never_sent() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # fill the queue that nobody accepts from
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        outcome = await fault(f"http://127.0.0.1:{port}/v1", timeout_s=0.05)
    assert outcome == (UNREACHABLE, f"cannot connect to 127.0.0.1:{port}: no connection in time")


async def test_a_failed_tls_handshake_was_never_sent() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"this is not TLS\r\n")
        writer.close()

    listener = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    verdict, message = await fault(f"https://127.0.0.1:{port}/v1")
    listener.close()
    assert verdict == UNREACHABLE
    assert message == f"cannot connect to 127.0.0.1:{port}: the TLS handshake failed"


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http://[::1/v1", "ftp://x/v1", "x"])
async def test_an_address_that_is_none_was_never_sent(url: str) -> None:
    verdict, _ = await fault(url)
    assert verdict == UNREACHABLE


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "x" * 300])
async def test_a_name_that_cannot_be_one_was_never_sent(host: str) -> None:
    verdict, _ = await fault(f"http://{host}/v1")
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


async def test_running_out_of_descriptors_is_this_machines_trouble() -> None:
    async with serving(writing(OK)) as (server, url), transport() as client:
        with no_descriptor_left(), pytest.raises(TransportError) as caught:
            await client.post(url, HEADERS, b"{}", 5.0)
        assert caught.value.verdict == LOCAL_TROUBLE
        assert caught.value.message == "no connection could be opened: too many open files"
        assert server.bodies == []
        assert (await client.post(url, HEADERS, b"{}", 5.0)).status == 200


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_connection_closed_before_the_answer_may_have_been_billed(then: str) -> None:
    async with serving(writing(then=then)) as (server, url):
        outcome = await fault(url)
    assert outcome == (CUT_OFF, "the connection was closed before an answer came")
    assert len(server.bodies) == 1


@pytest.mark.parametrize("began", [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"2\r\n{"])
async def test_an_answer_that_is_not_whole_in_time_timed_out(began: bytes) -> None:
    async with serving(writing(began, then="hang")) as (_, url):
        outcome = await fault(url, timeout_s=0.05)
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
async def test_an_answer_that_was_cut_is_a_bad_one(raw: bytes, then: str) -> None:
    async def respond(_n: int, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await asyncio.sleep(0.01)  # a reset would overtake what is on its way
        await writing(then=then)(_n, writer)

    async with serving(respond) as (_, url):
        outcome = await fault(url)
    assert outcome == (BAD_RESPONSE, "the answer was cut off")


@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        CHUNKED + b"zz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_what_is_not_http_is_a_bad_answer(raw: bytes) -> None:
    async with serving(writing(raw, then="close")) as (_, url):
        verdict, message = await fault(url)
    assert verdict == BAD_RESPONSE
    assert message in {"the answer is not HTTP", "the answer was cut off"}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_answer_without_end_is_given_up(encoding: str) -> None:
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
        outcome = await fault(url, most_answer_bytes=2**20)
        with anyio.fail_after(5):
            await server.left.wait()
    assert outcome == (BAD_RESPONSE, "the answer is longer than 1048576 bytes")


async def test_an_answer_of_the_greatest_length_is_read() -> None:
    async with serving(writing(OK)) as (_, url), transport(most_answer_bytes=2) as client:
        assert (await client.post(url, HEADERS, b"{}", 5.0)).body == b"{}"


async def test_a_cancelled_post_is_closed_at_the_server_at_once() -> None:
    async with serving(writing(then="hang")) as (server, url), transport() as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.post, url, HEADERS, b"{}", 60.0)
            await server.asked.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(0.5):
            await _gone(server)


async def _gone(server: Server) -> None:
    while server.connections and not server.left.is_set():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("says_so", [True, False])
async def test_a_request_is_never_sent_twice_by_itself(says_so: bool) -> None:
    """Also to a server that closes after every third answer, whether it announces that or not."""
    answer = OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n") if says_so else OK

    async def respond(n: int, writer: asyncio.StreamWriter) -> None:
        await writing(OK if n % 3 else answer, then="keep" if n % 3 else "close")(n, writer)

    answered: list[bytes] = []
    async with serving(respond) as (server, url), transport() as client:

        async def ask(body: bytes) -> None:
            try:
                await client.post(url, HEADERS, body, 5.0)
                answered.append(body)
            except TransportError as error:
                assert error.verdict == CUT_OFF

        for n in range(50):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(ask, b"%d.%d" % (n, _))
    assert len(set(server.bodies)) == len(server.bodies)
    assert set(answered) <= set(server.bodies)
    assert len(answered) == 150 if says_so else len(answered) > 100


async def test_the_environments_proxy_is_used_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with serving(writing(OK)) as (proxy, proxy_url), serving(writing(OK)) as (server, url):
        monkeypatch.setenv("http_proxy", proxy_url.replace("http://", "http://user:pass@"))
        for trust_env in (False, True):
            async with transport(trust_env=trust_env) as client:
                await client.post(url, HEADERS, b"{}", 5.0)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with transport(trust_env=True) as client:
            await client.post(url, HEADERS, b"{}", 5.0)
    assert len(server.heads) == 2
    assert [head.split("\r\n")[0] for head in proxy.heads] == [f"POST {url} HTTP/1.1"]
    assert "Proxy-Authorization: Basic dXNlcjpwYXNz" in proxy.heads[0]


async def test_a_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving(writing(OK)) as (server, url), transport(trust_env=True) as client:
        await client.post(url, HEADERS, b"{}", 5.0)
    assert f"Authorization: Bearer {KEY}" in server.heads[0]


async def test_no_garbled_answer_raises_anything_else() -> None:
    rng = random.Random(20261124)  # noqa: S311  # not a secret
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
