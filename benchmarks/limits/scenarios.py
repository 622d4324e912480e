"""The accounts that the candidates meet, and one candidate's way through one of them."""

from __future__ import annotations

from random import Random
from statistics import mean

import msgspec

from batchkit.adaptive import AdaptiveLimit
from batchkit.limits import Room
from benchmarks.limits.candidates import CANDIDATES
from benchmarks.limits.client import NET_S, Lane, Loop
from benchmarks.limits.meter import Meter, Report
from benchmarks.limits.service import Account, Latency, Phases, Service, makespan_bound

_WARMUP_LIMIT = 40  # simulated hours after which a candidate has failed


class Job(msgspec.Struct, frozen=True):
    """One model's rows, and what the client was told about its limit."""

    account: Account
    told: int
    rows: int


class Scenario(msgspec.Struct, frozen=True):
    """Jobs that run side by side."""

    name: str
    jobs: tuple[Job, ...]


def _job(told: int, true: int | Phases, rows: int, **account: object) -> Job:
    limit = Phases((true,)) if isinstance(true, int) else true
    return Job(msgspec.structs.replace(Account(limit=limit), **account), told, rows)


def _changing(high: int, low: int, times: int, every_s: float = 600.0) -> Phases:
    values = tuple(low if index % 2 else high for index in range(times + 1))
    return Phases(values, tuple(every_s * (index + 1) for index in range(times)))


def scenarios(scale: float = 1.0) -> list[Scenario]:
    """All of them; `scale` below 1 makes the long ones shorter."""

    def rows(count: int) -> int:
        return max(60, int(count * scale))

    short, slow = Latency(0.25, 0.4), Latency(8.0, 0.5)
    heavy = Latency(0.8, pareto=1.5)
    by_tokens = Latency(0.2, 0.2, per_token_s=0.005)
    overloads = ((60.0, 120.0, 0.5), (240.0, 300.0, 0.5))
    outages = ((60.0, 90.0, 1.0), (240.0, 270.0, 1.0))
    told = "true limit = told"
    return [
        Scenario(f"{told} 50", (_job(50, 50, rows(2_500)),)),
        Scenario(f"{told} 300", (_job(300, 300, rows(15_000)),)),
        Scenario(f"{told} 1,000", (_job(1000, 1000, rows(50_000)),)),
        Scenario(f"{told} 3,000", (_job(3000, 3000, rows(150_000)),)),
        Scenario("told 300, true 100, short", (_job(300, 100, 6_000, latency=short),)),
        Scenario("half: 1,000 of 2,000", (_job(2000, 1000, rows(100_000)),)),
        Scenario("half: 100 of 200", (_job(200, 100, rows(20_000)),)),
        Scenario("half: 2 of 5", (_job(5, 2, rows(600)),)),
        Scenario("5 %: 150 of 3,000", (_job(3000, 150, rows(20_000)),)),
        Scenario("2.5 %: 5 of 200", (_job(200, 5, rows(1_500)),)),
        Scenario(
            "changing 100, 50, 100, …",
            (_job(200, _changing(100, 50, 8), rows(200_000)),),
        ),
        Scenario(
            "1,000, from 60 s to 180 s only 500",
            (_job(1000, Phases((1000, 500, 1000), (60.0, 180.0)), 240_000),),
        ),
        Scenario("changing 5, 2, 1 …", (_job(200, Phases((5, 2, 1, 5), (600, 1200, 1800)), 8_000),)),
        Scenario("soft ± 20 % of 100", (_job(200, 100, rows(20_000), softness=0.2),)),
        *(Scenario(f"1302 at random, {100*w:g} %", (_job(100, 100, rows(20_000), whim=w),)) for w in (0.002,0.01,0.03)),
        Scenario("60 arrivals/s, 300 slots", (_job(300, 300, rows(6_000), arrivals=60),)),
        Scenario("overloads, half refused", (_job(100, 100, 60_000, overloads=overloads),)),
        Scenario("outages of 30 s", (_job(100, 100, 60_000, overloads=outages),)),
        Scenario("20 % answers are 500s", (_job(100, 100, rows(20_000), broken=0.2),)),
        Scenario("heavy-tailed, 100 of 200", (_job(200, 100, rows(20_000), latency=heavy),)),
        Scenario("by tokens, 100 of 200", (_job(200, 100, rows(20_000), latency=by_tokens),)),
        Scenario(
            "two models: 5 slow, 200 fast",
            (_job(5, 5, rows(200), latency=slow), _job(200, 100, rows(20_000))),
        ),
        Scenario("60 rows, 5 slots", (_job(5, 5, 60),)),
        Scenario("60 rows, told 200", (_job(200, 200, 60),)),
        Scenario("60 rows, told 200, true 5", (_job(200, 5, 60),)),
    ]


def play(scenario: Scenario, candidate: str, seed: int = 0) -> list[Report]:
    """One report per job."""
    loop = Loop()
    lanes, bounds = [], []
    for number, job in enumerate(scenario.jobs):
        rng = Random(f"{seed}/{scenario.name}/{number}")
        draws = [job.account.latency.draw(rng) for _ in range(job.rows)]
        seconds = [draw[0] for draw in draws]
        held = [2 * NET_S + s for s in seconds]
        bounds.append(makespan_bound(held, job.account))
        room = CANDIDATES[candidate](job.told)
        lanes.append(
            Lane(
                loop,
                Service(job.account, Random(rng.random())),
                room,
                seconds=seconds,
                tokens=[draw[1] for draw in draws],
                workers=min(job.told, job.rows),
                meter=Meter(job.account, mean(held)),
                rng=Random(rng.random()),
            )
        )
    loop.run(until=lambda: all(lane.is_done for lane in lanes) or loop.now > 3600 * _WARMUP_LIMIT)
    return [
        lane.meter.report(lane.ended_at, bound, _learned(lane.room))
        for lane, bound in zip(lanes, bounds, strict=True)
    ]


def _learned(room: Room) -> int:
    return room.limit.learned if isinstance(room.limit, AdaptiveLimit) else room.limit.slots
