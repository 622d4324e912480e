"""Lines of a batch's output: as the official types read them, and read back."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion

from batchkit.batch_output import line_of, read_batch_output
from batchkit.errors import UsageError

OK: dict[str, Any] = {
    "row": 3,
    "custom_id": "q-3",
    "model": "glm-4-plus",
    "status": "ok",
    "content": "今天\n'天气'",
    "finish_reason": "stop",
    "tool_calls": None,
    "prompt_tokens": 10,
    "cached_tokens": 4,
    "completion_tokens": 5,
    "total_tokens": 15,
    "finished_at": datetime(2026, 11, 24, tzinfo=UTC),
    "error_kind": None,
    "error_code": None,
    "error_message": None,
    "http_status": 200,
    "response_id": "r-1",
    "response_model": "glm-4-plus",
}
CALLS = '[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]'
FAILED = OK | {
    "row": 4,
    "custom_id": "q-4",
    "status": "failed",
    "content": None,
    "error_kind": "content_filtered",
    "error_code": "1301",
    "error_message": "unsafe",
}
LINES = Path("out.jsonl")


def written(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / LINES
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.mark.parametrize("calls", [None, CALLS])
def test_the_official_types_read_a_line(calls: str | None) -> None:
    line = line_of(OK | {"tool_calls": calls})
    completion = ChatCompletion.model_validate(line["response"]["body"], strict=True)
    message = completion.choices[0].message
    assert (message.role, message.content) == ("assistant", OK["content"])
    assert (message.tool_calls is None) == (calls is None)
    assert completion.usage is not None
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 4
    assert (line["id"], line["custom_id"], line["error"]) == ("batch_req_3", "q-3", None)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    rows = [OK, FAILED, OK | {"tool_calls": CALLS, "content": None, "custom_id": "q-5"}]
    path = written(tmp_path, *(msgspec.json.encode(line_of(row)) for row in rows))
    table = read_batch_output(path)
    first, failed, third = table.to_pylist()
    assert first == {name: OK[name] for name in table.column_names}
    assert third == {name: rows[2][name] for name in table.column_names}
    assert {name: value for name, value in failed.items() if value is not None} == {
        "custom_id": "q-4",
        "status": "failed",
        "error_code": "1301",
        "error_message": "unsafe",
    }


def test_lines_of_the_providers_are_read(tmp_path: Path) -> None:
    """bigmodel.cn's output, OpenAI's error file, an error in the body, and a body of nothing."""
    path = written(
        tmp_path,
        b'{"response": {"status_code": 200, "body": {"created": 1, "usage": {"completion_tokens":'
        b' 2, "prompt_tokens": 3, "total_tokens": 5}, "model": "glm-4", "id": "8", "choices": '
        b'[{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "x"'
        b'}}], "request_id": "615-request-1"}}, "custom_id": "request-1", "id": "batch_1"}',
        b'{"id": "b", "custom_id": "r-2", "response": null, "error": {"code": "batch_expired",'
        b' "message": "late"}}',
        b'{"custom_id": "r-3", "response": {"status_code": 400, "body": {"error": {"code": 1210,'
        b' "message": "bad"}}}, "error": null}',
        b'{"custom_id": "r-4", "response": {"status_code": 500, "body": {"error": "odd"}}}',
        b'{"custom_id": "r-5", "response": {"status_code": 200, "body": {}}}',
    )
    table = read_batch_output(path)
    names = ["custom_id", "status", "content", "total_tokens", "http_status", "error_code"]
    assert [tuple(row.values()) for row in table.select(names).to_pylist()] == [
        ("request-1", "ok", "x", 5, 200, None),
        ("r-2", "failed", None, None, None, "batch_expired"),
        ("r-3", "failed", None, None, 400, "1210"),
        ("r-4", "failed", None, None, 500, None),
        ("r-5", "failed", None, None, 200, None),
    ]
    assert table.column("error_message").to_pylist() == [
        None,
        "late",
        "bad",
        "an error of unknown form",
        "the response holds no chat completion",
    ]


def test_a_compressed_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.gz"
    path.write_bytes(gzip.compress(msgspec.json.encode(line_of(OK))))
    assert read_batch_output(path).num_rows == 1


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "not JSON: "),
        (b"[]", "expected a JSON object, got a list"),
        (b'{"content": "x"}', "not a line of a batch's output: object missing required field"),
        (b'{"custom_id": 7}', "not a line of a batch's output: expected `str`, got `int`"),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_place(
    tmp_path: Path, line: bytes, fault: str
) -> None:
    path = written(tmp_path, msgspec.json.encode(line_of(OK)), line)
    with pytest.raises(UsageError) as caught:
        read_batch_output(path)
    assert str(caught.value).startswith(f"{path}:2: {fault}")
