"""The one task that makes results durable: takes what is ready, commits it as a group, counts it.

Rules:

1. Nothing is counted, shown or dropped before the commit that holds it has returned.
2. Workers wait for room, since what is not durable yet is bounded, and for a commit only between
   two attempts of one request.
3. A part is sealed when its last row is durable; the journal keeps the part's rows until then.
4. If a write fails, what arrived stays in memory, sending stops, and the write is tried again until
   it succeeds or `give_up` says so.
"""

from __future__ import annotations

import errno
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import anyio
import anyio.to_thread

from batchkit.journal import (
    DamagedError,
    EndedChunk,
    Journal,
    Planned,
    Record,
    SealedPart,
    Settled,
)
from batchkit.originals import Originals
from batchkit.records import Attempt, Result
from batchkit.rows import SettledRows
from batchkit.stopping import Cause, Stopper, StopReason
from batchkit.tally import Tally, decode_tally, encode_tally

GROUP_MOST = 1024  # rows of one commit; beyond some hundreds fsync no longer dominates
LINGER_S = 0.02  # what a group waits for company: a commit costs as much as 20 more rows of it
_TRY_AGAIN_S = 1.0

WriteError = (OSError, sqlite3.OperationalError)  # what the disk does; the rest is a bug
_OS_REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room") | (
    dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable")
)
_SQLITE_REMEDIES = {sqlite3.SQLITE_FULL: "make room", sqlite3.SQLITE_READONLY: "make it writable"}


