"""What has become of each row since the run was begun, and the journal brought to that state.

Rows are known by their ids, what they ask by the digest of the rendered request. A row whose id and
digest are as before keeps its result, wherever it stands now; a row that asks something else is
asked again and keeps what it has spent; a row that is gone takes its result along, and what it
spent is accounted for apart.

Both sides are compared in SQLite's temporary tables, so memory does not grow with the input, and
the journal changes in one transaction: before it the run is what it was, after it what it will be.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest

import msgspec

from batchkit.journal import Journal, SealedPart, Settled
from batchkit.plan import BLOCK_ROWS, Entry, Plan, Role, block_entries
from batchkit.records import Attempt
from batchkit.tally import Tally, encode_tally

Records = Iterable[Settled | Attempt]

_TABLES = """
CREATE TEMP TABLE staged (block INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TEMP TABLE was (row INTEGER PRIMARY KEY, id INTEGER, digest INTEGER NOT NULL);
CREATE TEMP TABLE now (row INTEGER PRIMARY KEY, id INTEGER, digest INTEGER NOT NULL,
                       model INTEGER NOT NULL, tokens INTEGER NOT NULL,
                       requests INTEGER NOT NULL);  -- to be sent; 0 also for copies
CREATE TEMP TABLE moved_result (row INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TEMP TABLE moved_attempt (row INTEGER, chunk INTEGER, attempt INTEGER, value BLOB NOT NULL,
                                 PRIMARY KEY (row, chunk, attempt));
CREATE TEMP TABLE moved_chunk (row INTEGER, chunk INTEGER, value BLOB NOT NULL,
                               PRIMARY KEY (row, chunk));
"""


class Difference(msgspec.Struct, frozen=True):
    """How an input differs from the one that a run was begun with, in rows."""

    kept: int  # the same id asks the same
    changed: int  # the same id asks something else
    new: int
    removed: int
    moved: int  # of `kept`: at another place
    unplanned: int = 0  # behind the rows that a plan which is not whole has

    @property
    def is_none(self) -> bool:
        return not (self.changed or self.new or self.removed or self.moved)

    def words(self) -> str:
        """`3 rows changed, 2 new`."""
        counts = [
            (self.changed, "changed"),
            (self.new, "new"),
            (self.removed, "removed"),
            (self.moved, "moved"),
            (self.unplanned, "not checked before"),
        ]
        return ", ".join(f"{count:,} {what}" for count, what in counts if count) or "no row changed"


class ToAsk(msgspec.Struct, frozen=True):
    """Rows of one model that a changed input makes ask again, or for the first time."""

    model: str
    rows: int
    prompt_tokens: int
    requests: int


class Revision:
    """A changed input held against a run's journal; closing it forgets what was not applied."""

    def __init__(self, journal: Journal, was: Plan) -> None:
        self._journal = journal
        self._db = journal.connection
        self._was = was
        self._db.executescript(_TABLES)

    def close(self) -> None:
        for table in ("staged", "was", "now", "moved_result", "moved_attempt", "moved_chunk"):
            self._db.execute(f"DROP TABLE temp.{table}")

    # -- the new plan's blocks, staged -------------------------------------------------------------

    def write_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO temp.staged VALUES (?, ?)", blocks)

    def block(self, number: int) -> bytes:
        query = "SELECT value FROM temp.staged WHERE block = ?"
        value: bytes = self._db.execute(query, (number,)).fetchone()[0]
        return value

    # -- comparing ---------------------------------------------------------------------------------

    def compare(self, now: Plan) -> Difference:
        """Hold the staged plan against the journal's."""
        same = 0
        pairs = zip_longest(_entries(self._journal.block, self._was), _entries(self.block, now))
        with _transaction(self._db):
            for row, (before, after) in enumerate(pairs):
                if _asks_the_same(before, after):
                    same += 1
                    continue
                if before is not None:
                    self._db.execute("INSERT INTO temp.was VALUES (?, ?, ?)", _known(row, before))
                if after is not None:
                    requests = 0 if after.role == Role.COPY else after.requests
                    values = (*_known(row, after), after.model, after.prompt_tokens, requests)
                    self._db.execute("INSERT INTO temp.now VALUES (?, ?, ?, ?, ?, ?)", values)
            self._db.execute("CREATE INDEX temp.now_id ON now (id)")
        matched, moved = self._db.execute(
            "SELECT count(*), coalesce(sum(now.digest = was.digest), 0) "
            "FROM temp.was JOIN temp.now USING (id)"
        ).fetchone()
        unplanned = 0 if self._was.is_whole else self._count_unplanned()
        (was_count,), (now_count,) = (
            self._db.execute(f"SELECT count(id) FROM temp.{side}").fetchone()
            for side in ("was", "now")
        )
        return Difference(
            kept=same + moved,
            changed=matched - moved,
            new=now_count - matched - unplanned,
            removed=was_count - matched,
            moved=moved,
            unplanned=unplanned,
        )

    def _count_unplanned(self) -> int:
        found = self._db.execute(
            "SELECT count(now.id) FROM temp.now LEFT JOIN temp.was USING (id) "
            "WHERE was.id IS NULL AND now.row >= ?",
            (self._was.rows,),
        ).fetchone()
        return int(found[0])

    def to_ask(self, now: Plan) -> list[ToAsk]:
        """Rows that are new or ask something else, per model."""
        found = self._db.execute(
            "SELECT now.model, count(*), sum(now.tokens), sum(now.requests) "
            "FROM temp.now LEFT JOIN temp.was USING (id) "
            "WHERE now.requests AND (was.id IS NULL OR was.digest != now.digest) "
            "GROUP BY now.model"
        )
        return [ToAsk(now.models[model], *counts) for model, *counts in found]

    # -- applying ----------------------------------------------------------------------------------

    def apply(
        self,
        now: Plan,
        tally: Tally,
        *,
        invalid: Iterable[Settled],
        read_part: Callable[[int], Records],
        values: dict[str, bytes],
    ) -> list[int]:
        """Make the staged plan the run's; `tally` is brought up to it. The parts that went back.

        `invalid` are the rows that cannot be sent; `values` are kept in the same transaction.
        """
        with self._journal.revising() as journal:
            reopened = [part for part in journal.parts() if not self._is_intact(part, now)]
            for part in reopened:
                journal.take_back(part, read_part(part.part))
            for row, target, asks_the_same in self._targets():
                self._place(row, target, keeps_result=asks_the_same, tally=tally)
            for settled in invalid:
                self._settle_invalid(settled, tally)
            self._db.execute("DELETE FROM result WHERE row IN (SELECT row FROM temp.was)")
            self._db.execute("DELETE FROM attempt WHERE row IN (SELECT row FROM temp.was)")
            self._db.execute("DELETE FROM chunk WHERE row IN (SELECT row FROM temp.was)")
            self._db.execute("INSERT INTO result SELECT * FROM temp.moved_result")
            self._db.execute("INSERT INTO attempt SELECT * FROM temp.moved_attempt")
            self._db.execute("INSERT INTO chunk SELECT * FROM temp.moved_chunk")
            journal.replace_blocks(self._db.execute("SELECT block, value FROM temp.staged"))
            for key, body in (values | {"tally": encode_tally(tally)}).items():
                journal.keep(key, body)
        return [part.part for part in reopened]

    def _is_intact(self, part: SealedPart, now: Plan) -> bool:
        first = part.part * self._was.part_rows
        if part.rows != min(self._was.part_rows, max(0, now.rows - first)):
            return False
        query = "SELECT EXISTS (SELECT 1 FROM temp.{} WHERE row >= ? AND row < ?)"
        span = (first, first + part.rows)
        return not any(
            self._db.execute(query.format(side), span).fetchone()[0] for side in ("was", "now")
        )

    def _targets(self) -> Iterator[tuple[int, int | None, bool]]:
        """Each row that is not where it was or what it was: (row, row now, asks the same)."""
        found = self._db.execute(
            "SELECT was.row, now.row, now.digest = was.digest "
            "FROM temp.was LEFT JOIN temp.now USING (id) ORDER BY was.row"
        )
        for row, target, same in found:
            yield row, target, bool(same)

    def _place(self, row: int, target: int | None, *, keeps_result: bool, tally: Tally) -> None:
        journal = self._journal
        attempts = list(journal.attempts(row, row + 1))
        if target is not None:  # a chunk is known by what it asks, whatever became of its row
            for chunk in journal.chunks(row, row + 1):
                result = msgspec.structs.replace(chunk.result, row=target)
                moved_chunk = msgspec.structs.replace(chunk, result=result)
                journal.stage_chunk("temp.moved_chunk", moved_chunk)
        for settled in journal.settled(row, row + 1):
            if target is not None and keeps_result:
                moved = Settled(
                    msgspec.structs.replace(settled.result, row=target),
                    settled.attempt and msgspec.structs.replace(settled.attempt, row=target),
                )
                journal.stage_result("temp.moved_result", moved)
            else:
                tally.forget_result(settled.result)
                if settled.attempt is not None:
                    attempts.append(settled.attempt)
        for attempt in attempts:
            if target is None:
                tally.retire(attempt)
            else:
                moved_attempt = msgspec.structs.replace(attempt, row=target)
                journal.stage_attempt("temp.moved_attempt", moved_attempt)

    def _settle_invalid(self, settled: Settled, tally: Tally) -> None:
        result = settled.result
        tally.of(result.model, result.currency).add_result(result)
        self._journal.stage_result("temp.moved_result", settled)


def _entries(block: Callable[[int], bytes], plan: Plan) -> Iterator[Entry]:
    for number in range(-(-plan.rows // BLOCK_ROWS)):
        yield from block_entries(block(number))


def _asks_the_same(before: Entry | None, after: Entry | None) -> bool:
    """Whether a position has the same id asking the same; what is invalid has no id to go by."""
    if before is None or after is None or before.invalid or after.invalid:
        return False
    return before.id_digest == after.id_digest and before.digest == after.digest


def _known(row: int, entry: Entry) -> tuple[int, int | None, int]:
    return row, None if entry.invalid else _signed(entry.id_digest), _signed(entry.digest)


def _signed(digest: int) -> int:
    """SQLite's integers are signed."""
    return digest - (1 << 64) if digest >> 63 else digest


class _transaction:  # noqa: N801  # reads as a statement
    """One transaction for many small writes to temporary tables."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        self._db.execute("COMMIT")
