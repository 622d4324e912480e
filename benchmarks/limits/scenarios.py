"""The accounts that the candidates meet."""

from __future__ import annotations

from random import Random

import msgspec

from benchmarks.limits.service import Account, Latency, Phases

_FEWEST = 60  # rows; a job of so few is a scenario of its own
_SHORT, _SLOW = Latency(0.25, 0.4), Latency(8.0, 0.5)
_HEAVY = Latency(0.8, pareto=1.5)
_BY_TOKENS = Latency(0.2, 0.2, per_token_s=0.005)
_OVERLOADS = ((60.0, 120.0, 0.5), (240.0, 300.0, 0.5))
_OUTAGES = ((60.0, 90.0, 1.0), (240.0, 270.0, 1.0))


class Job(msgspec.Struct, frozen=True):
    """One model's rows, and what the client was told about its limit."""

    account: Account
    told: int
    rows: int


class Scenario(msgspec.Struct, frozen=True):
    """Jobs that run side by side."""

    name: str
    jobs: tuple[Job, ...]

    def shorter(self, scale: float) -> Scenario:
        """The same with fewer rows."""
        jobs = tuple(
            msgspec.structs.replace(job, rows=min(job.rows, max(_FEWEST, int(job.rows * scale))))
            for job in self.jobs
        )
        return Scenario(self.name, jobs)


def _job(told: int, true: int | Phases, rows: int, **account: object) -> Job:
    limit = Phases((true,)) if isinstance(true, int) else true
    return Job(msgspec.structs.replace(Account(limit=limit), **account), told, rows)


def _turns(values: tuple[int, ...], every_s: float) -> Phases:
    return Phases(values, tuple(every_s * turn for turn in range(1, len(values))))


def _jumps(low: int, high: int, every_s: float) -> Phases:
    rng = Random(0)
    return _turns(tuple(rng.randint(low, high) for _ in range(1000)), every_s)


_JOBS: dict[str, tuple[Job, ...]] = {
    "as told, 50": (_job(50, 50, 2_500),),
    "as told, 300": (_job(300, 300, 15_000),),
    "as told, 1,000": (_job(1000, 1000, 50_000),),
    "as told, 3,000": (_job(3000, 3000, 150_000),),
    "told 300, 100; short answers": (_job(300, 100, 6_000, latency=_SHORT),),
    "told 2,000, 1,000": (_job(2000, 1000, 100_000),),
    "told 200, 100": (_job(200, 100, 20_000),),
    "told 110, 100": (_job(110, 100, 20_000),),
    "told 5, 2": (_job(5, 2, 1_500),),
    "told 3,000, 150": (_job(3000, 150, 20_000),),
    "told 200, 5": (_job(200, 5, 1_500),),
    "100, 50, 100, … every 10 min": (_job(200, _turns((100, 50) * 4 + (100,), 600.0), 200_000),),
    "5, 2, 1, 5 every 10 min": (_job(200, _turns((5, 2, 1, 5), 600.0), 8_000),),
    "1,000, 500 for 2 min, 1,000": (_job(1000, _turns((1000, 500, 1000), 120.0), 320_000),),
    "100, 87, 100, … every 200 s": (_job(200, _turns((100, 87, 100, 87), 200.0), 80_000),),
    "70 to 130, anew every 2 s": (_job(200, _jumps(70, 130, 2.0), 20_000),),
    "soft: 100 ± 20 %": (_job(200, 100, 20_000, softness=0.2),),
    "60 arrivals a second": (_job(300, 300, 6_000, arrivals=60),),
    "1302 by chance, 1 %": (_job(200, 100, 20_000, chance=0.01),),
    "1302 by chance, 3 %": (_job(200, 100, 20_000, chance=0.03),),
    "1302 by chance, 3 %, as told": (_job(100, 100, 20_000, chance=0.03),),
    "overloads of 60 s, 50 %": (_job(100, 100, 60_000, overloads=_OVERLOADS),),
    "outages of 30 s": (_job(100, 100, 60_000, overloads=_OUTAGES),),
    "500s, 20 %": (_job(100, 100, 20_000, broken=0.2),),
    "heavy tail, told 200, 100": (_job(200, 100, 20_000, latency=_HEAVY),),
    "by tokens, told 200, 100": (_job(200, 100, 20_000, latency=_BY_TOKENS),),
    "two models: 5 slow; told 200, 100": (
        _job(5, 5, 200, latency=_SLOW),
        _job(200, 100, 20_000),
    ),
    "60 rows, as told, 5": (_job(5, 5, 60),),
    "60 rows, told 200, 5": (_job(200, 5, 60),),
}
SCENARIOS = [Scenario(name, jobs) for name, jobs in _JOBS.items()]
