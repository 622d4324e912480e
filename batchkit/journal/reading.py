"""What a journal says: its values read back, each checked. Nothing here writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from batchkit.errors import UsageError
from batchkit.journal.tables import FORMAT
from batchkit.journal.values import (
    ANSWER,
    ATTEMPT,
    CHUNK,
    PART,
    SETTLED,
    DamagedError,
    KeptAnswer,
    SealedPart,
    Settled,
    SettledChunk,
    decode,
    open_value,
    signed,
)
from batchkit.records import Attempt, Result

ROWS_MOST = 1 << 62


class JournalReader:
    """A connection to a journal. Methods block for I/O: call them from a worker thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

    def _check_format(self) -> None:
        ((version,),) = self._rows("PRAGMA user_version")
        if version > FORMAT:
            raise UsageError(
                f"{self.path}: journal format {version} is newer than this batchkit reads "
                f"({FORMAT}); use the version that wrote it"
            )
        if 1 <= version < FORMAT:
            raise UsageError(
                f"{self.path}: journal format {version} is older than this batchkit reads "
                f"({FORMAT}); begin another run with -o"
            )
        if version < 1:
            raise DamagedError(f"{self.path}: not a journal of batchkit; the file was damaged")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see the journal as it was at the first of them."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

    def block(self, number: int) -> bytes:
        place = f"{self.path}: block {number}"
        for (value,) in self._rows("SELECT value FROM block WHERE block = ?", number):
            return open_value(value, place, number)
        raise DamagedError(f"{place}: missing; the file was damaged")

    def is_untouched(self) -> bool:
        """Whether nothing was ever sent."""
        was_sent = (
            self.parts()
            or any(self._rows("SELECT 1 FROM attempt LIMIT 1"))
            or any(one.attempt for one in self.settled(0, ROWS_MOST))
        )
        return not was_sent

    def get(self, key: str) -> bytes | None:
        for (value,) in self._rows("SELECT value FROM meta WHERE key = ?", key):
            return open_value(value, f"{self.path}: {key}")
        return None

    def settled_rows(self) -> Iterator[int]:
        """Rows with a result outside sealed parts."""
        return (row for (row,) in self._rows("SELECT row FROM result"))

    def count_settled(self, first: int, last: int) -> int:
        """How many rows of [first, last) have a result outside sealed parts."""
        query = "SELECT count(*) FROM result WHERE row >= ? AND row < ?"
        ((count,),) = self._rows(query, first, last)
        return int(count)

    def damaged_rows(self) -> list[int]:
        """Rows that have a value which is not what was written."""
        damaged: set[int] = set()
        for table, decoder in (("result", SETTLED), ("attempt", ATTEMPT), ("chunk", CHUNK)):
            for row, value in self._rows(f"SELECT row, value FROM {table}"):
                try:
                    decode(decoder, value, "", row)
                except DamagedError:
                    damaged.add(row)
        return sorted(damaged)

    def settled(self, first: int, last: int) -> Iterator[Settled]:
        """Results of rows in [first, last), in input order."""
        query = "SELECT row, value FROM result WHERE row >= ? AND row < ? ORDER BY row"
        for row, value in self._rows(query, first, last):
            yield decode(SETTLED, value, f"{self.path}: result of row {row}", row)

    def attempts(self, first: int, last: int) -> Iterator[Attempt]:
        """Attempts that settled nothing, of rows in [first, last), in order."""
        query = (
            "SELECT row, value FROM attempt WHERE row >= ? AND row < ? ORDER BY row, chunk, attempt"
        )
        for row, value in self._rows(query, first, last):
            yield decode(ATTEMPT, value, f"{self.path}: an attempt of row {row}", row)

    def chunks(self, first: int, last: int) -> Iterator[SettledChunk]:
        """Settled chunks of rows in [first, last) that are not ok, in order."""
        query = "SELECT row, value FROM chunk WHERE row >= ? AND row < ? ORDER BY row, chunk"
        for row, value in self._rows(query, first, last):
            yield decode(CHUNK, value, f"{self.path}: a chunk of row {row}", row)

    def open_attempts(self) -> Iterator[Attempt]:
        """Attempts of rows that have not settled: what an interrupted run had begun."""
        query = (
            "SELECT a.row, a.value FROM attempt a LEFT JOIN result r ON r.row = a.row "
            "WHERE r.row IS NULL ORDER BY a.row, a.chunk, a.attempt"
        )
        for row, value in self._rows(query):
            yield decode(ATTEMPT, value, f"{self.path}: an attempt of row {row}", row)

    def answer(self, digest: int) -> Result | None:
        """What the original that asks `digest` came to; None if that is not known yet."""
        query = "SELECT value FROM answer WHERE digest = ?"
        for (value,) in self._rows(query, signed(digest)):
            what = f"{self.path}: an answer, kept for the rows that ask the same"
            kept: KeptAnswer = decode(ANSWER, value, what, digest)
            return kept.result
        return None

    def has_answer(self, digest: int) -> bool:
        return any(self._rows("SELECT 1 FROM answer WHERE digest = ?", signed(digest)))

    def damaged_answers(self) -> list[int]:
        """Digests whose kept answer is not what was written."""
        damaged: list[int] = []
        for stored, value in self._rows("SELECT digest, value FROM answer"):
            digest = stored % (1 << 64)  # SQLite's integers are signed
            try:
                decode(ANSWER, value, "", digest)
            except DamagedError:
                damaged.append(digest)
        return damaged

    def parts(self) -> list[SealedPart]:
        found = self._rows("SELECT part, value FROM part ORDER BY part")
        return [decode(PART, value, f"{self.path}: part {n}", n) for n, value in found]

    def reopened_parts(self) -> list[int]:
        """Parts that were sealed once and went back to the journal."""
        blob = self.get("reopened")
        parts: list[int] = [] if blob is None else msgspec.msgpack.decode(blob, type=list[int])
        return parts

    def _rows(self, query: str, *values: int | str) -> Iterator[Any]:
        try:
            yield from self._db.execute(query, values)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # names of tables are text
            raise DamagedError(f"{self.path}: cannot be read: {error}") from error
