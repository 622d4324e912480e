"""What is looked at before each commit: the tally's measures, failed rows, and the estimate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchkit.binding import Binding
from batchkit.clock import SystemClock
from batchkit.patience import MostFailed
from batchkit.plan import Plan
from batchkit.scheduler import Lane
from batchkit.stop_words import too_many_failed
from batchkit.stopping import Cause, Stopper, StopReason
from batchkit.tally import Tally


class Audit:
    """Brings tallies up to now, those of earlier starts included, and says when to stop."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        before: Tally,
        *,
        binding: Binding,
        clock: SystemClock,
        plan: Plan,
        most_failed: MostFailed | None,
        stopper: Stopper,
        drifted: Callable[[Tally], None],
    ) -> None:
        """`before` is what earlier starts have counted; `drifted` holds a tally against what was
        expected."""
        self._lanes: dict[str, list[Lane]] = {}
        for lane in lanes:
            self._lanes.setdefault(lane.pool.model.name, []).append(lane)
        self._binding = binding
        self._clock = clock
        self._plan = plan
        self._most_failed = most_failed
        self._stopper = stopper
        self._drifted = drifted
        self._began = clock.now()
        self._wall_before = before.wall_s
        self._occupied = {
            name: (tally.used_slot_s, tally.offered_slot_s) for name, tally in before.models.items()
        }
        binding.looks.update(before.looks)

    def look(self, tally: Tally) -> None:
        """Look at a tally that is about to be committed."""
        tally.wall_s = self._wall_before + self._clock.now() - self._began
        tally.looks = dict(self._binding.looks)
        for name, lanes in self._lanes.items():
            _set_occupancy(tally, lanes, self._occupied.get(name, (0.0, 0.0)))
        failed = sum(model.failed for model in tally.models.values())
        most = self._most_failed
        if most is not None and failed > most.of(self._plan.rows):
            self._stopper.stop(StopReason(Cause.FAILURES, too_many_failed(failed, most.said)))
        self._drifted(tally)


def _set_occupancy(tally: Tally, lanes: list[Lane], before: tuple[float, float]) -> None:
    """What one model's lanes have used and offered, those of earlier starts included."""
    used, offered = before
    for lane in lanes:
        lane.pool.gate.utilization()  # brings its account up to now
        used += lane.pool.gate.occupancy.used
        offered += lane.pool.gate.occupancy.offered
    model = lanes[0].pool.model
    kept = tally.of(model.name, model.price.currency)
    kept.used_slot_s, kept.offered_slot_s = used, offered
