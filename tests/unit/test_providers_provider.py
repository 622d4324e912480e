from __future__ import annotations

import json
import re
import resource
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from batchkit.descriptors import raise_descriptor_limit
from batchkit.models import Model
from batchkit.providers.codec import Dialect
from batchkit.providers.provider import Provider
from batchkit.providers.transport import Reply, TransportError
from batchkit.records import Completion, Failure, Request, Usage
from batchkit.verdicts import TIMED_OUT, verdict_for

MODEL = Model(name="glm-4-plus", concurrency=5)
REQUEST = Request(0, "r", MODEL.name, [{"role": "user", "content": "hello"}], {}, 6)
ANSWER = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
BODY = b'{"a":1}'
KEY = "id.secretsecret"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeTransport:
    """Replies what it is told to, and keeps what it was sent."""

    def __init__(self, reply: Reply | TransportError | None) -> None:
        self.reply = reply
        self.posts: list[tuple[str, dict[str, str], dict[str, Any], float]] = []

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Reply:
        self.posts.append((url, dict(headers), json.loads(body), timeout_s))
        if isinstance(self.reply, TransportError):
            raise self.reply
        if self.reply is None:
            await anyio.sleep_forever()
            raise AssertionError
        return self.reply

    async def aclose(self) -> None:
        pass


def provider(
    transport: FakeTransport, dialect: Dialect = Dialect.GLM, key: str | None = KEY
) -> Provider:
    return Provider(transport, endpoint="http://x/v1/", dialect=dialect, api_key=key)


@pytest.mark.anyio
async def test_a_request_is_posted_to_the_chat_completions_of_the_endpoint() -> None:
    transport = FakeTransport(Reply(200, {}, ANSWER))
    asked = provider(transport, Dialect.OPENAI)
    outcome = await asked.exchange(asked.prepare(REQUEST, MODEL), 30.0)
    assert outcome == Completion("hi", "stop", Usage())
    assert transport.posts == [
        (
            "http://x/v1/chat/completions",
            {
                "Accept": "application/json",
                "Authorization": f"Bearer {KEY}",
                "Content-Type": "application/json; charset=UTF-8",
                "User-Agent": "batchkit",
            },
            {"model": "glm-4-plus", "messages": [{"role": "user", "content": "hello"}]},
            30.0,
        )
    ]


@pytest.mark.anyio
async def test_each_glm_attempt_has_a_request_id_of_its_own() -> None:
    transport = FakeTransport(Reply(200, {}, ANSWER))
    for _ in range(2):
        asked = provider(transport)
        body = asked.prepare(REQUEST, MODEL)
        await asked.exchange(body, 1.0)
        await asked.exchange(body, 1.0)
    ids = [body["request_id"] for _, _, body, _ in transport.posts]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"[0-9a-f-]{6,64}", request_id) for request_id in ids)


@pytest.mark.anyio
@pytest.mark.parametrize("key", [f" {KEY}\n", KEY])
async def test_whitespace_around_a_key_is_not_sent(key: str) -> None:
    transport = FakeTransport(Reply(200, {}, ANSWER))
    await provider(transport, key=key).exchange(BODY, 1.0)
    assert transport.posts[0][1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.anyio
@pytest.mark.parametrize("key", [None, "", " \n"])
async def test_without_a_key_there_is_no_authorization(key: str | None) -> None:
    transport = FakeTransport(Reply(200, {}, ANSWER))
    await provider(transport, key=key).exchange(BODY, 1.0)
    assert "Authorization" not in transport.posts[0][1]


@pytest.mark.anyio
async def test_what_the_transport_raises_is_a_failure() -> None:
    transport = FakeTransport(TransportError(TIMED_OUT, "no whole answer within 1 s"))
    outcome = await provider(transport).exchange(BODY, 1.0)
    assert outcome == Failure(TIMED_OUT, "no whole answer within 1 s")


@pytest.mark.anyio
async def test_a_key_in_a_refusal_is_masked() -> None:
    body = json.dumps({"error": {"code": "1002", "message": f"bad token {KEY}"}}).encode()
    outcome = await provider(FakeTransport(Reply(401, {}, body))).exchange(BODY, 1.0)
    assert outcome == Failure(
        verdict_for(401, "1002"), "bad token ***", http_status=401, code="1002"
    )


@pytest.mark.anyio
async def test_a_wait_until_a_date_is_counted_from_the_given_clock() -> None:
    headers = {"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}
    asked = Provider(
        FakeTransport(Reply(429, headers, b"")),
        endpoint="http://x",
        dialect=Dialect.OPENAI,
        api_key=None,
        wall=lambda: 90.0,
    )
    outcome = await asked.exchange(BODY, 1.0)
    assert isinstance(outcome, Failure)
    assert outcome.retry_after_s == 10.0


@pytest.mark.anyio
async def test_cancellation_passes_through() -> None:
    with anyio.move_on_after(0.01) as scope:
        await provider(FakeTransport(None)).exchange(BODY, 1.0)
    assert scope.cancelled_caught


class FakeLimits:
    """`resource`'s two calls over numbers of its own; `most` is what the system really allows."""

    def __init__(self, soft: int, hard: int, most: int) -> None:
        self.limits = (soft, hard)
        self.most = most

    def getrlimit(self, _kind: int) -> tuple[int, int]:
        return self.limits

    def setrlimit(self, _kind: int, limits: tuple[int, int]) -> None:
        if limits[0] > self.most:
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "most", "slots", "fit", "left"),
    [
        (1024, 4096, 4096, 300, 300, 1024),  # enough as it is
        (1024, 4096, 4096, 3000, 3000, 3256),
        (1024, 2048, 2048, 3000, 1792, 2048),
        (1024, INFINITY, 10**6, 3000, 3000, 3256),
        (INFINITY, INFINITY, 0, 3000, 3000, INFINITY),
        (1024, INFINITY, 1024, 3000, 768, 1024),  # refused in spite of what it says
        (64, 64, 64, 10, 1, 64),
    ],
)
def test_the_descriptor_limit_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    most: int,
    slots: int,
    fit: int,
    left: int,
) -> None:
    limits = FakeLimits(soft, hard, most)
    monkeypatch.setattr(resource, "getrlimit", limits.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", limits.setrlimit)
    assert raise_descriptor_limit(slots) == fit
    assert limits.limits == (left, hard)
