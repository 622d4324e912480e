"""The slots that runs on this machine have of an account, in the user's state folder.

`shares` says who may have what; this module owns the table in which each run reads what the others
have told. Its rules:

1. One transaction per run and moment: what others hold is read and what this run holds is written
   in one step. SQLite's lock orders the runs.
2. A run is alive as long as its lock file is locked. The lock is the kernel's (flock), so a killed
   process has none, and another one with its number cannot be taken for it.
3. The slots of a run that was killed are fenced for as long as a request of it can take: the
   service may go on with a request whose client is gone (no source says), and whoever sent in its
   place would be refused.
4. A loan runs out. A process that is stopped (SIGSTOP) tells nothing; when its loan has run out it
   begins nothing more by itself, so its slots are fenced and then lent to others. It asks anew when
   it goes on.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from batchkit.locks import is_locked
from batchkit.shares import Account, Ask, Holding, Others, Share, share_of, wall_after

LOAN_S = 5.0  # a run asks several times a second
TROUBLE = (OSError, sqlite3.Error)  # what a state folder can do to us
_BUSY_S = 2.0  # others are done within a millisecond

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, lock TEXT NOT NULL UNIQUE, pid INTEGER NOT NULL,
    told_at REAL NOT NULL, ended_at REAL
);
CREATE TABLE IF NOT EXISTS lease (
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    endpoint TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    needs INTEGER NOT NULL, holds INTEGER NOT NULL, in_flight INTEGER NOT NULL,
    knows INTEGER NOT NULL, longest_s REAL NOT NULL,
    PRIMARY KEY (endpoint, key, model, run)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS wall (
    endpoint TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL, slots INTEGER,
    PRIMARY KEY (endpoint, key, model)
) WITHOUT ROWID;
"""


class _Run(NamedTuple):
    id: int
    lock: str
    told_at: float
    ended_at: float | None


class Leases:
    """One run's place in the table. Any call may raise `TROUBLE`; then nothing has changed."""

    def __init__(self, folder: Path) -> None:
        self._locks = folder / "leases"
        self._locks.mkdir(parents=True, exist_ok=True)
        self._name = f"{os.getpid()}-{secrets.token_hex(8)}"
        path = self._locks / self._name
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._db = _connect(folder / "leases.db")
        except BaseException:
            os.close(self._lock)
            path.unlink(missing_ok=True)
            raise

    def exchange(self, asks: Sequence[Ask], now: float) -> list[Share]:
        """Tell what this run holds and needs, and hear what it may use; `now` is monotonic.

        What it says to hold is not less than what it was lent the last time, unless it has taken
        no slot above it since.
        """
        with self._transaction():
            self._bury(now)
            run = self._tell(now)
            return [self._lend(run, ask, now) for ask in asks]

    def close(self, *, is_quiet: bool) -> None:
        """Give everything back; what was broken off in flight stays fenced, unless `is_quiet`."""
        try:
            if is_quiet:
                with self._transaction():
                    self._db.execute("DELETE FROM run WHERE lock = ?", (self._name,))
                (self._locks / self._name).unlink(missing_ok=True)
        finally:
            self._db.close()
            os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _bury(self, now: float) -> None:
        """Mark the runs that have ended; drop what they held when their requests have ended too."""
        runs = self._db.execute("SELECT id, lock, told_at, ended_at FROM run").fetchall()
        for run in map(_Run._make, runs):
            if run.lock == self._name or not self._has_ended(run, now):
                continue
            if run.ended_at is None:
                values = (now, run.id)
                self._db.execute("UPDATE run SET ended_at = ? WHERE id = ?", values)
                self._db.execute("UPDATE lease SET needs = 0 WHERE run = ?", (run.id,))
            since = run.ended_at if run.ended_at is not None and run.ended_at <= now else now
            self._db.execute(
                "DELETE FROM lease WHERE run = ? AND ? >= longest_s", (run.id, now - since)
            )
            if not self._db.execute("SELECT 1 FROM lease WHERE run = ?", (run.id,)).fetchone():
                self._db.execute("DELETE FROM run WHERE id = ?", (run.id,))
                if not is_locked(self._locks / run.lock):
                    (self._locks / run.lock).unlink(missing_ok=True)

    def _has_ended(self, run: _Run, now: float) -> bool:
        loan_is_over = now >= run.told_at + LOAN_S
        return run.ended_at is not None or loan_is_over or not is_locked(self._locks / run.lock)

    def _tell(self, now: float) -> int:
        """This run's number; a new one if others have taken it for ended in the meantime."""
        alive = "UPDATE run SET told_at = ? WHERE lock = ? AND ended_at IS NULL RETURNING id"
        if found := self._db.execute(alive, (now, self._name)).fetchall():
            return int(found[0][0])
        self._db.execute("DELETE FROM run WHERE lock = ?", (self._name,))
        new = "INSERT INTO run (lock, pid, told_at) VALUES (?, ?, ?) RETURNING id"
        ((number,),) = self._db.execute(new, (self._name, os.getpid(), now)).fetchall()
        return int(number)

    def _lend(self, run: int, ask: Ask, now: float) -> Share:
        place = msgspec.structs.astuple(ask.account)
        others, is_new = self._others(run, ask.account)
        if is_new:  # what it held before its loan ran out is no longer its own
            ask = msgspec.structs.replace(ask, holds=0)
        wall = ask.start if not others.living and is_new else self._wall(ask.account)
        wall = wall_after(wall, ask, others)
        share = share_of(ask, wall, others)
        self._db.execute("INSERT OR REPLACE INTO wall VALUES (?, ?, ?, ?)", (*place, wall))
        holds = max(ask.holds, ask.in_flight, share.ceiling)
        knows = max(ask.knows, min(share.known, share.ceiling))
        told = (run, *place, ask.needs, holds, ask.in_flight, knows, ask.longest_s)
        self._db.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", told)
        return msgspec.structs.replace(share, lent_until=now + LOAN_S)

    def _others(self, run: int, account: Account) -> tuple[Others, bool]:
        """The other runs of the account, and whether this one has not been among them so far."""
        before: list[Holding] = []
        after: list[Holding] = []
        fenced: list[Holding] = []
        is_new = True
        for number, ended_at, *told in self._db.execute(
            "SELECT run.id, ended_at, needs, holds, in_flight, knows FROM lease "
            "JOIN run ON run.id = lease.run "
            "WHERE endpoint = ? AND key = ? AND model = ? ORDER BY run.id",
            msgspec.structs.astuple(account),
        ):
            if number == run:
                is_new = False
            elif ended_at is not None:
                fenced.append(Holding(*told))
            else:
                (before if number < run else after).append(Holding(*told))
        return Others(before, after, fenced), is_new

    def _wall(self, account: Account) -> int | None:
        found = self._db.execute(
            "SELECT slots FROM wall WHERE endpoint = ? AND key = ? AND model = ?",
            msgspec.structs.astuple(account),
        ).fetchone()
        return None if found is None else found[0]


def is_busy(error: Exception) -> bool:
    """Whether it may go better the next time: another process is in the table."""
    code = error.sqlite_errorcode if isinstance(error, sqlite3.OperationalError) else 0
    return code & 0xFF == sqlite3.SQLITE_BUSY  # the rest of an extended code says why


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut ends the runs too
        db.execute("PRAGMA foreign_keys = ON")
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db
