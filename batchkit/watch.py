"""The task that looks at a run a few times a second: what it does, and what holds it back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

import anyio
import msgspec

from batchkit.accounting import to_text
from batchkit.binding import Binding, Bound, LaneLook, bound_of
from batchkit.clock import SystemClock
from batchkit.events import ModelLook, RunLog
from batchkit.growth import Growth
from batchkit.live import Live, ModelLive, Pace, seconds_left
from batchkit.progress import View
from batchkit.purse import Purse
from batchkit.recorder import Recorder
from batchkit.scheduler import Lane
from batchkit.sending import Sending
from batchkit.steering import Steering
from batchkit.tally import ModelTally
from batchkit.workers.remote import Busy

_LOOK_EVERY_S = 0.25
_SAVE_EVERY_S = 1.0


class Watch:
    """Shows a run's progress, and keeps it in the journal for `status` in another process."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        recorder: Recorder,
        progress: View,
        *,
        growth: Growth,
        purse: Purse | None,
        steering: Steering,
        clock: SystemClock,
        sending: Sending,
        run_log: RunLog,
    ) -> None:
        self.binding = Binding()
        self._lanes = lanes
        self._recorder = recorder
        self._progress = progress
        self._purse = purse
        self._steering = steering
        self._clock = clock
        self._sending = sending
        self._busy = Busy()
        self._cpu = 0.0  # share of a core
        self._run_log = run_log
        self._growth = growth
        self._pace = Pace()
        self._paces = {lane.name: Pace() for lane in lanes}
        self._looked_at = clock.now()
        self._cpu_s = time.process_time()

    async def run(self) -> None:
        """Look until cancelled."""
        saved_at = due_at = self._clock.now()
        was_paused = False
        try:
            while True:
                now = self._clock.now()
                self._measure(now)
                self.binding.look(self._bound(lag_s=max(now - due_at, self._busy.lag_s)))
                live = self._look(now)
                self._progress.show(now, self._recorder.tally, live)
                self._run_log.look(now, self._model_looks())
                if now - saved_at >= _SAVE_EVERY_S or live.paused is not was_paused:
                    was_paused = live.paused
                    saved_at = now
                    await self._recorder.save({"live": msgspec.msgpack.encode(live)})
                due_at = self._clock.now() + _LOOK_EVERY_S
                await anyio.sleep(_LOOK_EVERY_S)
        finally:
            self._progress.finish(self._recorder.tally)
            self._run_log.end(self._clock.now(), self._model_looks())

    def _look(self, now: float) -> Live:
        rows_per_s, tokens_per_s = self._pace.look(now, self._recorder.tally)
        plan = self._growth.plan
        return Live(
            pid=os.getpid(),
            updated_at=self._clock.wall(),
            models=[self._model(lane, now) for lane in self._lanes],
            rows_per_s=rows_per_s,
            tokens_per_s=tokens_per_s,
            bound_by=self.binding.now,
            cpu=self._cpu,
            worker_cpus=self._busy.cpus,
            paused=self._steering.is_paused,
            seconds_left=self._seconds_left(),
            budget=None if self._purse is None else to_text(self._purse.budget),
            rows=plan.rows,
            all_rows=plan.is_whole,
        )

    def _model(self, lane: Lane, now: float) -> ModelLive:
        gate, name = lane.pool.gate, lane.name
        tally = self._recorder.tally.models.get(name)
        rows = self._growth.plan.rows_by_model().get(name, 0)
        rows_per_s = 0.0
        if rows:
            rows_per_s, _ = self._paces[name].note(now, 0 if tally is None else tally.settled)
        return ModelLive(
            name,
            gate.in_flight,
            gate.limit.slots,
            lane.pool.backing_off,
            runs=self._steering.runs[name],
            rows=rows,
            rows_per_s=rows_per_s,
        )

    def _seconds_left(self) -> float | None:
        """Until the last model has ended; None while one of them has not shown its pace.

        Nor is it known while rows are still counted.
        """
        if not self._growth.plan.is_whole:
            return None
        slots: dict[str, int] = {}
        for lane in self._lanes:
            model = lane.pool.model.name
            slots[model] = slots.get(model, 0) + lane.pool.gate.limit.slots
        tallies = self._recorder.tally.models
        left = [
            seconds_left(rows, slots[name], tallies.get(name) or ModelTally())
            for name, rows in self._growth.plan.rows_by_model().items()
            if name in slots
        ]
        return None if None in left else max((one for one in left if one is not None), default=0.0)

    def _model_looks(self) -> Iterator[ModelLook]:
        tallies = self._recorder.tally.models
        for lane in self._lanes:
            tally = tallies.get(lane.name)  # a model's refusals are told once, with its first lane
            refused = 0 if tally is None else tally.refused
            yield ModelLook(lane.name, lane.pool.gate.limit.slots, refused)

    def _bound(self, *, lag_s: float) -> Bound | None:
        if self._steering.is_paused:
            return None
        waiting = [lane for lane in self._lanes if lane.is_waiting]
        lanes = [lane for lane in self._lanes if lane not in waiting] or waiting
        return bound_of(
            [_lane(lane) for lane in lanes],
            lag_s=lag_s,
            cpu=max(self._cpu, *self._busy.cpus, 0.0),
            backlog=self._recorder.fill,
            waits_for_money=self._purse is not None and self._purse.is_awaited,
        )

    def _measure(self, now: float) -> None:
        """How busy this process and the workers were since the last look."""
        cpu_s = time.process_time()
        self._cpu = (cpu_s - self._cpu_s) / max(now - self._looked_at, 1e-3)
        self._looked_at, self._cpu_s = now, cpu_s
        self._busy = self._sending.busy()


def _lane(lane: Lane) -> LaneLook:
    return LaneLook(
        in_flight=lane.pool.gate.in_flight,
        limit=lane.pool.gate.limit.slots,
        backing_off=lane.pool.backing_off,
        waiting_rows=len(lane.feed),
        is_exhausted=lane.feed.is_exhausted,
    )
