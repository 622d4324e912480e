"""The provider's own SDK and OpenAI's work against the simulator as against the service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import openai
import pytest
import zai

from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.server import Running, serve_in_thread
from tests.simulator.samples import FLASH

KEY = "name.0123456789abcdef0123456789abcdef"
MARKS = {f"[[{code}]]": code for code in ("1210", "1000", "1302", "500", "1305")}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    options = SimulatorOptions(check_key=True, marks=MARKS | {"[[reset]]": "reset"}, cache=True)
    with serve_in_thread(options) as running:
        yield running


@pytest.fixture
def official(running: Running) -> Iterator[Any]:
    with zai.ZhipuAiClient(api_key=KEY, base_url=running.url, max_retries=0) as client:
        yield client


@pytest.fixture
def plain_openai(running: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=running.openai_url, max_retries=0) as client:
        yield client


def ask(client: Any, text: str, **params: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=FLASH, messages=messages, **params)


@pytest.mark.parametrize("client", ["official", "plain_openai"])
def test_plain_stream_and_json(client: str, request: pytest.FixtureRequest) -> None:
    sdk = request.getfixturevalue(client)
    whole = ask(sdk, "hello")
    choice = whole.choices[0]
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.usage.prompt_tokens_details.cached_tokens == 0

    chunks = list(ask(sdk, "hello", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == choice.message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens

    content = ask(sdk, "hello", response_format={"type": "json_object"}).choices[0].message.content
    assert list(msgspec.json.decode(content)) == ["answer"]


@pytest.mark.parametrize(
    ("code", "exception"),
    [
        ("1210", zai.core.APIRequestFailedError),
        ("1000", zai.core.APIAuthenticationError),
        ("1302", zai.core.APIReachLimitError),
        ("1305", zai.core.APIReachLimitError),
        ("500", zai.core.APIInternalError),
    ],
)
def test_the_official_sdk_raises_its_own_classes(
    official: Any, code: str, exception: type[Exception]
) -> None:
    with pytest.raises(exception, match=f'"code":"{code}"'):
        ask(official, f"[[{code}]]")


def test_the_official_sdk_sees_a_reset_as_a_connection_error(official: Any) -> None:
    with pytest.raises(zai.core.APIResponseError):
        ask(official, "[[reset]]")


def test_the_official_sdk_may_sign_a_token_instead(running: Running) -> None:
    with zai.ZhipuAiClient(api_key=KEY, base_url=running.url, disable_token_cache=False) as client:
        assert ask(client, "hello").choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("code", "exception"),
    [
        ("1210", openai.BadRequestError),
        ("1000", openai.AuthenticationError),
        ("1302", openai.RateLimitError),
        ("500", openai.InternalServerError),
    ],
)
def test_the_openai_sdk_raises_its_own_classes_on_both_paths(
    running: Running, code: str, exception: type[Exception]
) -> None:
    for url in (running.url, running.openai_url):
        with (
            openai.OpenAI(api_key=KEY, base_url=url, max_retries=0) as client,
            pytest.raises(exception),
        ):
            ask(client, f"[[{code}]]")


def test_the_openai_sdk_learns_of_an_unknown_model(plain_openai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        plain_openai.chat.completions.create(
            model="glm-9", messages=[{"role": "user", "content": "hello"}]
        )
    assert caught.value.code == "model_not_found"


def test_the_openai_sdk_gets_an_instance_of_its_json_schema(plain_openai: openai.OpenAI) -> None:
    given = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    content = ask(plain_openai, "hello", response_format=given).choices[0].message.content
    jsonschema_rs.validate(SCHEMA, msgspec.json.decode(content))


@pytest.mark.anyio
async def test_the_async_openai_sdk_works_too(
    running: Running, plain_openai: openai.OpenAI
) -> None:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=running.url, max_retries=0) as client:
        whole = await ask(client, "hello")
        assert whole.choices == ask(plain_openai, "hello").choices
        stream = await ask(client, "hello", stream=True)
        pieces = [chunk.choices[0].delta.content async for chunk in stream]
        assert "".join(pieces) == whole.choices[0].message.content
        with pytest.raises(openai.RateLimitError):
            await ask(client, "[[1302]]")


def test_a_missing_key_is_1001(running: Running) -> None:
    answer = httpx.post(running.url + "/chat/completions", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "1001")
