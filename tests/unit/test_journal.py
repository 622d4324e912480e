"""The journal: a group is whole or absent, and survives whatever ends the process."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import Billing, ErrorKind
from batchkit.journal import DamagedError, EndedChunk, Journal, SealedPart, Settled, SettledChunk
from batchkit.records import Attempt
from tests.samples import new_attempt, new_result, new_settled

PART = SealedPart(0, 2, 1, 100, "aa", 50, "bb")
ALL = (0, 1 << 40)
MODES = ("journal_mode", "synchronous")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal.create(path)) as journal:
        yield journal


def test_a_group_is_read_back_as_it_was_committed(journal: Journal) -> None:
    refused = new_attempt(3, 1, error_kind=ErrorKind.RATE, billing=Billing.FREE)
    never_sent = Settled(new_result(1, status="failed", attempts=0), None)
    journal.commit([new_settled(7), never_sent], [refused], b"tally")
    assert list(journal.settled(*ALL)) == [never_sent, new_settled(7)]
    assert list(journal.attempts(*ALL)) == [refused]
    assert sorted(journal.settled_rows()) == [1, 7]
    assert journal.get("tally") == b"tally"


def test_rows_are_read_by_range_and_in_order(journal: Journal) -> None:
    journal.commit(
        [new_settled(row) for row in (9, 2, 5, 4)],
        [new_attempt(*key) for key in ((5, 2), (5, 1), (4, 1), (9, 1))],
        b"",
    )
    assert [one.result.row for one in journal.settled(4, 9)] == [4, 5]
    assert [(a.row, a.attempt) for a in journal.attempts(4, 9)] == [(4, 1), (5, 1), (5, 2)]
    assert journal.count_settled(4, 9) == 2


def test_a_second_result_of_a_row_leaves_the_whole_group_out(journal: Journal) -> None:
    journal.commit([new_settled(1)], [], b"before")
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit([new_settled(2), new_settled(1, content="no")], [new_attempt(5)], b"after")
    assert list(journal.settled(*ALL)) == [new_settled(1)]
    assert list(journal.attempts(*ALL)) == []
    assert journal.get("tally") == b"before"
    journal.commit([new_settled(2)], [], b"goes on")


def test_a_second_attempt_of_the_same_number_leaves_the_whole_group_out(journal: Journal) -> None:
    journal.commit([], [new_attempt(1, 1)], b"before")
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit([new_settled(2)], [new_attempt(1, 1)], b"after")
    assert (list(journal.settled(*ALL)), journal.get("tally")) == ([], b"before")


def test_a_group_that_breaks_off_is_left_out(journal: Journal) -> None:
    def attempts() -> Iterator[Attempt]:
        yield new_attempt(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.commit([new_settled(1)], attempts(), b"tally")
    assert (list(journal.settled(*ALL)), journal.get("tally")) == ([], None)


def test_attempts_of_rows_that_have_not_settled_are_open(journal: Journal) -> None:
    journal.commit([new_settled(1)], [new_attempt(1, 1), new_attempt(2, 2), new_attempt(2, 1)], b"")
    assert list(journal.open_attempts()) == [new_attempt(2, 1), new_attempt(2, 2)]


def test_a_commit_survives_what_a_kill_leaves_behind(journal: Journal, path: Path) -> None:
    journal.commit([new_settled(1)], [], b"tally")
    left = path.parent / "left"
    left.mkdir()
    for file in path.parent.glob("journal.db*"):
        shutil.copy(file, left / file.name)
    with closing(Journal.open(left / "journal.db")) as reopened:
        assert list(reopened.settled(*ALL)) == [new_settled(1)]
        assert reopened.get("tally") == b"tally"


def test_a_reader_sees_what_was_committed_and_writes_nothing(journal: Journal) -> None:
    with closing(journal.reader()) as reader:
        assert reader.get("tally") is None
        journal.commit([new_settled(1)], [], b"tally")
        assert list(reader.settled(*ALL)) == [new_settled(1)]
        assert reader.get("tally") == b"tally"
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.put_all({"tally": b"x"})


def test_a_writer_does_not_wait_for_a_reader(journal: Journal) -> None:
    journal.commit([new_settled(row) for row in range(100)], [], b"")
    with closing(journal.reader()) as reader:
        reading = reader.settled(*ALL)
        next(reading)
        journal.commit([new_settled(200)], [], b"")
        assert [one.result.row for one in reading] == list(range(1, 100))


def test_values_are_kept_together_or_not_at_all(journal: Journal) -> None:
    journal.put_all({"a": b"1", "b": b"2"})
    with pytest.raises(TypeError):
        journal.put_all({"a": b"3", "b": None})  # type: ignore[dict-item]  # the fault at hand
    assert (journal.get("a"), journal.get("b")) == (b"1", b"2")


# --- the plan ---


def test_a_plan_is_there_once_it_is_finished(journal: Journal) -> None:
    journal.write_blocks([(0, b"zero"), (1, b"one")])
    assert journal.get("plan") is None
    journal.finish_plan(b"plan", b"tally")
    assert (journal.get("plan"), journal.get("tally")) == (b"plan", b"tally")
    assert (journal.block(0), journal.block(1)) == (b"zero", b"one")
    journal.write_blocks([(1, b"uno")])
    assert journal.block(1) == b"uno"


def test_a_plan_that_was_never_finished_is_forgotten(journal: Journal) -> None:
    journal.write_blocks([(0, b"zero")])
    journal.commit([Settled(new_result(0, status="failed"), None)], [], b"tally")
    journal.drop_plan()
    assert list(journal.settled_rows()) == []
    with pytest.raises(DamagedError, match="block 0: missing"):
        journal.block(0)


@pytest.mark.parametrize("sent", ["a result", "an attempt", "a part"])
def test_a_plan_whose_rows_were_sent_is_never_forgotten(journal: Journal, sent: str) -> None:
    """A plan that cannot be found after that was damaged: the results are not to blame."""
    if sent == "a result":
        journal.commit([new_settled(0)], [], b"")
    elif sent == "an attempt":
        journal.commit([], [new_attempt(0)], b"")
    else:
        journal.record_part(PART, 0, 2)
    assert not journal.is_untouched()
    with pytest.raises(DamagedError, match="the plan is missing; the file was damaged"):
        journal.drop_plan()


# --- parts ---


def test_a_part_takes_exactly_its_rows_out(journal: Journal) -> None:
    journal.commit(
        [new_settled(row) for row in range(6)], [new_attempt(row, 1) for row in range(6)], b"tally"
    )
    part = SealedPart(1, 2, 0, 1, "a", 2, "b")
    journal.record_part(part, 2, 4)
    assert journal.parts() == [part]
    assert sorted(journal.settled_rows()) == [0, 1, 4, 5]
    assert [attempt.row for attempt in journal.attempts(*ALL)] == [0, 1, 4, 5]
    assert journal.get("tally") == b"tally"


def test_a_part_is_recorded_once(journal: Journal) -> None:
    journal.record_part(PART, 0, 2)
    journal.commit([new_settled(0)], [], b"")
    with pytest.raises(sqlite3.IntegrityError):
        journal.record_part(PART, 0, 2)
    assert list(journal.settled_rows()) == [0]


def test_a_journal_that_was_never_finished_is_made_anew(path: Path) -> None:
    """What a kill leaves of one that is being made has no final name."""
    path.with_name("journal.db.tmp").write_bytes(b"half a journal")
    with closing(Journal.create(path)) as journal:
        journal.put_all({"tally": b"tally"})
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]
    with closing(Journal.open(path)) as journal:
        assert journal.get("tally") == b"tally"


def test_a_journal_is_never_made_over_another(journal: Journal, path: Path) -> None:
    journal.put_all({"tally": b"tally"})
    with pytest.raises(AssertionError):
        Journal.create(path)
    assert journal.get("tally") == b"tally"


def test_every_commit_is_synced(journal: Journal, path: Path) -> None:
    modes = [journal.connection.execute(f"PRAGMA {name}").fetchone() for name in MODES]
    assert modes == [("wal",), (2,)]
    with closing(Journal.open(path)) as reopened:
        assert [reopened.connection.execute(f"PRAGMA {n}").fetchone() for n in MODES] == modes


def ended_chunk(row: int, chunk: int, **fields: Any) -> EndedChunk:
    settled = SettledChunk(17, new_result(row, **fields), chunk)
    return EndedChunk(settled, new_attempt(row, chunk=chunk))


def test_chunks_stay_until_their_row_is_ok(journal: Journal) -> None:
    chunks = [ended_chunk(row, chunk) for row in (3, 4) for chunk in (1, 2)]
    journal.commit([], [], b"", chunks=chunks)
    assert list(journal.chunks(*ALL)) == [chunk.settled for chunk in chunks]
    failed = Settled(new_result(4, status="failed"), None)
    journal.commit([Settled(new_result(3), None), failed, new_settled(5)], [], b"")
    assert list(journal.chunks(*ALL)) == [chunk.settled for chunk in chunks[2:]]
    assert list(journal.attempts(3, 4)) == [new_attempt(3, chunk=1), new_attempt(3, chunk=2)]


def test_attempts_of_a_row_come_chunk_by_chunk(journal: Journal) -> None:
    attempts = [new_attempt(1, number, chunk=chunk) for chunk in (1, 2, 10) for number in (1, 2)]
    journal.commit([], attempts[::-1], b"")
    assert list(journal.attempts(*ALL)) == attempts


def test_a_sealed_part_takes_no_chunk_of_a_failed_row_along(journal: Journal) -> None:
    journal.commit(
        [Settled(new_result(0, status="failed"), None)], [], b"", chunks=[ended_chunk(0, 1)]
    )
    journal.record_part(SealedPart(0, 1, 1, 1, "", 1, ""), 0, 1)
    assert list(journal.attempts(*ALL)) == []
    assert [one.chunk for one in journal.chunks(*ALL)] == [1]


def test_failed_chunks_are_dropped_and_answers_kept(journal: Journal) -> None:
    chunks = [ended_chunk(0, 1), ended_chunk(0, 2, status="failed"), ended_chunk(1, 1)]
    journal.commit([], [], b"", chunks=chunks)
    journal.drop_failed_chunks()
    assert [(one.result.row, one.chunk) for one in journal.chunks(*ALL)] == [(0, 1), (1, 1)]
