"""The transports against small servers that misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import os
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from batchkit.errors import Verdict
from batchkit.providers.transport import Transport, TransportError
from batchkit.verdicts import CUT_OFF
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


async def test_a_reply_is_whole_and_its_headers_have_no_case(transport: Opens) -> None:
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
async def test_every_framing_of_an_answer_is_read(raw: bytes, transport: Opens) -> None:
    async with serving(writing(raw, then="close")) as (_, url), transport() as client:
        reply = await client.post(url, HEADERS, b"{}", 5.0)
    assert (reply.status, reply.body) == (200, b"ab")


async def test_a_request_goes_out_with_its_headers_and_asks_for_no_compression(
    transport: Opens,
) -> None:
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


async def test_a_long_prompt_arrives_whole(transport: Opens) -> None:
    body = os.urandom(3 * 2**20)
    async with serving(writing(OK)) as (server, url), transport() as client:
        await client.post(url, HEADERS, body, 5.0)
    assert server.bodies == [body]


async def test_an_answer_that_comes_before_the_request_was_read_is_an_answer(
    transport: Opens,
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n")

    async with listening(refuse) as port, transport() as client:
        reply = await client.post(f"http://127.0.0.1:{port}/", HEADERS, bytes(20 * 2**20), 5.0)
    assert (reply.status, reply.body) == (413, b"")


async def test_neither_redirects_nor_cookies_are_followed(transport: Opens) -> None:
    raw = OK.replace(b"200 OK\r\n", b"307 Elsewhere\r\nLocation: /other\r\nSet-Cookie: a=b\r\n")
    async with serving(writing(raw)) as (server, url), transport() as client:
        replies = [await client.post(url, HEADERS, b"{}", 5.0) for _ in range(2)]
    assert [reply.status for reply in replies] == [307, 307]
    assert len(server.heads) == 2
    assert not any("Cookie" in head for head in server.heads)


async def test_a_connection_is_used_again(transport: Opens) -> None:
    async with serving(writing(OK)) as (server, url), transport() as client:
        for _ in range(20):
            await client.post(url, HEADERS, b"{}", 5.0)
    assert (server.connections, len(server.bodies)) == (1, 20)


@pytest.mark.parametrize("says_so", [True, False])
async def test_a_request_is_never_sent_twice_by_itself(says_so: bool, transport: Opens) -> None:
    """Also to a server that closes after every third answer, whether it announces that or not."""
    answer = OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n") if says_so else OK

    async def respond(n: int, writer: asyncio.StreamWriter) -> None:
        await writing(OK if n % 3 else answer, then="keep" if n % 3 else "close")(n, writer)

    answered: list[bytes] = []
    verdicts: list[Verdict] = []
    async with serving(respond) as (server, url), transport() as client:

        async def ask(body: bytes) -> None:
            try:
                await client.post(url, HEADERS, body, 5.0)
                answered.append(body)
            except TransportError as error:
                verdicts.append(error.verdict)

        for n in range(50):
            async with anyio.create_task_group() as group:
                for place in range(3):
                    group.start_soon(ask, b"%d.%d" % (n, place))
    assert len(set(server.bodies)) == len(server.bodies)
    assert all(verdict == CUT_OFF for verdict in verdicts)
    assert set(answered) <= set(server.bodies)
    assert len(answered) == 150 if says_so else len(answered) > 100


async def test_the_environments_proxy_is_used_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    transport: Opens,
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


async def test_a_netrc_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, transport: Opens
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving(writing(OK)) as (server, url), transport(trust_env=True) as client:
        await client.post(url, HEADERS, b"{}", 5.0)
    assert f"Authorization: Bearer {KEY}" in server.heads[0]


async def test_an_answer_of_the_greatest_length_is_read(transport: Opens) -> None:
    async with serving(writing(OK)) as (_, url), transport(most_answer_bytes=2) as client:
        assert (await client.post(url, HEADERS, b"{}", 5.0)).body == b"{}"


async def test_a_cancelled_post_is_closed_at_the_server_at_once(transport: Opens) -> None:
    async with serving(writing()) as (server, url), transport() as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.post, url, HEADERS, b"{}", 60.0)
            await server.asked.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(30):
            await server.left.wait()


async def test_a_cancelled_post_is_over_for_its_scope_alone(transport: Opens) -> None:
    async with serving(writing()) as (server, url), transport() as client:
        with anyio.move_on_after(0.05) as scope:
            await client.post(url, HEADERS, b"{}", 0.5)
        assert scope.cancelled_caught
        await anyio.lowlevel.checkpoint()  # nothing of the cancellation is left behind
        assert server.bodies == [b"{}"]


async def test_a_transport_closes_while_requests_are_in_flight(transport: Opens) -> None:
    async with (
        serving(writing()) as (server, url),
        transport() as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(_failing, client, url)
        await server.asked.wait()
        await client.aclose()


async def _failing(client: Transport, url: str) -> None:
    with pytest.raises(TransportError) as caught:
        await client.post(url, HEADERS, b"{}", 5.0)
    assert caught.value.verdict == CUT_OFF
