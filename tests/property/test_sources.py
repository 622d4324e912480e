"""Whatever a file holds, a scan tells every row apart, and a cursor reads what the scan read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.sources import Raw, Source, open_source
from batchkit.sources.inference import KeepInference
from batchkit.sources.jsonl import parse_row
from batchkit.sources.keep import dump_columns, load_columns, to_arrow, to_storage

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=4)
LINES = st.one_of(
    OBJECTS.map(lambda value: json.dumps(value, ensure_ascii=False).encode()),
    st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")),
    st.sampled_from([b"", b" ", b"\t\r", b"{}\r", b"[1]", b"\xef\xbb\xbf{}"]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


def sources(folder: Path, content: bytes) -> list[Source]:
    plain, packed = folder / "r.jsonl", folder / "r.jsonl.zst"
    plain.write_bytes(content)
    packed.write_bytes(zstandard.ZstdCompressor().compress(content))
    return [open_source(plain), open_source(packed)]


def _outcome(values: Any, fault: str | None) -> tuple[Any, bool]:
    """What does not depend on the line end, which a fault's position may count."""
    return values, fault is None


@settings(max_examples=60)
@given(lines=st.lists(LINES, max_size=12), is_ended=st.booleans(), picks=st.randoms())
def test_every_line_is_a_row_or_blank(
    folder: Path, lines: list[bytes], is_ended: bool, picks: Any
) -> None:
    content = b"\n".join([b"{}", *lines]) + (b"\n" if is_ended else b"")
    expected = [
        (at, *_outcome(*parse_row(line)))
        for at, line in enumerate([b"{}", *lines], 1)
        if line.removeprefix(b"\xef\xbb\xbf").strip()
    ]
    for source in sources(folder, content):
        rows = list(source.scan())
        assert [(raw.line, *_outcome(raw.values, raw.fault)) for raw in rows] == expected
        assert [raw.row for raw in rows] == list(range(len(expected)))
        chosen = [raw for raw in rows if picks.random() < 0.5]
        cursor = source.cursor()
        taken = cursor.take([(raw.row, raw.offset) for raw in chosen])
        cursor.close()
        assert [(raw.row, raw.offset, raw.values, raw.fault) for raw in taken] == [
            (raw.row, raw.offset, raw.values, raw.fault) for raw in chosen
        ]


@settings(max_examples=100)
@given(line=st.binary(max_size=60))
def test_no_line_is_too_strange_to_read(line: bytes) -> None:
    values, fault = parse_row(line)
    assert (values is None) == (fault is not None)


def with_all_keys(value: Any, kind: pa.DataType) -> Any:
    """`value` as a column of `kind` gives it back: a key that it lacks is null."""
    if isinstance(value, dict) and isinstance(kind, pa.StructType):
        return {field.name: with_all_keys(value.get(field.name), field.type) for field in kind}
    if isinstance(value, list) and isinstance(kind, pa.ListType):
        return [with_all_keys(one, kind.value_type) for one in value]
    return value


@settings(max_examples=150)
@given(values=st.lists(JSON, min_size=1, max_size=5))
def test_a_kept_jsonl_column_comes_back(values: list[Any]) -> None:
    inference = KeepInference(["x"])
    for value in values:
        inference.observe({"x": value})
    (column,) = load_columns(dump_columns(inference.finish("r.jsonl")))
    rows = [msgspec.json.decode(json.dumps({"x": value}).encode()) for value in values]
    stored = [to_storage([column], Raw(0, 1, 0, row))[0] for row in rows]
    journaled = msgspec.msgpack.decode(msgspec.msgpack.encode(stored))
    back = to_arrow(column, journaled)
    back.validate(full=True)
    if column.as_json:
        assert [None if text is None else json.loads(text) for text in back.to_pylist()] == values
    else:
        assert back.to_pylist() == [with_all_keys(value, column.type) for value in values]
