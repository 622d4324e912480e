"""The worker: makes the attempts that are handed to it and keeps what came of them.

Rules:

1. A row runs once: one that is handed in again, as after a call whose reply was lost, is known by
   its number.
2. What ended is kept, and reported again, until it is acknowledged.
3. A worker that is not called for a few seconds breaks its requests off by itself: nobody may be
   left to hold their slots. It counts looks, not seconds, so that a process that was itself stopped
   does not take that for silence.
4. The key is read from the environment, never handed over.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from functools import partial

import msgspec

from batchkit.providers.provider import Provider
from batchkit.providers.transport import Transport
from batchkit.providers.transports import transport_class
from batchkit.records import Failure, Outcome
from batchkit.verdicts import CUT_OFF
from batchkit.workers.frames import (
    Report,
    Row,
    WorkerConfig,
    decode_batch,
    decode_config,
    encode_ended,
    encode_report,
)

QUIET_LOOKS = 6  # without a call, until the requests are broken off
REPORT_BYTES = 2**20  # of ended rows in one report, or a single one that is larger


class Worker:
    """Lives inside one event loop, in any process: bytes and numbers in, bytes out."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._epoch = 0
        self._transport: Transport | None = None
        self._providers: list[Provider] = []
        self._running: dict[int, asyncio.Task[Outcome]] = {}
        self._newest = 0  # the highest number that was handed in
        self._ended: deque[msgspec.Raw] = deque()  # not acknowledged
        self._first = 1  # which of all ended rows `_ended` begins with
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 1
        self._listening: asyncio.Task[None] | None = None
        self._unheard = 0  # looks since the last call
        self._lag_s = 0.0
        self._fault: BaseException | None = None

    async def start(self, config: bytes, epoch: int) -> None:
        """Be ready for rows; `epoch` comes back in every report."""
        decoded = decode_config(config)
        self._epoch = epoch
        self._transport = transport_class(decoded.transport)(trust_env=decoded.trust_env)
        self._providers = self._providers_of(decoded, self._transport)
        self._listening = asyncio.create_task(self._listen(decoded.look_s), name="listen")

    async def exchange(
        self,
        rows: bytes = b"",
        ack: int = 0,
        wait: float = 0.1,
        min_rows: int = 1,
        max_rows: int = 1024,
    ) -> bytes:
        """Take a `Batch` in and give a `Report` out; one call at a time.

        Returns when `min_rows` have ended, and after `wait` seconds in any case. `ack` is the count
        of ended rows that have arrived.
        """
        self._unheard = 0
        while self._first <= ack:
            self._ended.popleft()
            self._first += 1
        if rows:
            batch = decode_batch(rows)
            self._begin(batch.rows)
            for number in batch.drop:
                self._break_off(number)
        if len(self._ended) < min_rows and wait > 0:
            await self._wait(min_rows, wait)
        if self._fault is not None:
            raise self._fault
        return self._report(max_rows)

    async def close(self) -> None:
        """Break off what runs, and close every connection."""
        if self._listening is not None:
            self._listening.cancel()
        self.break_off()
        if self._running:
            await asyncio.wait(self._running.values())
        if self._transport is not None:
            await self._transport.aclose()

    def break_off(self) -> None:
        """Break off every request."""
        for task in self._running.values():
            task.cancel()

    def _break_off(self, number: int) -> None:
        task = self._running.get(number)
        if task is not None:
            task.cancel()

    def _providers_of(self, config: WorkerConfig, transport: Transport) -> list[Provider]:
        return [
            Provider(
                transport,
                endpoint=address.url,
                dialect=address.dialect,
                api_key=self._environ[address.key_env] if address.key_env is not None else None,
            )
            for address in config.addresses
        ]

    def _begin(self, rows: list[Row]) -> None:
        loop = asyncio.get_running_loop()
        for row in rows:
            if row.number > self._newest:
                self._newest = row.number
                asking = self._providers[row.address].exchange(row.body, row.timeout_s)
                task = self._running[row.number] = loop.create_task(asking)
                task.add_done_callback(partial(self._end, row.number))

    def _end(self, number: int, task: asyncio.Task[Outcome]) -> None:
        del self._running[number]
        if task.cancelled():
            outcome: Outcome = Failure(CUT_OFF, "broken off before an answer came")
        elif (error := task.exception()) is not None:  # a bug: the next call raises it
            self._fault = error
            self._wake()
            return
        else:
            outcome = task.result()
        self._ended.append(encode_ended(number, outcome))
        if len(self._ended) >= self._wanted:
            self._wake()

    async def _wait(self, min_rows: int, wait: float) -> None:
        loop = asyncio.get_running_loop()
        self._wanted = min_rows
        self._waiter = loop.create_future()
        alarm = loop.call_later(wait, self._wake)
        try:
            await self._waiter
        finally:
            alarm.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _report(self, max_rows: int) -> bytes:
        ended: list[msgspec.Raw] = []
        size = 0
        for one in self._ended:
            size += len(memoryview(one))
            if ended and (size > REPORT_BYTES or len(ended) == max_rows):
                break
            ended.append(one)
        lag_s, self._lag_s = self._lag_s, 0.0
        return encode_report(Report(self._epoch, self._first, ended, time.process_time(), lag_s))

    async def _listen(self, look_s: float) -> None:
        while True:
            due = time.monotonic() + look_s
            await asyncio.sleep(look_s)
            self._lag_s = max(self._lag_s, time.monotonic() - due)
            self._unheard += 1
            if self._unheard > QUIET_LOOKS:
                self.break_off()
