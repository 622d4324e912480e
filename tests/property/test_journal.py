"""Whatever is stored comes back or is missed loudly, whatever happens to the file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.errors import UsageError
from batchkit.journal import DamagedError, Journal, Settled
from batchkit.records import Attempt
from tests.samples import new_attempt, new_settled
from tests.strategies import attempts, settled

ALL = (0, 1 << 62)
GROUPS = 5


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(max_examples=25)
@given(
    st.lists(settled(), unique_by=lambda one: one.result.row, max_size=5),
    st.lists(attempts(), unique_by=lambda one: (one.row, one.attempt), max_size=5),
    st.binary(max_size=50),
)
def test_any_group_comes_back(results: list[Settled], tried: list[Attempt], tally: bytes) -> None:
    with folder() as here, closing(Journal.create(here / "journal.db")) as journal:
        journal.commit(results, tried, tally)
        with closing(journal.reader()) as reader:
            assert list(reader.settled(*ALL)) == sorted(results, key=lambda one: one.result.row)
            assert list(reader.attempts(*ALL)) == sorted(tried, key=lambda a: (a.row, a.attempt))
            assert reader.get("tally") == tally


def group(number: int) -> list[Settled]:
    return [new_settled(row, content="answer " * row) for row in range(7 * number, 7 * number + 7)]


@cache
def written() -> tuple[bytes, bytes]:
    """The bytes of a journal and of its log, as a kill after the last commit leaves them."""
    with folder() as here, closing(Journal.create(here / "journal.db")) as journal:
        for number in range(GROUPS):
            journal.commit(group(number), [new_attempt(1000 + number)], b"tally %d" % number)
        return (here / "journal.db").read_bytes(), (here / "journal.db-wal").read_bytes()


@cache
def closed() -> bytes:
    """The bytes of the same journal after it was closed."""
    database, log = written()
    with folder() as here:
        put(here, database, log)
        Journal.open(here / "journal.db").close()
        return (here / "journal.db").read_bytes()


def put(here: Path, database: bytes, log: bytes | None = None) -> Path:
    path = here / "journal.db"
    path.write_bytes(database)
    if log is not None:
        path.with_name("journal.db-wal").write_bytes(log)
    return path


@settings(max_examples=60)
@given(st.integers(0))
def test_a_log_cut_at_any_byte_holds_the_first_groups_whole(kept: int) -> None:
    database, log = written()
    with folder() as here:
        path = put(here, database, log[: kept % (len(log) + 1)])
        with closing(Journal.open(path)) as journal:
            rows = [one.result.row for one in journal.settled(*ALL)]
            tally = journal.get("tally")
            tried = [attempt.row for attempt in journal.attempts(*ALL)]
    whole = len(rows) // 7
    assert rows == list(range(7 * whole))
    assert tally == (b"tally %d" % (whole - 1) if whole else None)
    assert tried == [1000 + number for number in range(whole)]


@settings(max_examples=150)
@given(st.integers(0), st.integers(1, 255), st.booleans())
def test_a_flipped_byte_anywhere_never_yields_a_wrong_value(
    position: int, mask: int, in_log: bool
) -> None:
    """Rows may be missing, which the tally tells; none is other than it was written."""
    database, log = (bytearray(b) for b in (written() if in_log else (closed(), b"")))
    target = log if in_log else database
    target[position % len(target)] ^= mask
    with folder() as here:
        path = put(here, bytes(database), bytes(log) if in_log else None)
        try:
            with closing(Journal.open(path)) as journal:
                rows = list(journal.settled(*ALL))
                tried = list(journal.attempts(*ALL))
                tally = journal.get("tally")
        except (DamagedError, UsageError):
            return
    expected = [one for number in range(GROUPS) for one in group(number)]
    assert [one for one in rows if one not in expected] == []
    assert [a for a in tried if a not in [new_attempt(1000 + n) for n in range(GROUPS)]] == []
    assert tally in {None, *(b"tally %d" % number for number in range(GROUPS))}


@settings(max_examples=40)
@given(st.integers(0))
def test_a_file_cut_at_any_byte_never_yields_a_wrong_value(kept: int) -> None:
    database = closed()
    with folder() as here:
        path = put(here, database[: kept % len(database)])
        try:
            with closing(Journal.open(path)) as journal:
                rows = list(journal.settled(*ALL))
        except DamagedError:
            return
    assert rows == [one for number in range(GROUPS) for one in group(number)]
