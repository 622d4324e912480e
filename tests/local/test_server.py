"""A real model behind llama.cpp's server: it answers, and it ends when it is told to.

Skipped where `xllamacpp` is not installed or the model cannot be fetched; with
`BATCHKIT_REQUIRE_LOCAL=1` that is a failure.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
import pytest

from batchkit.errors import UsageError
from batchkit.local.model_file import find_model
from batchkit.local.server import serve_local
from batchkit.models import ModelTable

ROOT = Path(__file__).parents[2]
SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["green", "red"]},
        "digit": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["colour", "digit"],
    "additionalProperties": False,
}


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("BATCHKIT_REQUIRE_LOCAL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def model() -> Path:
    if importlib.util.find_spec("xllamacpp") is None:
        unavailable("xllamacpp is not installed: pip install 'batchkit[local]'")
    try:
        return find_model(None, say=print, quiet=True)
    except UsageError as error:
        unavailable(str(error))


@pytest.fixture(scope="module")
def endpoint(model: Path) -> Iterator[str]:
    with serve_local(model) as url:
        yield url


def body(text: str, **params: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "any-name", "messages": messages, "temperature": 0, "max_tokens": 8, **params}


async def post(session: aiohttp.ClientSession, url: str, sent: dict[str, Any]) -> tuple[int, Any]:
    async with session.post(f"{url}/chat/completions", json=sent) as response:
        return response.status, await response.json()


async def complete(url: str, sent: dict[str, Any]) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session:
        return await post(session, url, sent)


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)


@pytest.mark.anyio
async def test_a_completion_has_the_shape_of_openais(endpoint: str) -> None:
    status, answer = await complete(endpoint, body("Name three colours."))
    assert status == 200
    choice = answer["choices"][0]
    assert (choice["message"]["role"], choice["finish_reason"]) == ("assistant", "length")
    assert choice["message"]["content"].strip()
    usage = answer["usage"]
    assert usage["completion_tokens"] == 8
    assert usage["total_tokens"] == usage["prompt_tokens"] + 8
    assert 0 <= usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]
    assert answer["model"] == "SmolLM2-135M-Instruct.Q4_1", "never a path of this machine"


@pytest.mark.anyio
async def test_twelve_requests_on_four_slots_are_all_answered(endpoint: str) -> None:
    questions = [body(f"What is the number {n}?") for n in range(12)]
    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(post(session, endpoint, sent) for sent in questions))
    assert [status for status, _ in answers] == [200] * 12
    assert all(1 <= answer["usage"]["completion_tokens"] <= 8 for _, answer in answers)


@pytest.mark.anyio
async def test_an_answer_can_be_held_to_a_json_schema(endpoint: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "grass", "schema": SCHEMA}}
    sent = body("Give the colour of grass and a digit, as JSON.", response_format=wanted)
    status, answer = await complete(endpoint, sent | {"max_tokens": 64})
    assert (status, answer["choices"][0]["finish_reason"]) == (200, "stop")
    found = json.loads(answer["choices"][0]["message"]["content"])
    assert found.keys() == {"colour", "digit"}
    assert found["colour"] in {"green", "red"}
    assert found["digit"] in range(10)


@pytest.mark.anyio
async def test_a_prompt_beyond_the_context_is_refused_by_type(endpoint: str) -> None:
    status, answer = await complete(endpoint, body("word " * 3000))
    error = answer["error"]
    assert (status, error["code"], error["type"]) == (400, 400, "exceed_context_size_error")


def test_a_connection_is_closed_after_a_hundred_requests(endpoint: str) -> None:
    connection = connect(endpoint)
    endings = []
    for _ in range(100):
        connection.request("GET", "/health")
        with connection.getresponse() as response:
            response.read()
            endings.append(response.getheader("Connection"))
    assert endings == [None] * 99 + ["close"]
    connection.close()


def assert_stopped(url: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(url).request("GET", "/health")


def test_a_server_follows_another_and_a_failure_in_the_block_is_kept(model: Path) -> None:
    urls: list[str] = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail_while_serving(model, urls)
    for url in urls:
        assert_stopped(url)


def fail_while_serving(model: Path, urls: list[str]) -> None:
    with serve_local(model) as url:
        urls.append(url)
        raise ZeroDivisionError


def test_a_file_that_llama_cannot_load_is_said_in_one_line(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(model.read_bytes()[:4096])
    with pytest.raises(UsageError) as caught, serve_local(path):
        pass
    assert str(caught.value).startswith(f"{path}: llama.cpp (xllamacpp ")
    assert str(caught.value).endswith(") cannot load it; give another GGUF with --local-model PATH")
    assert capfd.readouterr() == ("", "")


def test_a_missing_xllamacpp_is_said_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(UsageError) as caught, serve_local(tmp_path / "any.gguf"):
        pass
    assert str(caught.value).startswith("--endpoint local: cannot import xllamacpp: ")
    assert str(caught.value).endswith("; pip install 'batchkit[local]'")


def test_the_models_row_is_a_row_of_the_table_and_costs_no_import() -> None:
    script = (
        "import sys; from batchkit.local.model_row import LOCAL_MODEL as row;"
        "import batchkit.local.model_file, batchkit.local.server;"
        "print([m for m in ('xllamacpp', 'aiohttp', 'pyarrow') if m in sys.modules], row)"
    )
    done = run(script)
    row = {
        "name": "smollm2-135m-instruct",
        "context": 2048,
        "max_output": 2048,
        "concurrency": 4,
        "json_schema": True,
        "price": {"input": "0", "output": "0", "currency": "CNY"},
    }
    assert (done.returncode, done.stdout, done.stderr) == (0, f"[] {row}\n", "")
    name = row.pop("name")
    assert isinstance(name, str)
    assert ModelTable({}).extended({name: row}, "local")[name].concurrency == 4


USE = """
import json, sys, urllib.request
from pathlib import Path
from batchkit.local.server import serve_local
with serve_local(Path(sys.argv[1])) as url:
    sent = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    request = urllib.request.Request(url + "/chat/completions", json.dumps(sent).encode())
    print(json.load(urllib.request.urlopen(request))["usage"]["completion_tokens"])
