"""The journal: an SQLite file that holds the plan and every row that is not in a sealed part yet.

Rules of the file:

1. A group is committed in one transaction, in WAL mode with `synchronous=FULL`: when `commit`
   returns, the group survives a power cut (sqlite.org, "PRAGMA synchronous", "Write-Ahead Log").
2. The tally is written in the transaction of the rows that it counts: never ahead, never behind.
3. A row settles once: the primary key refuses a second result.
4. Every value carries a checksum, seeded with its row's key: SQLite notices neither a flipped byte
   in a value nor a value that stands under another key.
5. One connection writes. Sealing and `status` read through connections of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import xxhash

from batchkit.errors import StoppedError, UsageError
from batchkit.records import Attempt, Result

FORMAT = 3  # of the file; another one is refused: 1 and 2 were never released
_CHECKSUM = 8  # bytes
_ROWS_MOST = 1 << 62
_PAGE = 16384  # bytes; ten rows of short answers, a fifth less CPU a row than at 8192
_LOG = "wal_autocheckpoint = 500"  # pages: SQLite's log has 8 MiB before it is reused
_BUSY_S = 30.0  # another process may be reading; writers never wait for readers in WAL mode

_SCHEMA = """
CREATE TABLE meta    (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE block   (block INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE result  (row INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE attempt (row INTEGER, chunk INTEGER, attempt INTEGER, value BLOB NOT NULL,
                      PRIMARY KEY (row, chunk, attempt)) WITHOUT ROWID;
CREATE TABLE chunk   (row INTEGER, chunk INTEGER, value BLOB NOT NULL,
                      PRIMARY KEY (row, chunk)) WITHOUT ROWID;
CREATE TABLE answer  (digest INTEGER PRIMARY KEY, failure TEXT, value BLOB NOT NULL);
CREATE INDEX answer_failure ON answer (failure) WHERE failure IS NOT NULL;
CREATE TABLE part    (part INTEGER PRIMARY KEY, value BLOB NOT NULL);
"""

_encode = msgspec.msgpack.Encoder().encode


class SealedPart(msgspec.Struct, frozen=True):
    """What the journal knows of a sealed part: enough to notice that a file was changed."""

    part: int
    rows: int
    failed: int
    results_bytes: int
    results_xxh3: str
    attempts_bytes: int
    attempts_xxh3: str


class Settled(msgspec.Struct, frozen=True, array_like=True):
    """A result with the attempt that settled it; rows that were never sent have none."""

    result: Result
    attempt: Attempt | None


class SettledChunk(msgspec.Struct, frozen=True, array_like=True):
    """The result of one chunk of a row; `digest` is that of its request, by which it is known."""

    digest: int
    result: Result  # of the chunk's request; tokens, cost and attempts are those of one start
    chunk: int


class EndedChunk(msgspec.Struct, frozen=True):
    """A settled chunk with the attempt that settled it, on its way into the journal."""

    settled: SettledChunk
    attempt: Attempt


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What an original came to, for its copies; `digest` is that of what they ask."""

    digest: int
    result: Result


Record: TypeAlias = Settled | EndedChunk | Attempt
"""What a worker hands over: a row or a chunk that has settled, or an attempt that settled none."""


class Planned(msgspec.Struct, frozen=True):
    """More rows that were checked: the plan with them, whose blocks are durable already."""

    plan: bytes
    rows: int  # in all
    is_whole: bool  # no more rows will come
    invalid: list[Settled]  # those of the new rows that cannot be sent


_settled = msgspec.msgpack.Decoder(Settled)
_chunk = msgspec.msgpack.Decoder(SettledChunk)
_answer = msgspec.msgpack.Decoder(KeptAnswer)
_attempt = msgspec.msgpack.Decoder(Attempt)
_part = msgspec.msgpack.Decoder(SealedPart)


class DamagedError(StoppedError):
    """The journal holds bytes that batchkit did not write."""


def seal_value(body: bytes, key: int = 0) -> bytes:
    """`body` with a checksum of itself and its key behind it."""
    return body + xxhash.xxh3_64_digest(body, key)


def open_value(value: Any, place: str, key: int = 0) -> bytes:
    """The body of a sealed value; raises `DamagedError` if it is not what was written."""
    if isinstance(value, bytes) and len(value) >= _CHECKSUM:
        body = value[:-_CHECKSUM]
        if xxhash.xxh3_64_digest(body, key % (1 << 64)) == value[-_CHECKSUM:]:
            return body
    raise DamagedError(f"{place}: the value does not match its checksum; the file was damaged")


class Journal:
    """One run's journal. Methods block for I/O: call them from a worker thread, one at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

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
            db.execute(f"PRAGMA page_size = {_PAGE}")
            db.execute("PRAGMA journal_mode = OFF")  # a leftover is not mended but made anew
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
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

    def reader(self) -> Journal:
        """A second connection to the same file that only reads."""
        return Journal.open(self.path, read_only=True)

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
            or any(one.attempt for one in self.settled(0, _ROWS_MOST))
        )
        return not was_sent

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
            self._db.executemany("INSERT INTO result VALUES (?, ?)", map(_settled_values, settled))
            self._db.executemany(
                "INSERT INTO attempt VALUES (?, ?, ?, ?)", map(_attempt_values, attempts)
            )
            if chunks:
                self._insert_chunks(chunks)
            self._db.executemany("DELETE FROM chunk WHERE row = ?", _rows_joined(settled))
            self._put("tally", tally)
            if plan is not None:
                self._put("plan", plan)

    def _insert_chunks(self, chunks: Sequence[EndedChunk]) -> None:
        self._db.executemany(
            "INSERT INTO attempt VALUES (?, ?, ?, ?)", (_attempt_values(c.attempt) for c in chunks)
        )
        for one in chunks:
            self.stage_chunk("chunk", one.settled)

    def put_all(self, values: Mapping[str, bytes]) -> None:
        """Keep several values of the run, together or not at all."""
        with self._transaction():
            for key, body in values.items():
                self._put(key, body)

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
        for table, decoder in (("result", _settled), ("attempt", _attempt), ("chunk", _chunk)):
            for row, value in self._rows(f"SELECT row, value FROM {table}"):
                try:
                    _decode(decoder, value, "", row)
                except DamagedError:
                    damaged.add(row)
        return sorted(damaged)

    def settled(self, first: int, last: int) -> Iterator[Settled]:
        """Results of rows in [first, last), in input order."""
        query = "SELECT row, value FROM result WHERE row >= ? AND row < ? ORDER BY row"
        for row, value in self._rows(query, first, last):
            yield _decode(_settled, value, f"{self.path}: result of row {row}", row)

    def attempts(self, first: int, last: int) -> Iterator[Attempt]:
        """Attempts that settled nothing, of rows in [first, last), in order."""
        query = (
            "SELECT row, value FROM attempt WHERE row >= ? AND row < ? ORDER BY row, chunk, attempt"
        )
        for row, value in self._rows(query, first, last):
            yield _decode(_attempt, value, f"{self.path}: an attempt of row {row}", row)

    def chunks(self, first: int, last: int) -> Iterator[SettledChunk]:
        """Settled chunks of rows in [first, last) that are not ok, in order."""
        query = "SELECT row, value FROM chunk WHERE row >= ? AND row < ? ORDER BY row, chunk"
        for row, value in self._rows(query, first, last):
            yield _decode(_chunk, value, f"{self.path}: a chunk of row {row}", row)

    def open_attempts(self) -> Iterator[Attempt]:
        """Attempts of rows that have not settled: what an interrupted run had begun."""
        query = (
            "SELECT a.row, a.value FROM attempt a LEFT JOIN result r ON r.row = a.row "
            "WHERE r.row IS NULL ORDER BY a.row, a.chunk, a.attempt"
        )
        for row, value in self._rows(query):
            yield _decode(_attempt, value, f"{self.path}: an attempt of row {row}", row)

    # -- answers that copies wait for --------------------------------------------------------------

    def answer(self, digest: int) -> Result | None:
        """What the original that asks `digest` came to; None if that is not known yet."""
        query = "SELECT value FROM answer WHERE digest = ?"
        for (value,) in self._rows(query, _signed(digest)):
            what = f"{self.path}: an answer, kept for the rows that ask the same"
            kept: KeptAnswer = _decode(_answer, value, what, digest)
            return kept.result
        return None

    def has_answer(self, digest: int) -> bool:
        return any(self._rows("SELECT 1 FROM answer WHERE digest = ?", _signed(digest)))

    def damaged_answers(self) -> list[int]:
        """Digests whose kept answer is not what was written."""
        damaged: list[int] = []
        for signed, value in self._rows("SELECT digest, value FROM answer"):
            digest = signed % (1 << 64)
            try:
                _decode(_answer, value, "", digest)
            except DamagedError:
                damaged.append(digest)
        return damaged

    def keep_answers(self, answers: Iterable[KeptAnswer]) -> None:
        """Keep answers, each in the place of an earlier one; inside a transaction."""
        self._db.executemany(
            "INSERT OR REPLACE INTO answer VALUES (?, ?, ?)", map(_answer_values, answers)
        )

    def drop_answer(self, digest: int) -> None:
        self._db.execute("DELETE FROM answer WHERE digest = ?", (_signed(digest),))

    def drop_failed_answers(self, kinds: Collection[str]) -> None:
        """Forget kept answers of originals that failed, of some kinds or, without any, of all."""
        if not kinds:
            self._db.execute("DELETE FROM answer WHERE failure IS NOT NULL")
        for kind in kinds:
            self._db.execute("DELETE FROM answer WHERE failure = ?", (kind,))

    # -- parts -------------------------------------------------------------------------------------

    def parts(self) -> list[SealedPart]:
        found = self._rows("SELECT part, value FROM part ORDER BY part")
        return [_decode(_part, value, f"{self.path}: part {n}", n) for n, value in found]

    def reopened_parts(self) -> list[int]:
        """Parts that were sealed once and went back to the journal."""
        blob = self.get("reopened")
        parts: list[int] = [] if blob is None else msgspec.msgpack.decode(blob, type=list[int])
        return parts

    def record_part(self, part: SealedPart, first: int, last: int) -> None:
        """The part is whole on disk under its final name: it replaces its rows in the journal."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO part VALUES (?, ?)", (part.part, seal_value(_encode(part), part.part))
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
        self._put("reopened", _encode(sorted({*self.reopened_parts(), part})))

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
            for one in self.chunks(0, _ROWS_MOST)
            if one.result.status == "failed"
        ]
        self._db.executemany("DELETE FROM chunk WHERE row = ? AND chunk = ?", failed)

    def drop_row(self, row: int) -> None:
        """Forget a result with the attempt that settled it."""
        self._db.execute("DELETE FROM result WHERE row = ?", (row,))

    def stage_result(self, table: str, settled: Settled) -> None:
        self._db.execute(f"INSERT INTO {table} VALUES (?, ?)", _settled_values(settled))

    def stage_attempt(self, table: str, attempt: Attempt) -> None:
        self._db.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", _attempt_values(attempt))

    def stage_chunk(self, table: str, settled: SettledChunk) -> None:
        """Keep a settled chunk, in the place of one that asked something else."""
        row = settled.result.row
        value = seal_value(_encode(settled), row)
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

    def _rows(self, query: str, *values: int | str) -> Iterator[Any]:
        try:
            yield from self._db.execute(query, values)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # names of tables are text
            raise DamagedError(f"{self.path}: cannot be read: {error}") from error

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


def _settled_values(settled: Settled) -> tuple[int, bytes]:
    row = settled.result.row
    return row, seal_value(_encode(settled), row)


def _attempt_values(attempt: Attempt) -> tuple[int, int, int, bytes]:
    value = seal_value(_encode(attempt), attempt.row)
    return attempt.row, attempt.chunk or 0, attempt.attempt, value


def _answer_values(kept: KeptAnswer) -> tuple[int, str | None, bytes]:
    result = kept.result
    failure = None if result.status == "ok" else result.error_kind or ""
    return _signed(kept.digest), failure, seal_value(_encode(kept), kept.digest)


def _signed(digest: int) -> int:
    """SQLite's integers are signed."""
    return digest - (1 << 64) if digest >> 63 else digest


def _rows_joined(settled: Iterable[Settled]) -> Iterator[tuple[int]]:
    """Rows that are ok by the answers of their chunks: no attempt of their own settled them."""
    for one in settled:
        if one.attempt is None and one.result.status == "ok":
            yield (one.result.row,)


def _decode(decoder: msgspec.msgpack.Decoder[Any], value: Any, place: str, key: int) -> Any:
    try:
        return decoder.decode(open_value(value, place, key))
    except msgspec.DecodeError as error:
        raise DamagedError(f"{place}: not what batchkit wrote: {error}") from error
