"""The transports over TLS, straight and through a proxy, with certificates of a real authority."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest
import trustme

from batchkit.spec import TransportName
from tests.e2e.raw_server import OK, Serve, listening, serving, writing

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """What a server on localhost shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate as a file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(params=TransportName)
def name(request: pytest.FixtureRequest) -> str:
    one: TransportName = request.param
    if find_spec(one.value) is None and "BATCHKIT_REQUIRE_FAST" not in os.environ:
        pytest.skip(f"{one.value} is not installed")
    return one.value


async def post(name: str, url: str, **environment: str | Path) -> str:
    """What `post_once` prints, in an environment without proxies but those that are given."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = await anyio.run_process(
        [sys.executable, "-m", "tests.e2e.post_once", name, url],
        cwd=ROOT,
        env={**kept, **{key: str(value) for key, value in environment.items()}},
        stderr=subprocess.STDOUT,
    )
    return done.stdout.decode().strip()


def tunnelling(asked: list[str], *, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Serve:
    """A proxy that notes what it is asked, answers, and passes everything on if that is yes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        writer.write(answer)
        if b" 200 " not in answer:
            writer.close()
            return
        port = int(head.split()[1].rpartition(":")[2])
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))

    return serve


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while received := await reader.read(2**16):
        writer.write(received)
    writer.close()


async def test_a_trusted_server_is_asked(name: str, tls: ssl.SSLContext, trusted: Path) -> None:
    async with serving(writing(OK), tls=tls) as (server, url):
        said = await post(name, url, SSL_CERT_FILE=trusted)
    assert (said, server.bodies) == ("200", [b"{}"])


async def test_a_server_that_nobody_vouches_for_gets_nothing(
    name: str, tls: ssl.SSLContext
) -> None:
    async with serving(writing(OK), tls=tls) as (server, url):
        said = await post(name, url)
    port = url.split(":")[2].split("/")[0]
    assert said == f"free cannot connect to localhost:{port}: its certificate is not trusted"
    assert server.bodies == []


async def test_a_server_with_another_name_gets_nothing(
    name: str, tls: ssl.SSLContext, trusted: Path
) -> None:
    async with serving(writing(OK), tls=tls) as (server, url):
        said = await post(name, url.replace("localhost", "127.0.0.1"), SSL_CERT_FILE=trusted)
    assert said.endswith("its certificate is not trusted")
    assert server.bodies == []


async def test_tls_goes_through_the_proxy_unread(
    name: str, tls: ssl.SSLContext, trusted: Path
) -> None:
    asked: list[str] = []
    async with (
        serving(writing(OK), tls=tls) as (server, url),
        listening(tunnelling(asked)) as port,
    ):
        proxy = f"http://user:pass@127.0.0.1:{port}"
        said = await post(name, url, SSL_CERT_FILE=trusted, https_proxy=proxy)
    (head,) = asked
    peer = url.split("/")[2]
    assert (said, server.bodies) == ("200", [b"{}"])
    assert head.startswith(f"CONNECT {peer} HTTP/1.1\r\n")
    assert "proxy-authorization: basic dxnlcjpwyxnz" in head.lower()
    assert "Bearer" not in head


REFUSED = "the proxy refuses to connect"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", REFUSED),
        (b"HTTP/1.1 502 No\r\n\r\n", REFUSED),
        (b"", None),
        (b"220 mail.example.com ESMTP\r\n\r\n", None),
        (b"x" * 2**16, None),
    ],
    ids=["refuses", "has no way", "silent", "speaks SMTP", "babbles"],
)
async def test_a_proxy_without_a_tunnel_leaves_the_request_unsent(
    answer: bytes, words: str | None, name: str, tls: ssl.SSLContext, trusted: Path
) -> None:
    async with (
        serving(writing(OK), tls=tls) as (server, url),
        listening(tunnelling([], answer=answer)) as port,
    ):
        said = await post(name, url, SSL_CERT_FILE=trusted, https_proxy=f"http://127.0.0.1:{port}")
    place = f"free cannot connect to {url.split('/')[2]}: "
    assert said.startswith(place)
    assert words in {None, said.removeprefix(place)}
    assert server.bodies == []


async def test_a_proxy_behind_tls_needs_aiohttp(tls: ssl.SSLContext, trusted: Path) -> None:
    pytest.importorskip("httptools")
    async with serving(writing(OK), tls=tls) as (server, url):
        said = await post(
            "httptools", url, SSL_CERT_FILE=trusted, https_proxy="https://127.0.0.1:1"
        )
    assert said.endswith(": a proxy behind TLS needs --transport aiohttp")
    assert server.bodies == []
