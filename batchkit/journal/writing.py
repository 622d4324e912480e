"""A journal with all that changes it: groups of rows, the plan, parts, and what is taken back."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from batchkit.journal.reading import ROWS_MOST, JournalReader
from batchkit.journal.tables import FORMAT, PAGE, SCHEMA
from batchkit.journal.values import (
    DamagedError,
    EndedChunk,
    KeptAnswer,
    SealedPart,
    Settled,
    SettledChunk,
    answer_values,
    attempt_values,
    encode,
    seal_value,
    settled_values,
    signed,
)
from batchkit.records import Attempt

_LOG = "wal_autocheckpoint = 500"  # pages: SQLite's log has 8 MiB before it is reused
_BUSY_S = 30.0  # another process may be reading; writers never wait for readers in WAL mode


class Journal(JournalReader):
    """One run's journal. Methods block for I/O: call them from a worker thread, one at a time."""

    @classmethod
    def create(cls, path: Path) -> Journal:
        """A new, empty journal at `path`, which must not exist.

        A kill leaves no half-made journal: the file gets its name when it is whole. That name is
        durable with the first commit (SQLite syncs the folder in which it makes the WAL file).
        """
        assert not path.exists(), path
        unfinished = path.with_name(f"{path.name}.tmp")
        unfinished.unlink(missing_ok=True)
        with closing(_connect(unfinished, "rwc")) as db:
            db.execute(f"PRAGMA page_size = {PAGE}")
            db.execute("PRAGMA journal_mode = OFF")  # a leftover is not mended but made anew
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
        unfinished.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Journal:
        """The journal at `path`; raises `UsageError` or `DamagedError` if it cannot be used."""
        try:
            db = _connect(path, "ro" if read_only else "rw")
        except sqlite3.Error as error:
            raise DamagedError(f"{path}: cannot be opened: {error}") from error
        journal = cls(path, db)
        try:
            journal._check_format()
            if not read_only:
                for pragma in ("journal_mode = WAL", "synchronous = FULL", _LOG):
                    list(journal._rows(f"PRAGMA {pragma}"))
        except BaseException:
            db.close()
            raise
        return journal

    def reader(self) -> Journal:
        """A second connection to the same file that only reads."""
        return Journal.open(self.path, read_only=True)

    # -- the plan ----------------------------------------------------------------------------------

    def write_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        """Add plan blocks; they count only once a plan that has their rows was committed."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO block VALUES (?, ?)",
                ((n, seal_value(body, n)) for n, body in blocks),
            )

    def finish_plan(self, plan: bytes, tally: bytes) -> None:
        """Keep the plan: from here on the run can go on without checking its rows again."""
        with self._transaction():
            self._put("plan", plan)
            self._put("tally", tally)

    def drop_plan(self) -> None:
        """Forget a plan that was never finished, and the bad rows found while it was made.

        Raises `DamagedError` if requests were sent, since then there was a plan.
        """
        if not self.is_untouched():
            raise DamagedError(f"{self.path}: the plan is missing; the file was damaged")
        with self._transaction():
            self._db.execute("DELETE FROM block")
            self._db.execute("DELETE FROM result")
            self._db.execute("DELETE FROM meta WHERE key = 'plan'")

    # -- rows --------------------------------------------------------------------------------------

    def commit(
        self,
        settled: Sequence[Settled],
        attempts: Iterable[Attempt],
        tally: bytes,
        *,
        chunks: Sequence[EndedChunk] = (),
        answers: Iterable[KeptAnswer] = (),
        plan: bytes | None = None,
    ) -> None:
        """Make a group durable: results, attempts that settled nothing, and the tally with them.

        A settled chunk stays until its row is ok, so that a row that failed asks again for no more
        than what it lacks. `answers` are those of `settled` that copies wait for. `plan` is there
        if it has grown.
        """
        with self._transaction():
            self.keep_answers(answers)
            self._db.executemany("INSERT INTO result VALUES (?, ?)", map(settled_values, settled))
            self._db.executemany(
                "INSERT INTO attempt VALUES (?, ?, ?, ?)", map(attempt_values, attempts)
            )
            if chunks:
                self._insert_chunks(chunks)
            self._db.executemany("DELETE FROM chunk WHERE row = ?", _rows_joined(settled))
            self._put("tally", tally)
            if plan is not None:
                self._put("plan", plan)

    def _insert_chunks(self, chunks: Sequence[EndedChunk]) -> None:
        self._db.executemany(
            "INSERT INTO attempt VALUES (?, ?, ?, ?)", (attempt_values(c.attempt) for c in chunks)
        )
        for one in chunks:
            self.stage_chunk("chunk", one.settled)

    def put_all(self, values: Mapping[str, bytes]) -> None:
        """Keep several values of the run, together or not at all."""
        with self._transaction():
            for key, body in values.items():
                self._put(key, body)

    # -- answers that copies wait for --------------------------------------------------------------

    def keep_answers(self, answers: Iterable[KeptAnswer]) -> None:
        """Keep answers, each in the place of an earlier one; inside a transaction."""
        self._db.executemany(
            "INSERT OR REPLACE INTO answer VALUES (?, ?, ?)", map(answer_values, answers)
        )

    def drop_answer(self, digest: int) -> None:
        self._db.execute("DELETE FROM answer WHERE digest = ?", (signed(digest),))

    def drop_failed_answers(self, kinds: Collection[str]) -> None:
        """Forget kept answers of originals that failed, of some kinds or, without any, of all."""
        if not kinds:
            self._db.execute("DELETE FROM answer WHERE failure IS NOT NULL")
        for kind in kinds:
            self._db.execute("DELETE FROM answer WHERE failure = ?", (kind,))

    # -- parts -------------------------------------------------------------------------------------

    def record_part(self, part: SealedPart, first: int, last: int) -> None:
        """The part is whole on disk under its final name: it replaces its rows in the journal."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO part VALUES (?, ?)", (part.part, seal_value(encode(part), part.part))
            )
            self._db.execute("DELETE FROM result WHERE row >= ? AND row < ?", (first, last))
            self._db.execute("DELETE FROM attempt WHERE row >= ? AND row < ?", (first, last))

    # -- revising: the calls below belong inside `with journal.revising()` -------------------------

    @contextmanager
    def revising(self) -> Iterator[Journal]:
        """One transaction for changes to rows that had settled."""
        with self._transaction():
            yield self

    @property
    def connection(self) -> sqlite3.Connection:
        """For `revision`, which compares plans in temporary tables."""
        return self._db

    def take_back(self, part: SealedPart, records: Iterable[Settled | Attempt]) -> None:
        """The journal becomes the truth for a sealed part's rows again."""
        for record in records:
            if isinstance(record, Settled):
                self.stage_result("result", record)
            else:
                self.stage_attempt("attempt", record)
        self.drop_part(part.part)

    def drop_part(self, part: int) -> None:
        """Forget a sealed part. Its files may stay until it is sealed again."""
        self._db.execute("DELETE FROM part WHERE part = ?", (part,))
        self._put("reopened", encode(sorted({*self.reopened_parts(), part})))

    def unsettle(self, settled: Settled) -> None:
        """Forget a result, and keep the attempt that settled it."""
        self.drop_row(settled.result.row)
        if settled.attempt is not None:
            self.stage_attempt("attempt", settled.attempt)

    def drop_attempts(self, row: int) -> None:
        """Forget the attempts of a row that settled nothing, and its settled chunks."""
        self._db.execute("DELETE FROM attempt WHERE row = ?", (row,))
        self._db.execute("DELETE FROM chunk WHERE row = ?", (row,))

    def drop_failed_chunks(self) -> None:
        """Forget the chunks that failed: those of a row that is asked again are asked, no other."""
        failed = [
            (one.result.row, one.chunk)
            for one in self.chunks(0, ROWS_MOST)
            if one.result.status == "failed"
        ]
        self._db.executemany("DELETE FROM chunk WHERE row = ? AND chunk = ?", failed)

    def drop_row(self, row: int) -> None:
        """Forget a result with the attempt that settled it."""
        self._db.execute("DELETE FROM result WHERE row = ?", (row,))

    def stage_result(self, table: str, settled: Settled) -> None:
        self._db.execute(f"INSERT INTO {table} VALUES (?, ?)", settled_values(settled))

    def stage_attempt(self, table: str, attempt: Attempt) -> None:
        self._db.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", attempt_values(attempt))

    def stage_chunk(self, table: str, settled: SettledChunk) -> None:
        """Keep a settled chunk, in the place of one that asked something else."""
        row = settled.result.row
        value = seal_value(encode(settled), row)
        self._db.execute(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", (row, settled.chunk, value)
        )

    def stage_block(self, number: int, body: bytes) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO block VALUES (?, ?)", (number, seal_value(body, number))
        )

    def replace_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        self._db.execute("DELETE FROM block")
        self._db.executemany(
            "INSERT INTO block VALUES (?, ?)", ((n, seal_value(body, n)) for n, body in blocks)
        )

    def keep(self, key: str, body: bytes) -> None:
        self._put(key, body)

    # -- inside ------------------------------------------------------------------------------------

    def _put(self, key: str, body: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, seal_value(body)))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_S,
    )


def _rows_joined(settled: Iterable[Settled]) -> Iterator[tuple[int]]:
    """Rows that are ok by the answers of their chunks: no attempt of their own settled them."""
    for one in settled:
        if one.attempt is None and one.result.status == "ok":
            yield (one.result.row,)
