"""The lines of an OpenAI batch's output file, made from results and read back.

Read are those of OpenAI and of bigmodel.cn as well, and of their error files: a request that failed
has an `error`, or a response with another status than 200 and the error in its body.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from batchkit.errors import UsageError
from batchkit.providers.answer import read_answer, spent
from batchkit.records import Usage
from batchkit.sources import Source, open_source
from batchkit.wording import reason

_GROUP_ROWS = 2500  # turned into columns at a time

_COLUMNS: dict[str, pa.DataType] = {
    "custom_id": pa.string(),
    "status": pa.string(),
    "content": pa.large_string(),
    "finish_reason": pa.string(),
    "tool_calls": pa.large_string(),
    "prompt_tokens": pa.int64(),
    "cached_tokens": pa.int64(),
    "completion_tokens": pa.int64(),
    "total_tokens": pa.int64(),
    "error_code": pa.string(),
    "error_message": pa.string(),
    "http_status": pa.int32(),
    "response_id": pa.string(),
    "response_model": pa.string(),
}
_SCHEMA = pa.schema(_COLUMNS)


def line_of(row: dict[str, Any]) -> dict[str, Any]:
    """The line of a row of results."""
    error, response = None, None
    if row["status"] == "failed":
        code = row["error_code"] or row["error_kind"]
        error = {"code": code, "message": row["error_message"]}
    else:
        calls = msgspec.json.decode(row["tool_calls"]) if row["tool_calls"] else None
        message = {"role": "assistant", "content": row["content"]}
        usage = {name: row[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
        body = {
            "id": row["response_id"],
            "object": "chat.completion",
            "created": int(row["finished_at"].timestamp()),
            "model": row["response_model"] or row["model"],
            "choices": [
                {
                    "index": 0,
                    "message": message | ({"tool_calls": calls} if calls else {}),
                    "finish_reason": row["finish_reason"],
                }
            ],
            "usage": usage | {"prompt_tokens_details": {"cached_tokens": row["cached_tokens"]}},
        }
        response = {"status_code": row["http_status"], "body": body}
    return {
        "id": f"batch_req_{row['row']}",
        "custom_id": row["custom_id"],
        "response": response,
        "error": error,
    }


class _Error(msgspec.Struct):
    code: str | int | None = None
    message: str | None = None


class _Response(msgspec.Struct):
    status_code: int | None = None
    body: dict[str, Any] = {}


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


def read_batch_output(path: str | Path) -> pa.Table:
    """The lines of a batch's output or error file as columns named like those of results.

    In the order of the file, which providers do not promise: join on `custom_id`. Raises
    `UsageError` with the place of a line that is none.
    """
    source = open_source(Path(path))
    rows = _rows(source)
    batches = []
    while group := list(islice(rows, _GROUP_ROWS)):
        batches.append(pa.RecordBatch.from_pylist(group, schema=_SCHEMA))
    return pa.Table.from_batches(batches, schema=_SCHEMA)


def _rows(source: Source) -> Iterator[dict[str, Any]]:
    for raw in source.scan():
        if raw.values is None:
            raise UsageError(f"{source.path}:{raw.line}: {raw.fault}")
        try:
            yield _row(msgspec.convert(raw.values, _Line))
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{source.path}:{raw.line}: not a line of a batch's output: {reason(error)}"
            ) from error


def _row(line: _Line) -> dict[str, Any]:
    response = line.response or _Response()
    error = line.error or _error_in(response.body)
    answer = None if error else read_answer(msgspec.json.encode(response.body))
    row = {"custom_id": line.custom_id, "http_status": response.status_code}
    if answer is None:
        error = error or _Error(message="the response holds no chat completion")
        code = None if error.code is None else str(error.code)
        return row | {"status": "failed", "error_code": code, "error_message": error.message}
    choice = answer.choices[0]
    usage = spent(answer.usage) or Usage()
    calls = choice.message.tool_calls
    return row | {
        "status": "ok",
        "content": choice.message.content,
        "finish_reason": choice.finish_reason,
        "tool_calls": msgspec.json.encode(calls).decode() if calls else None,
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "response_id": answer.id,
        "response_model": answer.model,
    }


def _error_in(body: dict[str, Any]) -> _Error | None:
    found = body.get("error")
    if not found:
        return None
    try:
        return msgspec.convert(found, _Error)
    except msgspec.ValidationError:
        return _Error(message="an error of unknown form")
