"""Where labels come from, and what is refused there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit.errors import UsageError
from batchkit.label_sources import read_labels
from batchkit.spec import load_spec


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(section: str, source: str = "in.jsonl") -> list[tuple[str, str]]:
    Path("job.toml").write_text(f'input = "{source}"\n[labels]\n{section}\n', "utf-8")
    spec = load_spec("job.toml")
    assert spec.labels is not None
    return [(one.label, one.place) for one in read_labels(spec, spec.labels)]


def refusal(section: str, source: str = "in.jsonl") -> str:
    with pytest.raises(UsageError) as caught:
        read(section, source)
    return str(caught.value)


def write_rows(*values: Any) -> None:
    rows = [json.dumps(value) if isinstance(value, dict) else value for value in values]
    Path("in.jsonl").write_text("\n".join(rows), "utf-8")


def test_labels_of_the_job_file() -> None:
    place = "job.toml: labels.values"
    assert read('values = ["b", "a"]') == [("b", place), ("a", place)]


def test_a_file_has_one_label_a_line_whatever_its_mark_and_line_ends() -> None:
    Path("l.txt").write_bytes(b"\xef\xbb\xbfb c\r\n\r\n  \n a")
    assert read('file = "l.txt"') == [("b c", "l.txt:1"), ("a", "l.txt:4")]


def test_the_values_of_a_column_come_in_the_order_in_which_they_first_appear() -> None:
    write_rows({"k": "b"}, {"k": 7}, "not JSON", {"k": None}, {}, {"k": " b "}, {"k": "a"})
    assert read('column = "k"') == [("b", "in.jsonl:1"), ("7", "in.jsonl:2"), ("a", "in.jsonl:7")]


def test_a_column_of_lists_gives_their_elements_if_labels_are_multiple() -> None:
    pq.write_table(
        pa.table({"k": [["b", "a"], [], None, ["c", "a"]], "x": [1, 2, 3, 4]}), "in.parquet"
    )
    found = read('column = "k"\nmultiple = true', "in.parquet")
    assert [label for label, _ in found] == ["b", "a", "c"]
    assert refusal('column = "k"', "in.parquet") == (
        "job.toml: labels.column: in.parquet:row 0: expected a label, got a list"
    )


def test_a_column_with_too_many_values_is_refused() -> None:
    write_rows(*({"k": n} for n in range(1001)))
    assert refusal('column = "k"') == (
        "job.toml: labels.column: 'k' has more than 1,000 values in in.jsonl; "
        "every prompt holds them all, so name the labels with values or file"
    )


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("", "job.toml: labels: expected one of values, file, column; got none"),
        ('values = ["a"]\ncolumn = "k"',
         "job.toml: labels: expected one of values, file, column; got values and column"),
        ("values = []", "job.toml: labels.values: holds no label; expected at least one"),
        ('file = "blank.txt"', "job.toml: labels.file: holds no label; expected at least one"),
        ('file = "none.txt"',
         "job.toml: labels.file: none.txt cannot be read: no such file or directory"),
        ('file = "latin.txt"', "job.toml: labels.file: latin.txt cannot be read: not UTF-8"),
        ('file = "huge.txt"', "job.toml: labels.file: huge.txt is larger than 1 MiB"),
        ('column = "none"', "job.toml: labels.column: holds no label; expected at least one"),
    ],
)  # fmt: skip
def test_labels_that_are_not_there_are_refused_with_their_place(section: str, fault: str) -> None:
    write_rows({"k": "a"})
    Path("blank.txt").write_text("\n \r\n")
    Path("latin.txt").write_bytes(b"caf\xe9")
    Path("huge.txt").write_bytes(b"a\n" * (1 << 20))
    assert refusal(section) == fault
