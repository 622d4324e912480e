"""Answers as data over HTTP: the odd ones too, from a service that says what it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pyarrow.dataset as ds
import pytest

import batchkit as package
from tests.e2e.conftest import Command, Simulate, write_rows

FLASH = "glm-4-flash-250414"


class Service:
    """Answers the nth request with the nth of its texts, the last one for ever."""

    def __init__(self, *contents: str, finish_reason: str = "stop") -> None:
        self.bodies: list[dict[str, Any]] = []
        self._contents = contents
        self._finish_reason = finish_reason

    def answer(self, body: bytes) -> bytes:
        self.bodies.append(json.loads(body))
        content = self._contents[min(len(self.bodies), len(self._contents)) - 1]
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "finish_reason": self._finish_reason, "message": message}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return json.dumps({"id": "r", "choices": [choice], "usage": usage}).encode()


@contextmanager
def serving(service: Service) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            answer = service.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Total(msgspec.Struct):
    total: float
    note: str | None = None


def results(folder: str | Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = package.read_results(folder).to_pylist()
    return rows


def run(here: Path, service: Service, **options: Any) -> dict[str, Any]:
    """The one row of a run against `service`."""
    write_rows(here / "q.jsonl", [{"prompt": "How much?", "model": FLASH}])
    with serving(service) as url:
        package.run("q.jsonl", endpoint=url, out="out", schema=Total, **options)
    (row,) = results("out")
    return row


HUGE = "x" * 2_000_000
TOO_LONG = "the answer does not validate; its 2000012 characters are too many to say where"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HUGE, "no JSON object in the answer"),
        (f'{{"total": "{HUGE}"}}', TOO_LONG),
        ('{"total": \0}', "not JSON: invalid character (byte 10)"),
        ('{"total": "\ud800"}', 'at $.total: "\ufffd" is not of type "number"'),
        ('[{"total": 1}]', 'at $: [{"total":1}] is not of type "object"'),
        ('{"total": "1"}', 'at $.total: "1" is not of type "number"'),
        ("3", 'at $: 3 is not of type "object"'),
        ("{}", 'at $: "total" is a required property'),
    ],
    ids=["prose of 2 MB", "JSON of 2 MB", "NUL", "surrogate", "list", "type", "number", "empty"],
)  # fmt: skip
def test_an_answer_that_is_never_right_is_asked_again_then_fails_and_its_text_is_kept(
    here: Path, content: str, reason: str
) -> None:
    service = Service(content)
    row = run(here, service)
    assert (row["status"], row["error_kind"], row["attempts"]) == ("failed", "invalid_output", 2)
    assert (row["error_message"], row["output"]) == (reason, None)
    assert row["content"] == content.replace("\ud800", "\ufffd")
    assert reason in service.bodies[1]["messages"][-1]["content"]
    assert row["completion_tokens"] == 10


def test_nul_and_surrogates_inside_a_right_answer_are_kept_as_far_as_text_can(here: Path) -> None:
    row = run(here, Service(json.dumps({"total": 1, "note": "a\0b"}) + " \ud800"))
    assert (row["status"], row["output"]) == ("ok", {"total": 1.0, "note": "a\0b"})


def test_a_cut_answer_is_not_asked_for_again_where_there_is_no_more_room(here: Path) -> None:
    (here / "m.toml").write_text(f'[models."{FLASH}"]\nmax_output = 5\n', "utf-8")
    service = Service('{"total": 1', finish_reason="length")
    row = run(here, service, models="m.toml")
    assert (row["status"], row["attempts"], len(service.bodies)) == ("failed", 1, 1)
    assert row["error_message"] == (
        f"cut off, and {FLASH} has no more room for it: not JSON: an object is not closed"
    )


def test_an_endpoint_that_can_is_sent_the_schema(here: Path) -> None:
    (here / "m.toml").write_text(f'[models."{FLASH}"]\njson_schema = true\n', "utf-8")
    service = Service('{"total": 2}')
    assert run(here, service, models="m.toml")["output"] == {"total": 2.0, "note": None}
    form = service.bodies[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"] == msgspec.json.schema(Total)


def test_where_the_schema_goes_does_not_change_what_is_asked(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    """A run can move to an endpoint that takes schemas and keep what it has."""
    write_rows(here / "a.jsonl", [{"text": n} for n in range(3)])
    job = f'input = "a.jsonl"\nmodel = "{FLASH}"\n[prompt]\nuser = "{{{{ text }}}}"\n'
    job += '[output.schema]\ntype = "object"\nproperties.a.type = "integer"\n'
    (here / "job.toml").write_text(job, "utf-8")
    (here / "m.toml").write_text(f'[models."{FLASH}"]\njson_schema = true\n', "utf-8")
    assert batchkit("run", "job.toml", "--endpoint", simulate().url, "-o", "out").code == 0
    with serving(Service("{}")) as url:
        done = batchkit("run", "job.toml", "--endpoint", url, "--models", "m.toml", "-o", "out")
    assert (done.code, len(ds.dataset("out/results", format="arrow").to_table())) == (0, 3)
    assert "3 of 3 rows are done" in done.err
