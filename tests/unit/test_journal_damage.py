"""Bytes in the journal that batchkit did not write are noticed, and named with their place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchkit.errors import UsageError
from batchkit.journal import DamagedError, Journal, SealedPart, open_value, seal_value
from tests.samples import new_attempt, new_settled

ALL = (0, 1 << 40)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal.create(path)) as journal:
        yield journal


def damage(path: Path, statement: str, *values: object) -> None:
    """Change the file behind the journal's back."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


@pytest.mark.parametrize("position", [0, 20, -9, -1])
@pytest.mark.parametrize("table", ["result", "attempt", "block", "part", "meta"])
def test_a_flipped_byte_in_any_value_is_noticed(
    journal: Journal, path: Path, table: str, position: int
) -> None:
    journal.commit([new_settled(0)], [new_attempt(1)], b"x" * 30)
    journal.write_blocks([(0, b"y" * 30)])
    journal.record_part(SealedPart(5, 0, 0, 0, "a" * 30, 0, ""), 500, 500)
    with closing(sqlite3.connect(path)) as db:
        ((value,),) = db.execute(f"SELECT value FROM {table}")  # noqa: S608  # our own names
    flipped = bytearray(value)
    flipped[position] ^= 1
    damage(path, f"UPDATE {table} SET value = ?", bytes(flipped))  # noqa: S608  # our own names
    with pytest.raises(DamagedError, match=r"journal\.db: .* does not match its checksum"):
        read_everything(journal)


def read_everything(journal: Journal) -> None:
    list(journal.settled(-9, 1 << 40))
    list(journal.attempts(*ALL))
    journal.block(0)
    journal.parts()
    journal.get("tally")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE result SET row = 8",
        "UPDATE attempt SET row = 8",
        "UPDATE block SET block = 1 - block",
        "UPDATE part SET part = 8",
        "UPDATE result SET row = -1",
    ],
)
def test_a_value_under_another_key_is_noticed(journal: Journal, path: Path, statement: str) -> None:
    journal.commit([new_settled(0)], [new_attempt(1)], b"")
    journal.write_blocks([(0, b"y")])
    journal.record_part(SealedPart(5, 0, 0, 0, "", 0, ""), 500, 500)
    damage(path, statement)
    with pytest.raises(DamagedError):
        read_everything(journal)


@pytest.mark.parametrize("value", [b"", b"short", "text", 5, 0.5])
def test_a_value_of_another_kind_is_noticed(journal: Journal, path: Path, value: object) -> None:
    journal.put_all({"tally": b"tally"})
    damage(path, "UPDATE meta SET value = ?", value)
    with pytest.raises(DamagedError):
        journal.get("tally")


def test_damaged_rows_are_told_by_number(journal: Journal, path: Path) -> None:
    journal.commit([new_settled(row) for row in range(5)], [new_attempt(7), new_attempt(8)], b"")
    assert journal.damaged_rows() == []
    damage(path, "UPDATE result SET value = x'00' WHERE row IN (1, 3)")
    damage(path, "UPDATE attempt SET value = x'00' WHERE row = 8")
    assert journal.damaged_rows() == [1, 3, 8]


def test_a_whole_value_that_is_not_ours_is_noticed(journal: Journal, path: Path) -> None:
    journal.commit([new_settled(0)], [], b"")
    damage(path, "UPDATE result SET value = ?", seal_value(b"\x93\x01\x02\x03", 0))
    with pytest.raises(DamagedError, match="result of row 0: not what batchkit wrote"):
        list(journal.settled(*ALL))


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 100_000])
def test_a_sealed_value_opens_under_its_key_only(body: bytes) -> None:
    assert open_value(seal_value(body, 7), "here", 7) == body
    with pytest.raises(DamagedError, match=r"^here: the value does not match its checksum"):
        open_value(seal_value(body, 7), "here", 8)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"x" * 10_000, b"\0" * 32_768, b"SQLite format 3\0"]
)
@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_was_overwritten_is_refused(
    path: Path, content: bytes, read_only: bool
) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"journal\.db: "):
        Journal.open(path, read_only=read_only)
    assert path.read_bytes() == content


def test_a_file_that_was_cut_is_refused_when_its_rows_are_read(path: Path) -> None:
    with closing(Journal.create(path)) as journal:
        journal.commit([new_settled(row, content="x" * 999) for row in range(50)], [], b"tally")
    size = path.stat().st_size
    for kept in (size // 2, 16_384, 8_192, 100):
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(DamagedError), closing(Journal.open(path)) as journal:
            list(journal.settled(*ALL))


def test_a_schema_that_is_no_text_any_more_is_damage(path: Path) -> None:
    """SQLite quotes it in its error, which Python then cannot decode."""
    with closing(Journal.create(path)) as journal:
        journal.commit([new_settled(0)], [], b"tally")
    content = path.read_bytes()
    assert content.count(b"CREATE TABLE meta") == 1
    path.write_bytes(content.replace(b"CREATE TABLE meta", b"CREATE TABL\xc5 meta"))
    with pytest.raises(DamagedError, match=r"journal\.db: "):
        Journal.open(path)


def test_another_programs_file_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE result (x)")
    with pytest.raises(DamagedError, match="not a journal of batchkit"):
        Journal.open(path)


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(DamagedError, match="unable to open"):
        Journal.open(path)
    assert not path.exists()


def test_a_newer_format_is_refused_with_a_way_out(path: Path) -> None:
    Journal.create(path).close()
    damage(path, "PRAGMA user_version = 99")
    with pytest.raises(UsageError) as caught:
        Journal.open(path)
    assert str(caught.value) == (
        f"{path}: journal format 99 is newer than this batchkit reads (3); "
        "use the version that wrote it"
    )


def test_format_1_is_refused_with_a_way_out(path: Path) -> None:
    Journal.create(path).close()
    damage(path, "PRAGMA user_version = 1")
    with pytest.raises(UsageError) as caught:
        Journal.open(path)
    assert str(caught.value) == (
        f"{path}: journal format 1 is older than this batchkit reads (3); begin another run with -o"
    )