sys.exit(int(sys.argv[2]))
"""

STAY = """
import http.client, json, socket, sys, urllib.request
from pathlib import Path
from batchkit.local.server import serve_local
story = [{"role": "user", "content": "Write a long story."}]
sent = json.dumps({"messages": story, "max_tokens": 2000, "ignore_eos": True})
with serve_local(Path(sys.argv[1])) as url:
    address = ("127.0.0.1", int(url.removesuffix("/v1").rpartition(":")[2]))
    asked = [http.client.HTTPConnection(*address) for _ in range(5)]
    for connection in asked:
        connection.request("POST", "/v1/chat/completions", sent)
    silent = socket.create_connection(address)
    half = socket.create_connection(address)
    half.sendall(b"POST /v1/chat/completions HTTP/1.1\\r\\nContent-Length: 9\\r\\n\\r\\n{")
    busy = []
    while busy != [True] * 4:
        slots = json.load(urllib.request.urlopen(url.removesuffix("/v1") + "/slots"))
        busy = [slot["is_processing"] for slot in slots]
print(busy)
"""

WAIT = """
import signal, sys
from pathlib import Path
from batchkit.local.server import serve_local
try:
    with serve_local(Path(sys.argv[1])):
        print("ready", flush=True)
        signal.pause()
except KeyboardInterrupt:
    sys.exit(130)
"""

INTERRUPTED = """
import signal, sys, xllamacpp
from pathlib import Path
from batchkit.local.server import serve_local
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    with serve_local(Path(sys.argv[1])):
        print("served")
except KeyboardInterrupt:
    sys.exit(130)
"""


def command(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(script, *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_used_it_ends_with_its_own_code_and_output(model: Path, code: int) -> None:
    done = run(USE, str(model), str(code))
    assert (done.returncode, done.stdout, done.stderr) == (code, "4\n", "")


def test_a_stop_waits_neither_for_answers_nor_for_clients_that_stay(model: Path) -> None:
    """Four requests are worked on, one waits, one is half sent and one connection is silent.

    In a process of its own: a stop that hangs holds the GIL, and no timeout of this one could fire.
    """
    done = run(STAY, str(model))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[True, True, True, True]\n", "")


def test_an_interrupt_stops_it(model: Path) -> None:
    with subprocess.Popen(
        command(WAIT, str(model)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_an_interrupt_while_it_starts_does_not_hang(model: Path) -> None:
    """It comes while the model loads, the moment at which a server could be dropped too early."""
    done = run(INTERRUPTED, str(model))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
