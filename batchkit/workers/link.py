"""A driver's side of one worker: rows out, outcomes in, and the fence around one that is lost.

* A row that was handed out ends by its outcome, or by the fence; until then whoever asked waits,
  and holds the slot.
* A worker that is lost is not known to have stopped. It is killed; when it is certainly gone, or
  when the last of its requests must have ended, and a moment later, its rows end as attempts that
  may have been billed.
* Silence is counted in looks, not seconds: whoever was stopped itself must not take that for it.
* A call every two milliseconds at most: what ended in between comes at once, and those who asked
  hand in their next rows in the meantime. A call costs each side as much as several rows.
"""

from __future__ import annotations

import asyncio
from collections import deque

import anyio

from batchkit.records import Failure, Outcome
from batchkit.verdicts import CUT_OFF
from batchkit.workers.frames import (
    Batch,
    Report,
    Row,
    decode_ended,
    decode_report,
    encode_batch,
)
from batchkit.workers.home import Home, LostError

SILENT_LOOKS = 10  # without a report, until a worker counts as lost
WAIT_S = 0.02  # of one call: a new row lies here that long at most while nothing ends
_PACE_S = 0.002  # between two calls
GRACE_S = 1.0  # from a worker's certain end until the service has noticed it too
LET_GO_S = 1.0  # what breaking a request off may take
_REPORT_ROWS = 128  # the engine takes 0.1 ms for each: more at once would hold up everything else
_BATCH_ROWS, _BATCH_BYTES = 1024, 2**20


class Link:
    """One worker that has started."""

    def __init__(self, home: Home, epoch: int, *, beat_s: float) -> None:
        """`beat_s`: between two calls while nothing is in flight; no longer than a look takes."""
        self.home = home
        self.cpu_s = 0.0  # of the worker's process
        self.lag_s = 0.0  # of the worker's event loop, the most since it was set to 0
        self._epoch = epoch
        self._beat_s = beat_s
        self._numbers = 0
        self._asked: dict[int, asyncio.Future[Outcome | None]] = {}
        self._outbox: deque[Row] = deque()
        self._drop: list[int] = []
        self._work = anyio.Event()
        self._ack = 0
        self._unheard = 0
        self._ends_by = 0.0  # when the last row that was handed out must have ended
        self._conversing = anyio.CancelScope()
        self._is_silent = False
        self._has_more = False  # the last report was full

    @property
    def in_flight(self) -> int:
        """Rows that were asked for and have not ended."""
        return len(self._asked)

    async def ask(self, address: int, body: bytes, timeout_s: float) -> Outcome | None:
        """Have one attempt made; None if the worker was lost before it got the row."""
        self._numbers += 1
        number = self._numbers
        self._outbox.append(Row(number, address, timeout_s, body))
        self._work.set()
        future = self._expect(number)
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                await self._let_go(number)
            raise
        finally:
            del self._asked[number]

    def look(self) -> None:
        """To be called now and then: too many looks without a report, and the worker is lost."""
        self._unheard += 1
        if self._unheard > SILENT_LOOKS:
            self._is_silent = True
            self._conversing.cancel()

    async def converse(self) -> None:
        """Exchange rows and outcomes with the worker; raises `LostError` when it is lost."""
        with self._conversing:
            while True:
                await self._rest()
                self._hear(decode_report(await self._call()))
        if self._is_silent:
            raise LostError("does not answer")

    async def fence(self) -> None:
        """Hold the rows of a lost worker until they cannot be in flight any more, then end them."""
        self.home.kill()
        for row in self._outbox:
            self._end(row.number, None)
        with anyio.move_on_after(max(0.0, self._ends_by - anyio.current_time())):
            await self.home.wait_gone()
        await anyio.sleep(GRACE_S)
        lost = Failure(CUT_OFF, "the worker that sent it was lost before an answer came")
        for number in list(self._asked):
            self._end(number, lost)

    def _expect(self, number: int) -> asyncio.Future[Outcome | None]:
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        return future

    async def _let_go(self, number: int) -> None:
        """Have a row broken off; its slot is free when the worker says so."""
        self._drop.append(number)
        with anyio.move_on_after(LET_GO_S, shield=True):
            await self._expect(number)

    def _end(self, number: int, outcome: Outcome | None) -> None:
        future = self._asked.get(number)
        if future is not None and not future.done():
            future.set_result(outcome)

    async def _rest(self) -> None:
        """Let those whose rows have ended hand in their next ones; wait if there is nothing."""
        if self._asked:
            await asyncio.sleep(0 if self._has_more else _PACE_S)
            return
        self._work = anyio.Event()
        with anyio.move_on_after(self._beat_s):
            await self._work.wait()

    async def _call(self) -> bytes:
        wait = WAIT_S if self._asked else 0.0
        return await self.home.exchange(self._take_batch(), self._ack, wait, 1, _REPORT_ROWS)

    def _take_batch(self) -> bytes:
        rows: list[Row] = []
        size = 0
        now = anyio.current_time()
        while self._outbox and len(rows) < _BATCH_ROWS and size < _BATCH_BYTES:
            row = self._outbox.popleft()
            rows.append(row)
            size += len(row.body)
            self._ends_by = max(self._ends_by, now + row.timeout_s)
        drop, self._drop = self._drop, []
        return encode_batch(Batch(rows, drop)) if rows or drop else b""

    def _hear(self, report: Report) -> None:
        assert report.epoch == self._epoch
        self._unheard = 0
        self._has_more = len(report.ended) == _REPORT_ROWS
        self.cpu_s = report.cpu_s
        self.lag_s = max(self.lag_s, report.lag_s)
        for one in report.ended[max(0, self._ack + 1 - report.first) :]:
            ended = decode_ended(one)
            self._end(ended.number, ended.outcome)
        self._ack = max(self._ack, report.first + len(report.ended) - 1)
