"""Keeps every lane busy until its rows have settled or something says stop.

For each lane a feeder, a feed and a pool, independent of the others, save that rows may go on from
one to another; one recorder for all, and one task for the copies of rows that are asked. Where the
input is still checked, one task for that: lanes end when the plan goes no further, or when it is
known that other lanes are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import anyio
import anyio.to_thread
import msgspec

from batchkit.copies import Copies, Copy
from batchkit.errors import BatchkitError
from batchkit.feed import Feed
from batchkit.feeder import Feeder
from batchkit.growth import Growth
from batchkit.journal import DamagedError, Planned
from batchkit.life import Fed
from batchkit.originals import Originals
from batchkit.pool import Pool
from batchkit.recorder import Recorder, damaged
from batchkit.session import Session, encode_session
from batchkit.stopping import Cause, Stopper, StopReason


class Lane(msgspec.Struct, frozen=True):
    """The rows of a model, or its long prompts, on their way through the run."""

    name: str
    pool: Pool
    feed: Feed[Fed]
    feeder: Feeder
    stopper: Stopper
    workers: int
    gives_to: tuple[Feed[Fed], ...] = ()  # where its rows may go on to

    @property
    def is_waiting(self) -> bool:
        """Whether there is nothing to do before more rows are planned."""
        return self.feeder.is_waiting and not len(self.feed)


class Planning(Protocol):
    """Adds to the plan the rows that it lacks; `step` blocks for I/O."""

    is_ended: bool

    def step(self) -> Planned | None: ...
    def close(self) -> None: ...


class Scheduler:
    """Runs the lanes to the end, or to a stop."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        recorder: Recorder,
        stopper: Stopper,
        *,
        session: Session,
        drain_s: float,
        originals: Originals,
        growth: Growth,
        planning: Planning | None = None,
        copies: Copies | None = None,
    ) -> None:
        """`planning` is what `growth` grows by, if it does."""
        self._lanes = lanes
        self._recorder = recorder
        self._stopper = stopper
        self._session = session
        self._drain_s = drain_s
        self._originals = originals
        self._growth = growth
        self._planning = planning
        self._copies = copies
        self._working = anyio.CancelScope()
        self._feeding = anyio.CapacityLimiter(2 + len(lanes))

    async def run(self) -> None:
        """Return when every row has settled, or after a stop when nothing is in flight any more."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._recorder.run, name="recorder")
            group.start_soon(self._bound_drain, name="drain")
            with self._working:
                async with anyio.create_task_group() as work:
                    if self._copies is not None:
                        work.start_soon(self._copy, self._copies, name="copies")
                    if self._planning is not None:
                        work.start_soon(self._plan_on, self._planning, name="planner")
                    await self._run_lanes()
                    self._originals.end()
            self._recorder.close()
            await self._recorder.wait_done()
            if self._recorder.has_all:
                self._session.is_clean = True
                while not await self._save() and not self._recorder.give_up:
                    pass
            group.cancel_scope.cancel()

    async def _run_lanes(self) -> None:
        async with anyio.create_task_group() as work:
            for lane in self._lanes:
                work.start_soon(self._feed, lane, name=f"feeder {lane.name}")
                work.start_soon(self._work_off, lane, name=f"pool {lane.name}")

    def cancel(self) -> None:
        """Break off what is in flight; what arrived is still committed."""
        self._working.cancel()

    @property
    def is_cancelled(self) -> bool:
        return self._working.cancel_called

    async def note_slots(self, slots: Mapping[str, int]) -> bool:
        """Make it durable that so many requests of each lane may be in flight from now on."""
        for name, most in slots.items():
            note = self._session.lanes[name]
            note.slots = max(note.slots, most)
        return await self._save()

    async def _bound_drain(self) -> None:
        await self._stopper.wait()
        await anyio.sleep(self._drain_s)
        self.cancel()
        self._recorder.give_up = True

    async def _note(self, lane: Lane) -> bool:
        """Make it durable that a batch may be in flight from now on, here or where it goes on."""
        for name, bound in lane.feeder.bounds.items():
            note = self._session.lanes[name]
            note.last_row = max(note.last_row, lane.feeder.last_row)
            note.bound = max(note.bound, bound)
            note.requests = max(note.requests, lane.feeder.most_requests)
        return await self._save()

    async def _save(self) -> bool:
        return await self._recorder.save({"session": encode_session(self._session)})

    async def _work_off(self, lane: Lane) -> None:
        try:
            await lane.pool.run(lane.workers)
        finally:
            for feed in lane.gives_to:
                feed.let_go()

    async def _feed(self, lane: Lane) -> None:
        try:
            with self._stopping_on_trouble():
                while not lane.stopper.is_stopping and not self._growth.strangers:
                    grown = self._growth.next()
                    batch = await anyio.to_thread.run_sync(lane.feeder.batch, limiter=self._feeding)
                    if batch:
                        if not await self._note(lane):
                            break
                        await lane.feed.put(batch)
                    elif lane.feeder.is_over:
                        break
                    else:
                        await grown.wait()
        finally:
            lane.pool.end_of_input()
            lane.feeder.close()

    async def _plan_on(self, planning: Planning) -> None:
        try:
            with self._stopping_on_trouble():
                while not planning.is_ended and not self._is_idle:
                    planned = await anyio.to_thread.run_sync(planning.step, limiter=self._feeding)
                    if planned is not None:
                        self._recorder.put(planned)
                        await self._recorder.wait_room()
                await self._recorder.wait_all()
        finally:
            planning.close()
            self._growth.end()

    @property
    def _is_idle(self) -> bool:
        """Whether no lane takes rows any more."""
        return all(lane.stopper.is_stopping for lane in self._lanes)

    async def _copy(self, copies: Copies) -> None:
        try:
            with self._stopping_on_trouble():
                while batch := await anyio.to_thread.run_sync(copies.batch, limiter=self._feeding):
                    left = await self._settle_copies(copies, batch)
                    if self._stopper.is_stopping:
                        break
                    if left and not any(lane.stopper.is_stopping for lane in self._lanes):
                        raise copies.unanswered(left[0])
        finally:
            copies.close()

    async def _settle_copies(self, copies: Copies, batch: list[Copy]) -> list[Copy]:
        """Settle copies as their originals settle; those whose original did not settle at all."""
        while batch and not self._stopper.is_stopping:
            arrived = self._originals.want(copy.digest for copy in batch)
            if is_over := self._originals.is_over:
                await self._recorder.wait_all()  # the last originals may not be durable yet
            settled, batch = await anyio.to_thread.run_sync(
                copies.settle, batch, limiter=self._feeding
            )
            for one in settled:
                self._recorder.put(one)
            await self._recorder.wait_room()
            if is_over:
                break
            if batch:
                await arrived.wait()
        return batch

    @contextmanager
    def _stopping_on_trouble(self) -> Iterator[None]:
        """What reading the input or the journal runs into stops the run."""
        try:
            yield
        except DamagedError as error:
            self._stopper.stop(damaged(error))
        except BatchkitError as error:  # the input changed under us
            self._stopper.stop(StopReason(Cause.FATAL, str(error)))
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            self._stopper.stop(StopReason(Cause.FATAL, f"the input cannot be read: {words}"))
