"""JSON Lines sources and the choice of a source: every row with its place, every fault a value."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
import xxhash
import zstandard

from batchkit.errors import UsageError
from batchkit.sources import Raw, open_source
from batchkit.sources import lines as lines_module

ROWS = b'{"id": 1}\n{"id": 2}\n{"id": 3}\n'
DEEP = "not JSON that can be sent: nested deeper than 100 levels"
SUFFIXES = ("jsonl", "jsonl.gz", "jsonl.zst")


def packed(suffix: str, content: bytes) -> bytes:
    if suffix.endswith("gz"):
        return gzip.compress(content, mtime=0)
    if suffix.endswith("zst"):
        return zstandard.ZstdCompressor(write_checksum=True).compress(content)
    return content


def write(folder: Path, content: bytes, suffix: str = "jsonl") -> Path:
    path = folder / f"requests.{suffix}"
    path.write_bytes(packed(suffix, content))
    return path


def scanned(path: Path) -> list[Raw]:
    return list(open_source(path).scan())


def faults(path: Path) -> list[tuple[str, str | None]]:
    source = open_source(path)
    return [(source.place(raw).removeprefix(f"{path}"), raw.fault) for raw in source.scan()]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_row_has_its_number_line_and_offset(tmp_path: Path, suffix: str) -> None:
    assert scanned(write(tmp_path, ROWS, suffix)) == [
        Raw(0, 1, 0, {"id": 1}),
        Raw(1, 2, 10, {"id": 2}),
        Raw(2, 3, 20, {"id": 3}),
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blank_lines_crlf_and_a_mark_are_no_rows_and_no_faults(tmp_path: Path, suffix: str) -> None:
    content = b'\xef\xbb\xbf{"id": 1}\r\n\r\n  \t\n{"id": 2}\r\n\n\n'
    assert scanned(write(tmp_path, content, suffix)) == [
        Raw(0, 1, 0, {"id": 1}),
        Raw(1, 4, 20, {"id": 2}),
    ]


def test_a_mark_inside_joined_files_is_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"id": 1}\n\xef\xbb\xbf{"id": 2}\n\xef\xbb\xbf\n')
    assert [raw.values for raw in scanned(path)] == [{"id": 1}, {"id": 2}]


def test_the_last_line_needs_no_line_end(tmp_path: Path) -> None:
    assert scanned(write(tmp_path, b'{"id": 1}\n{"id": 2}'))[1] == Raw(1, 2, 10, {"id": 2})


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{id: 1}", "not JSON: object keys must be strings (byte 1)"),
        (b"secret", "not JSON: invalid character (byte 0)"),
        (b'{"a": 1', "not JSON: input data was truncated"),
        (b'{"a": 1} x', "not JSON: trailing characters (byte 10)"),
        (b'{"a": NaN}', "not JSON: invalid character (byte 6)"),
        (b'{"a": 1e400}', "not JSON: number out of range"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON: number out of range"),
        (b'{"a": "\xff"}', "not UTF-8; save the file as UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8; save the file as UTF-8"),
        (b'{"a": "\x00"}', "not JSON: invalid character (byte 7)"),
        (b"[" * 100_000, DEEP),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", DEEP),
        (b"[1]", "expected a JSON object, got a list"),
        (b'"text"', "expected a JSON object, got a string"),
        (b"12", "expected a JSON object, got a number"),
        (b"true", "expected a JSON object, got true or false"),
        (b"null", "expected a JSON object, got null"),
    ],
)
def test_a_bad_line_is_a_fault_with_its_place_and_the_rest_is_read(
    tmp_path: Path, line: bytes, fault: str
) -> None:
    path = write(tmp_path, b'{"id": 1}\n\n' + line + b'\n{"id": 2}\n')
    source = open_source(path)
    good, bad, after = source.scan()
    assert (good.values, after.values) == ({"id": 1}, {"id": 2})
    assert bad == Raw(1, 3, 11, None, fault)
    assert source.place(bad) == f"{path}:3"


def test_a_lone_surrogate_is_a_fault(tmp_path: Path) -> None:
    (raw,) = scanned(write(tmp_path, b'{"a": "\\ud800 and more text"}'))
    assert raw.values is None
    assert (raw.fault or "").startswith("not JSON: ")


def test_many_brackets_are_not_deep_nesting(tmp_path: Path) -> None:
    wide = b'{"a": ' + b"[" * 98 + b"[], {}" + b"]" * 98 + b', "b": "' + b"[{" * 200 + b'"}'
    (raw,) = scanned(write(tmp_path, wide))
    assert raw.fault is None


def test_of_a_repeated_key_the_last_counts(tmp_path: Path) -> None:
    (raw,) = scanned(write(tmp_path, b'{"a": 1, "a": 2}'))
    assert raw.values == {"a": 2}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_line_of_5_megabytes_is_a_row(tmp_path: Path, suffix: str) -> None:
    text = "x" * 5_000_000
    path = write(tmp_path, ROWS + f'{{"id": "{text}"}}\n'.encode() + ROWS, suffix)
    assert [raw.values for raw in scanned(path)][3] == {"id": text}
    assert scanned(path)[4].offset == len(ROWS) + 5_000_011


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_endless_line_is_a_fault_and_not_memory(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "LINE_MOST", 1000)
    path = write(tmp_path, ROWS + b'{"id": "' + b"x" * 3_000_000 + b'"}\n' + ROWS, suffix)
    assert [(raw.row, raw.line, raw.fault) for raw in scanned(path)[2:5]] == [
        (2, 3, None),
        (3, 4, "the line is longer than 64 MiB"),
        (4, 5, None),
    ]
    source = open_source(path)
    long, after = scanned(path)[3:5]
    cursor = source.cursor()
    taken = cursor.take([(long.row, long.offset), (after.row, after.offset)])
    cursor.close()
    assert [(raw.values, raw.fault) for raw in taken] == [
        (None, "the line is longer than 64 MiB"),
        ({"id": 1}, None),
    ]


@pytest.mark.parametrize(("suffix", "name"), [("jsonl.gz", "gzip"), ("jsonl.zst", "zstd")])
def test_a_cut_archive_is_a_fault_after_the_rows_that_are_whole(
    tmp_path: Path, suffix: str, name: str
) -> None:
    content = b"".join(b'{"id": "%s"}\n' % os.urandom(40).hex().encode() for _ in range(10_000))
    path = write(tmp_path, content, suffix)
    path.write_bytes(path.read_bytes()[:-1000])
    *whole, last = scanned(path)
    assert len(whole) > 8000
    assert all(raw.fault is None for raw in whole)
    assert last.fault == f"the {name} data ends early: the file was cut off"
    assert (last.row, last.line) == (len(whole), len(whole) + 1)
    cursor = open_source(path).cursor()
    assert cursor.take([(9_999, len(content) - 92)])[0].fault == last.fault
    cursor.close()


@pytest.mark.parametrize(("suffix", "name"), [("jsonl.gz", "gzip"), ("jsonl.zst", "zstd")])
def test_a_damaged_archive_is_a_fault(tmp_path: Path, suffix: str, name: str) -> None:
    content = b"".join(b'{"id": "%s"}\n' % os.urandom(40).hex().encode() for _ in range(10_000))
    path = write(tmp_path, content, suffix)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = b"\xff" * 400
    path.write_bytes(data)
    *_, last = scanned(path)
    assert last.fault == f"the {name} data is damaged here"


@pytest.mark.parametrize("suffix", ["jsonl.gz", "jsonl.zst"])
def test_archives_joined_together_are_one_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r.{suffix}"
    path.write_bytes(packed(suffix, ROWS[:15]) + packed(suffix, ROWS[15:]) + b"\0" * 512)
    assert [raw.values for raw in scanned(path)] == [{"id": 1}, {"id": 2}, {"id": 3}]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cursor_reads_chosen_rows_and_skips_the_others(tmp_path: Path, suffix: str) -> None:
    content = b"".join(b'{"id": %d}\n\n' % n for n in range(100_000))
    source = open_source(write(tmp_path, content, suffix))
    offsets = {raw.row: raw.offset for raw in source.scan()}
    cursor, other = source.cursor(), source.cursor()
    chosen = [0, 1, 2, 7, 50_000, 99_998, 99_999]
    taken = cursor.take([(row, offsets[row]) for row in chosen[:3]])
    assert other.take([(3, offsets[3])]) == [Raw(3, 0, offsets[3], {"id": 3})]
    taken += cursor.take([])
    taken += cursor.take([(row, offsets[row]) for row in chosen[3:]])
    assert taken == [Raw(row, 0, offsets[row], {"id": row}) for row in chosen]
    cursor.close()
    other.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_row_beyond_the_end_is_a_fault(tmp_path: Path, suffix: str) -> None:
    source = open_source(write(tmp_path, ROWS, suffix))
    cursor = source.cursor()
    (raw,) = cursor.take([(9, 9000)])
    cursor.close()
    assert raw.fault == "the file ends before this row; it was changed while it was read"
    assert source.place(raw) == f"{source.path}:row 9"


def test_the_file_is_known_by_size_time_and_content(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    source = open_source(path)
    assert source.fingerprint() == {"size": 30, "mtime_ns": path.stat().st_mtime_ns}
    assert source.content_hash() == xxhash.xxh3_128_hexdigest(ROWS)
    assert (source.columns, source.keep_columns) == (None, None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty; expected at least one row"),
        ("a.jsonl", b"\n \r\n\n", "is empty; expected one JSON object a line"),
        ("a.jsonl", b"\xef\xbb\xbf", "is empty; expected one JSON object a line"),
        ("a.parquet", b"", "is empty; expected at least one row"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "is empty; expected one JSON object a line"),
        ("a.parquet", ROWS, "holds JSON Lines, not Parquet; name it .jsonl"),
        ("a.arrow", ROWS, "holds JSON Lines, not Arrow; name it .jsonl"),
        (
            "a.jsonl",
            gzip.compress(ROWS, mtime=0),
            "holds gzip data, not JSON Lines; name it .jsonl.gz",
        ),
        ("a.jsonl", b"PAR1....", "holds Parquet, not JSON Lines; name it .parquet"),
        ("a.jsonl.gz", ROWS, "holds JSON Lines, not gzip data; name it .jsonl"),
        (
            "a.jsonl.zst",
            b"garbage",
            "the zstd data is damaged here; make the file again",
        ),
        (
            "a.jsonl",
            '{"id": 1}\n'.encode("utf-16"),
            "is not UTF-8 but UTF-16 or UTF-32; save it as UTF-8",
        ),
        (
            "a.jsonl",
            '{"id": 1}\n'.encode("utf-16-le"),
            "is not UTF-8 but UTF-16 or UTF-32; save it as UTF-8",
        ),
        (
            "a.csv",
            b"a,b",
            "unknown kind of file; expected one of .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow",
        ),
    ],
)
def test_what_cannot_be_a_source_is_refused_with_a_remedy(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        open_source(path)
    assert str(error.value) == f"{path}: {message}"


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    missing, folder, pipe = (tmp_path / f"{name}.jsonl" for name in "abc")
    folder.mkdir()
    os.mkfifo(pipe)
    messages = []
    for path in (missing, folder, pipe):
        with pytest.raises(UsageError) as error:
            open_source(path)
        messages.append(str(error.value).removeprefix(f"{path}: "))
    assert messages == [
        "there is no such file; check the path",
        "is a directory; expected a file of requests",
        "is not a regular file; save it as one, it is read twice",
    ]


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "A.JSONL"
    path.write_bytes(ROWS)
    assert faults(path) == [(":1", None), (":2", None), (":3", None)]