class Recorder:
    """Owns the journal's writing connection and the tally."""

    def __init__(
        self,
        journal: Journal,
        tally: Tally,
        rows: SettledRows,
        *,
        seal: Callable[[int], SealedPart],
        currency: Callable[[str], str],
        stopper: Stopper,
        backlog: int,
        originals: Originals,
    ) -> None:
        self.tally = tally  # of what is durable
        self._draft = decode_tally(encode_tally(tally))
        self._journal = journal
        self._rows = rows
        self._seal = seal
        self._currency = currency
        self._stopper = stopper
        self._backlog = backlog
        self._originals = originals
        self._queue: deque[Record | Planned] = deque()
        self._to_seal: deque[int] = deque()
        self._wake = anyio.Event()
        self._committed = anyio.Event()
        self._enough = min(GROUP_MOST, max(1, backlog // 2))  # workers must not wait for company
        self._is_enough = anyio.Event()
        self._seal_wake = anyio.Event()
        self._writing = anyio.Lock()
        self._closed = False
        self._taken = 0  # records; they become durable in this order
        self._unwritten = 0  # of them, not durable yet
        self._is_committed = False  # nothing more will be written, or can be
        self._done = anyio.Event()
        self.give_up = False  # stop trying to write what the disk refuses
        self.before_commit: Callable[[Tally], None] = lambda _tally: None
        self.on_settled: Callable[[Result], None] = lambda _result: None  # durable from now on
        self.on_sealed: Callable[[SealedPart], None] = lambda _part: None
        self.on_planned: Callable[[Planned], None] = lambda _planned: None  # durable as well

    # -- for workers -------------------------------------------------------------------------------

    def put(self, record: Record | Planned) -> int:
        """Hand over a result, a settled chunk, an attempt or more of the plan; never waits.

        Its number is for `wait_durable`.
        """
        self._unwritten += 1
        self._taken += 1
        self._queue.append(record)
        self._wake.set()
        if len(self._queue) >= self._enough:
            self._is_enough.set()
        return self._taken

    @property
    def has_room(self) -> bool:
        """Whether what is not durable yet is below its bound."""
        return self._unwritten < self._backlog

    async def wait_room(self) -> None:
        """Wait until what is not durable yet is below its bound."""
        while not self.has_room:
            await self._next_commit()

    async def wait_durable(self, number: int) -> None:
        """Wait until the record that `put` gave this number is durable."""
        while number > self._taken - self._unwritten:
            await self._next_commit()

    async def wait_all(self) -> None:
        """Wait until everything that was handed over so far is durable."""
        await self.wait_durable(self._taken)

    @property
    def fill(self) -> float:
        """What is not durable yet, as a share of what may be."""
        return self._unwritten / self._backlog

    @property
    def is_complete(self) -> bool:
        """Whether everything that was handed over is durable, and every complete part sealed."""
        return not self._unwritten and not self._to_seal

    @property
    def has_all(self) -> bool:
        """Whether everything that was handed over is durable."""
        return not self._unwritten

    # -- for the scheduler -------------------------------------------------------------------------

    def close(self) -> None:
        """Nothing more will come; `run` ends when everything is committed and sealed."""
        self._closed = True
        self._wake.set()
        self._is_enough.set()

    async def run(self) -> None:
        """Commit groups and seal parts until closed and empty."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._seal_parts, name="sealer")
            await self._commit_groups()
            self._is_committed = True
            self._seal_wake.set()
        self._done.set()

    async def wait_done(self) -> None:
        """Wait until `run` has ended."""
        await self._done.wait()

    def seal_later(self, part: int) -> None:
        """Seal a part whose rows are all durable."""
        self._to_seal.append(part)
        self._seal_wake.set()

    # -- inside ------------------------------------------------------------------------------------

    async def _next_commit(self) -> None:
        if self._committed.is_set():
            self._committed = anyio.Event()
        await self._committed.wait()

    async def _commit_groups(self) -> None:
        while True:
            if not self._queue:
                if self._closed:
                    return
                self._wake = anyio.Event()
                await self._wake.wait()
            if not self._closed and len(self._queue) < self._enough:
                self._is_enough = anyio.Event()
                with anyio.move_on_after(LINGER_S):
                    await self._is_enough.wait()
            group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_MOST))]
            if not group:
                continue
            if not await self._commit(group):
                return
            self._unwritten -= len(group)
            self._committed.set()

    async def _commit(self, group: list[Record | Planned]) -> bool:
        planned = [record for record in group if isinstance(record, Planned)]
        settled = [record for record in group if isinstance(record, Settled)]
        settled += [one for more in planned for one in more.invalid]
        attempts = [record for record in group if isinstance(record, Attempt)]
        chunks = [record for record in group if isinstance(record, EndedChunk)]
        self._count(settled, [*attempts, *(chunk.attempt for chunk in chunks)])
        self.before_commit(self._draft)
        blob = encode_tally(self._draft)
        answers = self._originals.answers(settled)
        plan = planned[-1].plan if planned else None
        while not await self._write(
            lambda: self._journal.commit(
                settled, attempts, blob, chunks=chunks, answers=answers, plan=plan
            )
        ):
            if self.give_up:
                return False
        self.tally = decode_tally(blob)
        self._originals.arrive(answers)
        for more in planned:
            self._seal_if(self._rows.grow(more.rows, is_whole=more.is_whole))
            self.on_planned(more)
        for one in settled:
            self.on_settled(one.result)
            self._seal_if(self._rows.add(one.result.row))
        return True

    def _seal_if(self, part: int | None) -> None:
        if part is not None:
            self.seal_later(part)

    def _count(self, settled: list[Settled], attempts: list[Attempt]) -> None:
        draft, currency = self._draft, self._currency
        for attempt in attempts:
            draft.of(attempt.model, currency(attempt.model)).add_attempt(attempt)
        for record in settled:
            tally = draft.of(record.result.model, record.result.currency)
            tally.add_result(record.result)
            if record.attempt is not None:  # it may have been another model that answered
                model = record.attempt.model
                draft.of(model, currency(model)).add_attempt(record.attempt)

    async def _seal_parts(self) -> None:
        while True:
            while self._to_seal:
                if not await self._seal_one(self._to_seal[0]):
                    return
                self._to_seal.popleft()
            if self._is_committed:
                return
            self._seal_wake = anyio.Event()
            await self._seal_wake.wait()

    async def _seal_one(self, number: int) -> bool:
        """False if the part cannot be sealed now: it will be when the run goes on."""
        sealed: list[SealedPart] = []
        rows = self._rows.part(number)
        try:
            while not await self._write(lambda: sealed.append(self._seal(number)), lock=False):
                if self.give_up:
                    return False
        except DamagedError as error:  # trying again mends nothing
            self._stopper.stop(damaged(error))
            return False
        part = sealed[-1]
        assert part.rows == len(rows), f"part {number} has {part.rows} of {len(rows)} rows"
        while not await self._write(lambda: self._journal.record_part(part, rows.start, rows.stop)):
            if self.give_up:
                return False
        self.on_sealed(part)
        return True

    async def _write(self, write: Callable[[], None], *, lock: bool = True) -> bool:
        """Run `write` in a thread; False, and the run begins to stop, if it did not succeed."""
        try:
            if lock:
                async with self._writing:
                    await anyio.to_thread.run_sync(write)
            else:
                await anyio.to_thread.run_sync(write)
        except WriteError as error:
            self._stopper.stop(StopReason(Cause.DISK, disk_trouble(error)))
            if not self.give_up:
                await anyio.sleep(_TRY_AGAIN_S)
            return False
        return True

    async def save(self, values: Mapping[str, bytes]) -> bool:
        """Keep small values of the run in the journal; False if the disk refused."""
        return await self._write(lambda: self._journal.put_all(values))

    async def save_blocks(self, blocks: Sequence[tuple[int, bytes]]) -> bool:
        """Keep blocks of rows that no plan has yet; False if the disk refused."""
        return await self._write(lambda: self._journal.write_blocks(blocks))


def damaged(error: DamagedError) -> StopReason:
    """Why a run stops that meets damage in its folder."""
    return StopReason(Cause.DAMAGE, f"{error}; run again with --reask-damaged")


def disk_trouble(error: Exception) -> str:
    """What a person is told of a write that failed."""
    if isinstance(error, OSError):
        words, remedy = error.strerror or str(error), _OS_REMEDIES.get(error.errno or 0)
    else:  # the low byte of SQLite's code is its kind
        words, code = str(error), getattr(error, "sqlite_errorcode", 0)
        remedy = _SQLITE_REMEDIES.get(code & 0xFF)
    remedy = remedy or "see to the disk"
    return f"the run's folder cannot be written: {words.lower()}; {remedy} and run again"
