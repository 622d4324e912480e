"""Every fault as a client of aiohttp sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from batchkit.simulator.faults import FAULTS, Mode
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.provider_errors import PROVIDER_ERRORS
from batchkit.simulator.server import serve
from tests.simulator.samples import body, post, raw

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("code", sorted(PROVIDER_ERRORS))
async def test_every_code_is_sent_with_its_status(http: aiohttp.ClientSession, code: str) -> None:
    async with serve(SimulatorOptions(faults={code: 1})) as running:
        status, answer = await post(http, running)
        assert (status, answer["error"]["code"]) == (PROVIDER_ERRORS[code].status, code)
        assert answer["error"]["message"]
        assert running.service.stats.codes == {code: 1}


async def fault(
    http: aiohttp.ClientSession, mode: Mode, **options: Any
) -> tuple[int, str, bytes, dict[str, int]]:
    async with serve(SimulatorOptions(faults={mode: 1}, **options)) as running:
        url = running.url + "/chat/completions"
        request = body("hello", response_format={"type": "json_object"})
        async with http.post(url, json=request, allow_redirects=False) as response:
            content = await response.read()
        return response.status, response.content_type, content, running.service.stats.codes


async def test_html502_is_a_gateways_page(http: aiohttp.ClientSession) -> None:
    status, kind, content, codes = await fault(http, Mode.HTML502)
    assert (status, kind, codes) == (502, "text/html", {"html502": 1})
    assert b"502 Bad Gateway" in content


async def test_reset_closes_before_an_answer(http: aiohttp.ClientSession) -> None:
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await fault(http, Mode.RESET)


async def test_cut_is_shorter_than_it_says(http: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await fault(http, Mode.CUT)


@pytest.mark.parametrize("mode", [Mode.SLOW, Mode.HANG])
async def test_slow_and_hang_outlast_a_short_timeout(
    http: aiohttp.ClientSession, mode: Mode
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await fault(http, mode, slow_s=60)


async def test_slow_is_answered_in_the_end(http: aiohttp.ClientSession) -> None:
    status, _, _, codes = await fault(http, Mode.SLOW, slow_s=0.01)
    assert (status, codes) == (200, {})


async def test_network_error_and_sensitive_come_with_200(http: aiohttp.ClientSession) -> None:
    for mode in (Mode.NETWORK_ERROR, Mode.SENSITIVE):
        async with serve(SimulatorOptions(faults={mode: 1})) as running:
            status, answer = await post(http, running)
            assert status == 200
            assert answer["choices"][0]["finish_reason"] == mode
            assert answer["choices"][0]["message"]["content"]
            assert answer["usage"]["completion_tokens"] > 0
            assert ("content_filter" in answer) == (mode == Mode.SENSITIVE)
            assert running.service.stats.answered == 0


async def test_filtered_is_1301_with_its_sibling(http: aiohttp.ClientSession) -> None:
    async with serve(SimulatorOptions(faults={"filtered": 1})) as running:
        status, answer = await post(http, running)
        assert (status, answer["error"]["code"]) == (400, "1301")
        assert answer["contentFilter"] == [{"level": 1, "role": "user"}]


async def test_empty_has_no_choices_and_success_false_its_own_form(
    http: aiohttp.ClientSession,
) -> None:
    async with serve(SimulatorOptions(marks={"e": "empty", "s": "success_false"})) as running:
        status, answer = await post(http, running, "e")
        assert (status, answer["choices"]) == (200, [])
        assert await post(http, running, "s") == (
            200,
            {"code": 500, "msg": "内部错误", "success": False},
        )


async def test_nonjson_calls_itself_json(http: aiohttp.ClientSession) -> None:
    status, kind, content, _ = await fault(http, Mode.NONJSON)
    assert (status, kind) == (200, "application/json")
    assert content.startswith(b"upstream connect error")


async def test_huge_is_as_big_as_asked_for(http: aiohttp.ClientSession) -> None:
    status, _, content, codes = await fault(http, Mode.HUGE, huge_mb=3)
    assert (status, len(content) >> 20, codes) == (200, 3, {"huge": 1})


async def test_prose_comes_where_json_was_asked_for(http: aiohttp.ClientSession) -> None:
    _, _, content, codes = await fault(http, Mode.PROSE)
    assert b'"content":"answer ' in content
    assert codes == {}


async def test_redirect_leads_elsewhere(http: aiohttp.ClientSession) -> None:
    async with serve(SimulatorOptions(faults={"redirect": 1})) as running:
        url = running.url + "/chat/completions"
        async with http.post(url, data=raw(), allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (307, "/elsewhere")
        async with http.post(url, data=raw()) as response:
            assert response.status == 404


async def test_a_retry_of_a_faulty_request_succeeds_in_the_end(
    http: aiohttp.ClientSession,
) -> None:
    names = sorted(FAULTS - {Mode.HANG, Mode.SLOW, Mode.HUGE, Mode.REDIRECT, Mode.PROSE})
    options = SimulatorOptions(faults=dict.fromkeys(names, 0.6 / len(names)), record=True)
    async with serve(options) as running:

        async def settle(text: str) -> None:
            for _ in range(100):
                try:
                    status, answer = await post(http, running, text)
                except (aiohttp.ClientError, ValueError):
                    continue
                choices = answer.get("choices")
                if status == 200 and choices and choices[0]["finish_reason"] == "stop":
                    return
            pytest.fail("a hundred faults in a row")

        await asyncio.gather(*(settle(str(i)) for i in range(100)))
        stats = running.service.stats
        assert stats.requests == 100 + sum(stats.codes.values())
        assert set(running.service.seen.values()) == {1}


async def test_a_stream_that_is_cut_has_no_end(http: aiohttp.ClientSession) -> None:
    async with serve(SimulatorOptions(faults={"cut": 1})) as running:
        url = running.url + "/chat/completions"
        async with http.post(url, json=body(stream=True)) as response:
            assert response.content_type == "text/event-stream"
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
