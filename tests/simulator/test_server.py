"""The service over loopback: caps under load, disconnects, control, paths, connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import anyio
import pytest

from batchkit.errors import UsageError
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.server import Running, serve, serve_in_thread
from tests.simulator.samples import FLASH, PLUS, body, post, raw

pytestmark = pytest.mark.anyio


async def wait_for_in_flight(running: Running, model: str, count: int) -> None:
    with anyio.fail_after(30):
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
    assert running.service.stats.models[FLASH].in_flight == 0
    with pytest.raises(aiohttp.ClientError):
        await waiting


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
        for bad in (
            {"limits": {"glm-9": 1}},
            {"faults": {"x": 1}},
            {"what": 1},
            {"arrears": "y"},
            {"hold_after": -1},
        ):
            assert await change(**bad) == 400


async def test_requests_are_held_over_http_until_their_client_leaves(
    http: aiohttp.ClientSession,
) -> None:
    async with serve() as running:
        for holds in (0, None):
            control = {"hold_after": holds}
            async with http.post(running.origin + "/_control", json=control) as response:
                assert response.status == 200
            async with anyio.create_task_group() as group:
                group.start_soon(post, http, running)
                if holds == 0:
                    await wait_for_in_flight(running, FLASH, 1)
                    group.cancel_scope.cancel()
        await wait_for_in_flight(running, FLASH, 0)
        stats = running.service.stats
        assert (stats.abandoned, stats.answered) == (1, 1)


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
        with anyio.fail_after(30):
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
