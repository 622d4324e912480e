"""One candidate's way through one scenario."""

from __future__ import annotations

from random import Random
from statistics import mean

from batchkit.adaptive import AdaptiveLimit
from batchkit.room import Room
from benchmarks.limits.candidates import CANDIDATES
from benchmarks.limits.client import NET_S, Lane, Loop
from benchmarks.limits.meter import Meter, Report
from benchmarks.limits.scenarios import Job, Scenario
from benchmarks.limits.service import Service, makespan_bound

_LONGEST_S = 48 * 3600.0  # simulated; whoever is not done by then has failed


def play(scenario: Scenario, candidate: str, seed: int) -> list[Report]:
    """A report per job. The same seed gives every candidate the same answers' durations."""
    loop = Loop()
    made = [
        _lane(loop, job, CANDIDATES[candidate](job.told), Random(f"{seed} {scenario.name} {place}"))
        for place, job in enumerate(scenario.jobs)
    ]
    loop.run(until=lambda: loop.now > _LONGEST_S or all(lane.is_done for lane, _ in made))
    return [
        lane.meter.report(lane.ended_at, bound_s, _learned(lane.room)) for lane, bound_s in made
    ]


def _lane(loop: Loop, job: Job, room: Room, rng: Random) -> tuple[Lane, float]:
    draws = [job.account.latency.draw(rng) for _ in range(job.rows)]
    seconds = [drawn for drawn, _ in draws]
    held = [drawn + 2 * NET_S for drawn in seconds]
    lane = Lane(
        loop,
        Service(job.account, Random(rng.random())),
        room,
        seconds=seconds,
        tokens=[tokens for _, tokens in draws],
        workers=min(job.told, job.rows),
        meter=Meter(job.account, mean(held)),
        rng=Random(rng.random()),
    )
    return lane, makespan_bound(held, job.account)


def _learned(room: Room) -> int:
    limit = room.limit
    return limit.learned if isinstance(limit, AdaptiveLimit) else limit.slots
