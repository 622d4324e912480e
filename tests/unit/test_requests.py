"""Rows as requests: the three shapes, documents, ids, models, metadata, digests."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from batchkit.errors import UsageError
from batchkit.models import builtin_models
from batchkit.records import Request
from batchkit.requests import RequestBuilder, RowError, custom_id_of, digest, id_digest
from batchkit.sources import Raw
from batchkit.sources.keep import KeepColumn
from batchkit.template import Template

TABLE = builtin_models().extended(
    {"local": {"concurrency": 4, "context": 2048}, "small": {"concurrency": 1, "context": 100}},
    "models.toml",
)
HI = [{"role": "user", "content": "hi"}]


def builder(**options: Any) -> RequestBuilder:
    options = {"default_model": "glm-4-plus"} | options
    return RequestBuilder(
        table=TABLE,
        dialects=lambda model: "glm" if model.name.startswith("glm") else "openai",
        **options,
    )


def build(values: dict[str, Any], **options: Any) -> Request:
    return builder(**options).build(Raw(6, 7, 0, values))


def fault(values: dict[str, Any], **options: Any) -> str:
    with pytest.raises(RowError) as error:
        build(values, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def hi_request(**fields: Any) -> Request:
    known: dict[str, Any] = {
        "row": 6,
        "custom_id": "row-6",
        "model": "glm-4-plus",
        "messages": HI,
        "params": {},
    }
    return Request(**(known | {"prompt_tokens": 6} | fields))


def test_a_line_of_an_openai_batch_file_is_a_request() -> None:
    line = {
        "custom_id": "a-1",
        "method": "POST",
        "url": "/v4/chat/completions",
        "body": {"model": "GLM-4-Plus", "messages": HI, "temperature": 0.2},
    }
    assert build(line) == hi_request(custom_id="a-1", params={"temperature": 0.2})


def test_a_flat_row_is_a_request() -> None:
    row = {
        "custom_id": "a-2",
        "model": "glm-4-plus",
        "messages": HI,
        "temperature": 0.2,
        "x_unknown": {"a": None},
        "metadata": {"label": "中"},
    }
    assert build(row) == hi_request(
        custom_id="a-2",
        params={"temperature": 0.2, "x_unknown": {"a": None}},
        metadata='{"label":"中"}',
    )


def test_a_bare_prompt_is_a_request() -> None:
    assert build({"id": "a-3", "prompt": "hi"}) == hi_request(custom_id="a-3")
    assert build({"prompt": "hi", "system": "Be kind."}) == hi_request(
        messages=[{"role": "system", "content": "Be kind."}, *HI], prompt_tokens=11
    )


def test_a_parameter_of_the_row_wins_and_null_is_not_given() -> None:
    params = {"temperature": 0.5, "top_p": 0.5, "seed": None}
    row = {"prompt": "hi", "temperature": 0, "top_p": None, "max_tokens": None}
    assert build(row, params=params).params == {"temperature": 0, "top_p": 0.5}


def test_a_document_is_only_data() -> None:
    template = Template(None, "Label: {{ text }}")
    row = {
        "text": "hi",
        "id": "x",
        "custom_id": "y",
        "model": "gpt",
        "temperature": 9,
        "metadata": {"a": 1},
    }
    options = {"template": template, "params": {"temperature": 0}}
    prompt = [{"role": "user", "content": "Label: hi"}]
    assert build(row, **options) == hi_request(
        messages=prompt, params={"temperature": 0}, prompt_tokens=8
    )
    assert build(row, id_column="id", **options).custom_id == "x"


def test_kept_columns_are_carried_and_not_sent() -> None:
    row = {"prompt": "hi", "label": ["x"], "note": {"a": 1}}
    columns = [KeepColumn.of("label", pa.list_(pa.string())), KeepColumn.json("note")]
    scanning = build(row, keep=["label", "note"])
    assert (scanning.params, scanning.keep) == ({}, None)
    feeding = build(row, keep=["label", "note"], keep_columns=columns)
    assert (feeding.params, feeding.keep) == ({}, [["x"], '{"a":1}'])
    columnar = Raw(0, 1, 0, {"prompt": "hi"}, None, [["y"], "{}"])
    kept = builder(keep=["label", "note"], keep_columns=columns).build(columnar).keep
    assert kept == [["y"], "{}"]


def test_unset_fields_of_a_columnar_row_are_not_sent() -> None:
    row = {
        "messages": [{"role": "user", "content": "hi", "name": None, "tool_calls": None}],
        "response_format": {"type": "json_object", "schema": None},
        "thinking": {"type": "disabled", "budget": None},
        "label": None,
    }
    request = builder().build(Raw(6, 7, 0, row, None, []))
    assert request == hi_request(
        params={"response_format": {"type": "json_object"}, "thinking": {"type": "disabled"}}
    )


def test_json_text_stands_for_a_column_of_structs() -> None:
    row = {
        "messages": '[{"role": "user", "content": "hi"}]',
        "tools": '[{"type": "web_search"}]',
        "response_format": '{"type": "text"}',
        "metadata": '{"a": 1}',
    }
    assert build(row) == hi_request(
        params={"tools": [{"type": "web_search"}], "response_format": {"type": "text"}},
        metadata='{"a": 1}',
    )
    assert build({"body": '{"prompt": "hi"}'}) == hi_request()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"b": 1, "a": [None, 1.5]}, '{"b":1,"a":[null,1.5]}'),
        ("plain", '"plain"'),
        ("{not json", '"{not json"'),
        ("[1, 2]", "[1, 2]"),
        (5, "5"),
        (None, None),
    ],
)
def test_metadata_is_json_text(given: Any, text: str | None) -> None:
    assert build({"prompt": "hi", "metadata": given}).metadata == text
    assert build({"body": {"prompt": "hi", "metadata": given}}).metadata == text


@pytest.mark.parametrize(
    ("row", "custom_id"),
    [
        ({"custom_id": "a"}, "a"),
        ({"custom_id": 12}, "12"),
        ({"custom_id": None, "id": 0}, "0"),
        ({"custom_id": "a", "id": "b"}, "a"),
        ({"id": "中文　id"}, "中文　id"),
        ({"id": "x" * 512}, "x" * 512),
        ({}, "row-6"),
        ({"custom_id": None}, "row-6"),
    ],
)
def test_an_id_is_a_string_or_an_integer(row: dict[str, Any], custom_id: str) -> None:
    assert build({"prompt": "hi", **row}).custom_id == custom_id
    assert custom_id_of(Raw(6, 7, 0, row)) == custom_id


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (True, "custom_id: expected a string or an integer, got True"),
        (1.0, "custom_id: expected a string or an integer, got 1.0"),
        ([1], "custom_id: expected a string or an integer, got [1]"),
        ("", "custom_id: is blank; leave it out for row-<n>"),
        (" \u3000", "custom_id: is blank; leave it out for row-<n>"),
        ("a\nb", "custom_id: 'a\\nb' has control characters"),
        ("a\u2028b", "custom_id: 'a\\u2028b' has control characters"),
        ("x" * 513, "custom_id: has 513 characters; at most 512 are taken"),
    ],
)
def test_what_is_no_id_is_a_fault(given: Any, message: str) -> None:
    assert fault({"prompt": "hi", "custom_id": given}) == message
    assert custom_id_of(Raw(6, 7, 0, {"custom_id": given})) == "row-6"


def test_the_id_column_must_be_there_but_may_be_null() -> None:
    assert build({"prompt": "hi", "key": "k"}, id_column="key").custom_id == "k"
    assert build({"prompt": "hi", "key": None}, id_column="key") == hi_request()
    assert fault({"prompt": "hi"}, id_column="key") == (
        "id column 'key' is missing; the row has prompt"
    )
    assert custom_id_of(Raw(6, 7, 0, {"key": "k"}), "key") == "k"
    assert custom_id_of(Raw(6, 7, 0, None, "not JSON")) == "row-6"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"model": "gpt-x"}, "model 'gpt-x' is not in the model table; add it with --models"),
        ({"model": 4}, "model: expected a string, got 4"),
        ({"method": "GET"}, "method: expected POST, got 'GET'"),
        (
            {"url": "/v4/embeddings"},
            "url: expected …/chat/completions, got '/v4/embeddings'",
        ),
        ({"body": [1]}, "body: expected an object, got a list"),
        (
            {"body": "{"},
            "body: expected an object, got text that is not JSON: input data was truncated",
        ),
        ({"body": {}}, "'prompt' stands beside 'body'; put it inside"),
        ({"messages": HI}, "has both 'messages' and 'prompt'; keep one"),
        ({"prompt": None}, "has no 'messages' and no 'prompt'"),
        ({"prompt": 5}, "prompt: expected a string, got a number"),
        ({"system": {}}, "system: expected a string, got an object"),
        ({"raw": b"\xff"}, "raw: a bytes cannot be sent; drop the column or keep it"),
        ({"raw": [{"x": float("nan")}]}, "raw: a list cannot be sent; drop the column or keep it"),
    ],
)
def test_a_row_that_is_no_request_says_why(row: dict[str, Any], message: str) -> None:
    assert fault({"prompt": "hi", **row}) == message


def test_a_row_without_any_model_is_a_fault() -> None:
    message = "names no model; give --model or a 'model' of its own"
    assert fault({"prompt": "hi"}, default_model=None) == message


def test_a_row_that_could_not_be_read_keeps_its_fault() -> None:
    with pytest.raises(RowError, match=r"^not JSON: number out of range$"):
        builder().build(Raw(0, 1, 0, None, "not JSON: number out of range"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"params": {"temperature": 3}},
            "params: temperature: expected a number from 0 to 1, got 3",
        ),
        (
            {"default_model": "gpt"},
            "params: model 'gpt' is not in the model table; add it with --models",
        ),
    ],
)
def test_a_jobs_own_parameters_are_checked_before_any_row(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        builder(**options)
    assert str(error.value) == message


def test_a_prompt_that_cannot_fit_is_a_fault_and_one_that_may_is_sent() -> None:
    assert build({"prompt": "x" * 800, "model": "small"}).prompt_tokens == 245
    assert fault({"prompt": "x" * 808, "model": "small"}) == (
        "a prompt of at least 101 tokens cannot fit the context of 100 (small)"
    )


def test_a_digest_is_of_what_is_asked_and_of_nothing_else() -> None:
    row: dict[str, Any] = {"prompt": "hi", "temperature": 0.5, "top_p": 0.5}
    same = {"custom_id": "b", "metadata": {"x": 1}, "top_p": 0.5, "temperature": 0.5} | row
    asked = digest(build(row))
    assert digest(build(same)) == asked
    others: list[dict[str, Any]] = [
        {"prompt": "ho"},
        {"system": "x"},
        {"temperature": 0.4},
        {"model": "glm-4-airx"},
    ]
    assert len({asked, *(digest(build(row | other)) for other in others)}) == 5


def test_digests_are_the_same_in_every_version() -> None:
    """They are in journals: another value would make every row of a run look changed."""
    row = {"prompt": "hi", "temperature": 0.5, "top_p": 0.5}
    assert digest(build(row)) == 18003379145182049196
    assert id_digest("a") == 16629034431890738719
