"""Finds rows that ask the very same, in a scratch database on disk: memory does not grow with them.

The first of them is the original, the others are its copies. Answers are known by the 64 bits of
the plan's digest, so of two groups that share a digest by chance only the first has copies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from batchkit.plan import Role

_GROUP = 1024  # rows written at once
_TABLES = """
CREATE TABLE asked (row INTEGER PRIMARY KEY, digest INTEGER NOT NULL, proof INTEGER NOT NULL);
"""
_ROLES = """
SELECT asked.row, asked.row != shared.first
FROM (SELECT digest, proof, min(row) AS first FROM asked GROUP BY digest HAVING count(*) > 1)
     AS shared
JOIN asked USING (digest, proof)
ORDER BY asked.row
"""  # beside min(), SQLite takes `proof` from the row that has the minimum


class Duplicates:
    """The rows of one input, by what they ask."""

    def __init__(self) -> None:
        # A database without a name: a file that SQLite makes, unlinked, once its cache is full.
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_TABLES)
        self._held: list[tuple[int, int, int]] = []

    def close(self) -> None:
        """Forget everything; the file is gone with it."""
        self._db.close()

    def add(self, row: int, digest: int, proof: int) -> None:
        """Take in a row that can be sent, by two digests of what it asks."""
        self._held.append((row, _signed(digest), _signed(proof)))
        if len(self._held) == _GROUP:
            self._flush()

    def forget(self, row: int) -> None:
        """A row that was taken in cannot be sent after all."""
        self._flush()
        self._db.execute("DELETE FROM asked WHERE row = ?", (row,))

    def roles(self) -> Iterator[tuple[int, Role]]:
        """Originals that have copies, and the copies, in input order."""
        self._flush()
        self._db.execute("CREATE INDEX same ON asked (digest, proof)")
        for row, is_copy in self._db.execute(_ROLES):
            yield row, Role.COPY if is_copy else Role.ORIGINAL

    def firsts(self) -> Iterator[int]:
        """The first of those that ask the same, each in input order."""
        self._flush()
        query = "SELECT min(row) FROM asked GROUP BY digest ORDER BY 1"
        return (row for (row,) in self._db.execute(query))

    def _flush(self) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO asked VALUES (?, ?, ?)", self._held)
        self._db.execute("COMMIT")
        self._held.clear()


@contextmanager
def finding_duplicates(*, wanted: bool) -> Iterator[Duplicates | None]:
    """What a scan needs to find equal rows, if it is wanted."""
    if not wanted:
        yield None
        return
    with closing(Duplicates()) as duplicates:
        yield duplicates


def _signed(digest: int) -> int:
    """SQLite's integers are signed."""
    return digest - (1 << 64) if digest >> 63 else digest
