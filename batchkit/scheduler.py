"""Keeps every lane busy until its rows have settled or something says stop.

For each lane a feeder, a feed and a pool, independent of the others, save that rows may go on from
one to another; one recorder for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import anyio.to_thread
import msgspec

from batchkit.errors import BatchkitError
from batchkit.feed import Feed
from batchkit.feeder import Feeder
from batchkit.journal import DamagedError
from batchkit.life import Fed
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
    ) -> None:
        self._lanes = lanes
        self._recorder = recorder
        self._stopper = stopper
        self._session = session
        self._drain_s = drain_s
        self._working = anyio.CancelScope()
        self._feeding = anyio.CapacityLimiter(max(1, len(lanes)))

    async def run(self) -> None:
        """Return when every row has settled, or after a stop when nothing is in flight any more."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._recorder.run, name="recorder")
            group.start_soon(self._bound_drain, name="drain")
            with self._working:
                async with anyio.create_task_group() as work:
                    for lane in self._lanes:
                        work.start_soon(self._feed, lane, name=f"feeder {lane.name}")
                        work.start_soon(self._work_off, lane, name=f"pool {lane.name}")
            self._recorder.close()
            await self._recorder.wait_done()
            if self._recorder.has_all:
                self._session.is_clean = True
                while not await self._save() and not self._recorder.give_up:
                    pass
            group.cancel_scope.cancel()

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
            while not lane.stopper.is_stopping:
                batch = await anyio.to_thread.run_sync(lane.feeder.batch, limiter=self._feeding)
                if not batch or not await self._note(lane):
                    break
                await lane.feed.put(batch)
        except DamagedError as error:
            self._stopper.stop(damaged(error))
        except BatchkitError as error:  # the input changed under us
            self._stopper.stop(StopReason(Cause.FATAL, str(error)))
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            self._stopper.stop(StopReason(Cause.FATAL, f"the input cannot be read: {words}"))
        finally:
            lane.pool.end_of_input()
            lane.feeder.close()
