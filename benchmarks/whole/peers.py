"""What a user would take instead: each sends every row of a file and writes a line per answer.

    python -m benchmarks.whole.peers NAME FILE ADDRESS IN_FLIGHT OUTPUT

Each is the way its own documentation shows, with what it does by itself left as it is. A library
that is not installed ends the process with `MISSING`. Only the standard library and the peer's own
are imported, so that a peer can run in a virtual environment of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

MISSING = 77  # the exit code of a peer that is not installed
KEY = "id.secret"
PATIENCE_S = 600.0  # also to connect, for which the SDK's own 5 s are too short on a busy machine


class Job(NamedTuple):
    """What a peer is to do."""

    input: Path
    address: str
    in_flight: int
    output: Path

    def rows(self) -> Iterator[dict[str, Any]]:
        with self.input.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def openai(job: Job) -> None:
    """AsyncOpenAI under a semaphore: a task per row."""
    from openai import AsyncOpenAI  # noqa: PLC0415

    async def main() -> None:
        slots = asyncio.Semaphore(job.in_flight)
        async with AsyncOpenAI(base_url=job.address, api_key=KEY, timeout=PATIENCE_S) as client:
            with job.output.open("w", encoding="utf-8") as file:

                async def ask(row: dict[str, Any]) -> None:
                    async with slots:
                        answer = await client.chat.completions.create(
                            model=row["model"], messages=row["messages"]
                        )
                    file.write(json.dumps([row["custom_id"], answer.model_dump()]) + "\n")

                await asyncio.gather(*map(ask, job.rows()))

    asyncio.run(main())


def litellm(job: Job) -> None:
    """`litellm.acompletion` under a semaphore: a task per row."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it fetches its prices at import
    from litellm import acompletion  # noqa: PLC0415

    async def main() -> None:
        slots = asyncio.Semaphore(job.in_flight)
        with job.output.open("w", encoding="utf-8") as file:

            async def ask(row: dict[str, Any]) -> None:
                async with slots:
                    answer = await acompletion(
                        model=f"openai/{row['model']}",
                        messages=row["messages"],
                        api_base=job.address,
                        api_key=KEY,
                        timeout=PATIENCE_S,
                    )
                file.write(json.dumps([row["custom_id"], answer.model_dump()]) + "\n")

            await asyncio.gather(*map(ask, job.rows()))

    asyncio.run(main())


def zai(job: Job) -> None:
    """zai-sdk, the provider's own, in a pool of threads."""
    from zai import ZaiClient  # noqa: PLC0415

    client = ZaiClient(api_key=KEY, base_url=job.address)

    def ask(row: dict[str, Any]) -> str:
        answer = client.chat.completions.create(model=row["model"], messages=row["messages"])
        return json.dumps([row["custom_id"], answer.model_dump()]) + "\n"  # type: ignore[union-attr]

    with (
        job.output.open("w", encoding="utf-8") as file,
        ThreadPoolExecutor(job.in_flight) as pool,
    ):
        file.writelines(pool.map(ask, job.rows()))


def cookbook(job: Job) -> None:
    """The algorithm of the OpenAI cookbook's parallel request processor.

    One loop looks once a millisecond whether what is left of requests and tokens per minute covers
    the next row, and starts a task for it; a task appends its answer to the file, opened anew for
    each. It has no bound on requests in flight but its client's 100 connections.
    """
    import aiohttp  # noqa: PLC0415

    a_minute = 10**9  # of both: the account is not what is measured

    async def main() -> None:
        capacity = Capacity(requests=a_minute, tokens=a_minute)
        waiting: deque[dict[str, Any]] = deque()
        rows = job.rows()
        running: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession() as session:

            async def ask(row: dict[str, Any]) -> None:
                body = {"model": row["model"], "messages": row["messages"]}
                async with session.post(
                    f"{job.address}/chat/completions",
                    headers={"Authorization": f"Bearer {KEY}"},
                    json=body,
                ) as response:
                    answer = await response.json()
                if "error" in answer:
                    waiting.append(row)
                    return
                with job.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([body, answer]) + "\n")

            following = next(rows, None)
            while following is not None or waiting or running:
                row = waiting.popleft() if waiting else following
                if row is not None and capacity.take(len(str(row["messages"])) // 4):
                    task = asyncio.create_task(ask(row))
                    running.add(task)
                    task.add_done_callback(running.discard)
                    following = next(rows, None)
                await asyncio.sleep(0.001)

    asyncio.run(main())


class Capacity:
    """What may still be sent, growing with time up to a minute's worth."""

    def __init__(self, *, requests: float, tokens: float) -> None:
        self._most = self._left = (requests, tokens)
        self._at = time.monotonic()

    def take(self, tokens: int) -> bool:
        now = time.monotonic()
        grown = (now - self._at) / 60
        self._at = now
        left = [min(m, x + m * grown) for x, m in zip(self._left, self._most, strict=True)]
        fits = left[0] >= 1 and left[1] >= tokens
        self._left = (left[0] - 1, left[1] - tokens) if fits else (left[0], left[1])
        return fits


class Characters:
    """Stands in for a tokenizer: four characters are a token."""

    def encode(self, text: str, **_: Any) -> range:
        return range(len(text) // 4)


def curator(job: Job) -> None:
    """Bespoke Labs' curator with its OpenAI backend."""
    os.environ |= {"CURATOR_DISABLE_RICH_DISPLAY": "1", "TELEMETRY_ENABLED": "0"}
    os.environ |= {"CURATOR_CACHE_DIR": str(job.output.parent), "OPENAI_API_KEY": KEY}
    import tiktoken  # noqa: PLC0415
    from bespokelabs import curator as library  # noqa: PLC0415

    # Counting tokens takes a file from the network; characters are quicker, which flatters it.
    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_: Characters()

    class Asker(library.LLM):  # type: ignore[misc]  # it is installed where this runs
        def prompt(self, row: dict[str, Any]) -> Any:
            return row["messages"]

        def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
            return {"custom_id": row["custom_id"], "content": response}

    asker = Asker(
        model_name="gpt-4o-mini",
        backend="openai",
        backend_params={
            "base_url": f"{job.address}/chat/completions",
            "max_concurrent_requests": job.in_flight,
            "max_requests_per_minute": 10**9,
            "max_tokens_per_minute": 10**12,
        },
    )
    asker([{"custom_id": r["custom_id"], "messages": r["messages"]} for r in job.rows()])


PEERS: dict[str, Callable[[Job], None]] = {
    "openai": openai,
    "litellm": litellm,
    "cookbook": cookbook,
    "zai": zai,
    "curator": curator,
}


def main() -> None:
    name, path, address, in_flight, output = sys.argv[1:]
    try:
        PEERS[name](Job(Path(path), address, int(in_flight), Path(output)))
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        raise SystemExit(MISSING) from None


if __name__ == "__main__":
    main()
