"""The service over loopback: caps under load, disconnects, every fault as a client sees it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import aiohttp
import anyio
import pytest

from batchkit.errors import UsageError
from batchkit.simulator.faults import FAULTS, Mode
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.provider_errors import PROVIDER_ERRORS
from batchkit.simulator.server import Running, serve, serve_in_thread
from tests.simulator.samples import FLASH, PLUS, body, raw

pytestmark = pytest.mark.anyio


async def post(
    http: aiohttp.ClientSession, running: Running, text: str = "hello", **params: Any
) -> tuple[int, Any]:
    url = running.url + "/chat/completions"
    async with http.post(url, json=body(text, **params), allow_redirects=False) as response:
        return response.status, await response.json(content_type=None)


async def wait_for_in_flight(running: Running, model: str, count: int) -> None:
    with anyio.fail_after(5):
        while running.service.stats.models[model].in_flight != count:  # noqa: ASYNC110  # counts
            await asyncio.sleep(0.001)


async def test_a_request_is_answered(http: aiohttp.ClientSession) -> None:
    async with serve() as running:
        status, answer = await post(http, running)
        assert status == 200
        assert answer["model"] == FLASH
        assert answer["choices"][0]["message"]["content"].startswith("answer ")
        assert running.service.stats.answered == 1


async def test_answers_do_not_depend_on_order_time_or_path(http: aiohttp.ClientSession) -> None:
    texts = [str(i) for i in range(30)]

    async def contents(order: list[str], latency: str) -> dict[str, str]:
        async with serve(SimulatorOptions(latency=latency)) as running:
            answers = await asyncio.gather(*(post(http, running, text) for text in order))
        return {
            text: answer["choices"][0]["message"]["content"]
            for text, (_, answer) in zip(order, answers, strict=True)
        }

    assert await contents(texts, "0") == await contents(texts[::-1], "lognormal:0.005,1")


async def test_the_cap_holds_under_load_and_is_used_up(http: aiohttp.ClientSession) -> None:
    options = SimulatorOptions(latency="0.05", limits={PLUS: 20, FLASH: 7})
    async with serve(options) as running:
        models = [PLUS, FLASH] * 60
        results = await asyncio.gather(
            *(post(http, running, str(i), model=model) for i, model in enumerate(models))
        )
        seen = Counter((model, status) for model, (status, _) in zip(models, results, strict=True))
        assert seen == {(PLUS, 200): 20, (PLUS, 429): 40, (FLASH, 200): 7, (FLASH, 429): 53}
        refusals = [answer["error"]["code"] for status, answer in results if status == 429]
        assert set(refusals) == {"1302"}
        stats = running.service.stats
        assert [stats.models[m].max_in_flight for m in (PLUS, FLASH)] == [20, 7]
        assert [stats.models[m].in_flight for m in (PLUS, FLASH)] == [0, 0]
        assert stats.models[PLUS].in_flight_s >= 20 * 0.05


async def test_a_client_that_leaves_frees_its_slot(http: aiohttp.ClientSession) -> None:
    options = SimulatorOptions(latency="60", limits={PLUS: 1}, marks={"now": "1301"})
    async with serve(options) as running:
        waiting = asyncio.create_task(post(http, running, model=PLUS))
        await wait_for_in_flight(running, PLUS, 1)
        assert (await post(http, running, "now", model=PLUS))[0] == 429
        waiting.cancel()
        await wait_for_in_flight(running, PLUS, 0)
        assert (await post(http, running, "now", model=PLUS))[0] == 400
        assert running.service.stats.abandoned == 1


async def test_stopping_does_not_wait_for_requests_that_hang(http: aiohttp.ClientSession) -> None:
    async with serve(SimulatorOptions(faults={"hang": 1})) as running:
        waiting = asyncio.create_task(post(http, running))
        await wait_for_in_flight(running, FLASH, 1)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert running.service.stats.models[FLASH].in_flight == 0
    with pytest.raises(aiohttp.ClientError):
        await waiting


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


async def test_limits_faults_and_arrears_change_over_http(http: aiohttp.ClientSession) -> None:
    async with serve() as running:
        control = running.origin + "/_control"

        async def change(**values: Any) -> int:
            async with http.post(control, json=values) as response:
                return response.status

        assert await change(limits={PLUS: 0}) == 200
        assert (await post(http, running, model=PLUS))[1]["error"]["code"] == "1302"
        assert await change(faults={"500": 1}) == 200
        assert (await post(http, running))[0] == 500
        assert await change(faults={}, arrears=True) == 200
        assert (await post(http, running))[1]["error"]["code"] == "1113"
        assert await change(arrears=False) == 200
        assert (await post(http, running))[0] == 200
        for bad in ({"limits": {"glm-9": 1}}, {"faults": {"x": 1}}, {"what": 1}, {"arrears": "y"}):
            assert await change(**bad) == 400


async def test_counts_and_records_are_served(http: aiohttp.ClientSession) -> None:
    async with serve(SimulatorOptions(record=True)) as running:
        await post(http, running)
        async with http.get(running.origin + "/_stats") as response:
            stats = await response.json()
        assert (stats["requests"], stats["models"][FLASH]["answered"]) == (1, 1)
        async with http.get(running.origin + "/_seen") as response:
            assert list((await response.json()).values()) == [1]


async def test_models_are_listed_as_the_provider_does_and_all_in_openais_form(
    http: aiohttp.ClientSession,
) -> None:
    async with serve() as running:
        async with http.get(running.url + "/models") as response:
            listed = [row["id"] for row in (await response.json())["data"]]
        assert FLASH not in listed
        async with http.get(running.openai_url + "/models") as response:
            assert FLASH in [row["id"] for row in (await response.json())["data"]]


async def test_the_openai_path_answers_the_same_and_errs_in_its_form(
    http: aiohttp.ClientSession,
) -> None:
    async with serve() as running:
        url = running.openai_url + "/chat/completions"
        async with http.post(url, json=body()) as response:
            answer = await response.json()
        assert answer["choices"] == (await post(http, running))[1]["choices"]
        async with http.post(url, json=body(model="glm-9")) as response:
            error = (await response.json())["error"]
        assert (response.status, error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/v1/chat/completions"), ("POST", "/api/paas/v4/embeddings")],
)
async def test_an_unknown_path_is_404(http: aiohttp.ClientSession, method: str, path: str) -> None:
    async with serve() as running, http.request(method, running.origin + path) as response:
        assert response.status == 404


async def test_a_client_that_leaves_within_its_request_disturbs_nothing(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as running:
        host, port = running.origin.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = (
            b"POST /api/paas/v4/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n"
        )
        writer.write(head + b"{")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.01)
        assert (await post(http, running))[0] == 200
        assert running.service.stats.requests == 1
    assert caplog.records == []


async def test_a_connection_is_closed_after_its_share_of_requests(
    http: aiohttp.ClientSession,
) -> None:
    async with serve(SimulatorOptions(requests_per_connection=2)) as running:
        url = running.url + "/chat/completions"
        kept = []
        for _ in range(4):
            async with http.post(url, data=raw()) as response:
                kept.append(response.headers.get("Connection"))
        assert kept == [None, "close", None, "close"]


async def test_an_idle_connection_is_closed_after_the_keepalive_time() -> None:
    async with serve(SimulatorOptions(keepalive_s=0.02)) as running:
        host, port = running.origin.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        with anyio.fail_after(5):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_an_address_that_is_taken_is_a_usage_error() -> None:
    async with serve() as running:
        port = int(running.origin.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"^127.0.0.1:{port}: cannot listen: "):
            async with serve(port=port):
                pass


async def test_a_thread_of_its_own_serves_a_blocked_loop(http: aiohttp.ClientSession) -> None:
    with serve_in_thread(SimulatorOptions(limits={PLUS: 3})) as running:
        assert (await post(http, running))[0] == 200
        running.service.set_limit(PLUS, 0)
        assert (await post(http, running, model=PLUS))[0] == 429
        assert running.service.stats.answered == 1
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(http, running)
