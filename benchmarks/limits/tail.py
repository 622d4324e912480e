"""The end of a run, in simulated time: the order of the last rows, and stragglers asked twice.

`python -m benchmarks.limits.tail` prints two tables in Markdown (three minutes; `--quick` only
shows that it still works). The first is list scheduling with `batchkit.feeder`'s rule for the last
rows; the second runs `batchkit.pool` and `batchkit.hedge` themselves on a loop whose clock jumps.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Sequence
from heapq import heapify, heapreplace
from random import Random
from statistics import mean

import anyio
import msgspec

from batchkit.errors import ErrorKind
from batchkit.records import Completion, Outcome, Usage
from tests.pool_bench import Bench, Scripted
from tests.vclock import VirtualClockLoop

_SEEDS = range(20)
_SIGMA = 1.0  # of the logarithm: one answer in a hundred takes ten times the median
_ALL = math.inf


class Rule(msgspec.Struct, frozen=True):
    """How many rows come longest prompt first, in slots: of all rows, and of the last ones."""

    name: str
    first: float
    last: float


RULES = (
    Rule("input order", 0, 0),
    Rule("last 1 round", 0, 1),
    Rule("last 4", 0, 4),
    Rule("last 8", 0, 8),
    Rule("longest 1 first", 1, 0),
    Rule("longest 1 first, last 4", 1, 4),
    Rule("longest 2 first, last 4", 2, 4),
    Rule("all", _ALL, 0),
)


class Job(msgspec.Struct, frozen=True):
    """Rows for a number of slots; `told` is how far a prompt's length tells the answer's."""

    rows: int
    slots: int
    told: float

    @property
    def name(self) -> str:
        return f"{self.rows:,} rows, {self.slots:,} slots"


SIZES = ((15, 5), (60, 5), (600, 50), (2_000, 50), (10_000, 200), (30_000, 3_000))
TOLD = (0.0, 0.7, 1.0)


def draw(job: Job, rng: Random) -> tuple[list[float], list[float]]:
    """What each row's prompt looks like, and how long its answer takes."""
    prompts = [rng.normalvariate(0, 1) for _ in range(job.rows)]
    rest = math.sqrt(1 - job.told**2)
    seconds = [
        math.exp(_SIGMA * (job.told * prompt + rest * rng.normalvariate(0, 1)))
        for prompt in prompts
    ]
    return prompts, seconds


def order(prompts: Sequence[float], *, first: float, last: float) -> list[int]:
    """Rows in input order, but so many of all and of the last ones longest prompt first."""
    by_length = sorted(range(len(prompts)), key=lambda row: -prompts[row])
    head = by_length[: int(min(first, len(prompts)))]
    rest = sorted(set(range(len(prompts))) - set(head))
    ordered = max(0, len(rest) - int(min(last, len(rest))))
    return head + rest[:ordered] + sorted(rest[ordered:], key=lambda row: -prompts[row])


def makespan(seconds: Sequence[float], slots: int) -> float:
    """Each row to the slot that is free first."""
    free_at = [0.0] * slots
    heapify(free_at)
    for one in seconds:
        heapreplace(free_at, free_at[0] + one)
    return max(free_at)


def over_bound(job: Job, rule: Rule, seed: int) -> float:
    """The makespan over what no order can go below."""
    prompts, seconds = draw(job, Random(f"{seed} {job.name}"))
    bound = max(sum(seconds) / job.slots, *seconds)
    rows = order(prompts, first=rule.first * job.slots, last=rule.last * job.slots)
    return makespan([seconds[row] for row in rows], job.slots) / bound


def print_orders(sizes: Sequence[tuple[int, int]], seeds: Sequence[int]) -> None:
    """The first table: mean and worst makespan over the bound."""
    print("| told | job | " + " | ".join(rule.name for rule in RULES) + " |")
    print("|---|---|" + "---|" * len(RULES))
    for told in TOLD:
        for rows, slots in sizes:
            job = Job(rows, slots, told)
            cells = []
            for rule in RULES:
                ratios = [over_bound(job, rule, seed) for seed in seeds]
                cells.append(f"{mean(ratios):.2f} · {max(ratios):.2f}")
            print(f"| {told:g} | {job.name} | " + " | ".join(cells) + " |")


class Straggling(Scripted):
    """Answers as long as drawn; some attempts are held for long, whatever was asked."""

    def __init__(self, rng: Random, *, sigma: float, held: float, held_s: float) -> None:
        super().__init__({})
        self._rng = rng
        self._sigma = sigma
        self._held = held
        self._held_s = held_s

    async def exchange(self, body: bytes, timeout_s: float) -> Outcome:
        seconds = math.exp(self._rng.normalvariate(0, self._sigma))
        await anyio.sleep(seconds + self._held_s * (self._rng.random() < self._held))
        return Completion("yes", "stop", Usage(10, 0, 5))


class Tail(msgspec.Struct, frozen=True):
    """A service for the second table."""

    name: str
    sigma: float
    held: float
    held_s: float


TAILS = (
    Tail("1 % held for 30 s", 0.5, 0.01, 30.0),
    Tail("0.1 % held for 30 s", 0.5, 0.001, 30.0),
    Tail("heavy tail (sigma 1), drawn anew", 1.0, 0.0, 0.0),
    Tail("no tail (sigma 0.2)", 0.2, 0.0, 0.0),
)


async def _run(tail: Tail, rows: int, slots: int, seed: int, *, hedge: bool) -> tuple[float, int]:
    rng = Random(f"{seed} {tail.name}")
    provider = Straggling(rng, sigma=tail.sigma, held=tail.held, held_s=tail.held_s)
    bench = Bench(provider, slots=slots, hedge=hedge)
    seconds = await bench.run([f"r{n}" for n in range(rows)])
    lost = sum(attempt.error_kind is ErrorKind.OUTRUN for attempt in bench.memory.attempts)
    return seconds, lost


def run(tail: Tail, rows: int, slots: int, seed: int, *, hedge: bool) -> tuple[float, int]:
    """Simulated seconds, and attempts that were broken off since another had won."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(_run(tail, rows, slots, seed, hedge=hedge))


def print_hedging(sizes: Sequence[tuple[int, int]], seeds: Sequence[int]) -> None:
    """The second table: mean makespans, and what is asked twice per 100 rows."""
    print("| service | job | seconds | with --hedge | asked twice, per 100 rows |")
    print("|---|---|---|---|---|")
    for tail in TAILS:
        for rows, slots in sizes:
            plain = [run(tail, rows, slots, seed, hedge=False)[0] for seed in seeds]
            hedged = [run(tail, rows, slots, seed, hedge=True) for seed in seeds]
            twice = 100 * mean(lost for _, lost in hedged) / rows
            print(
                f"| {tail.name} | {rows:,} rows, {slots:,} slots | {mean(plain):.1f} "
                f"| {mean(seconds for seconds, _ in hedged):.1f} | {twice:.2f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits.tail", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed: whether it still works")
    options = parser.parse_args()
    seeds = _SEEDS[:1] if options.quick else _SEEDS
    print_orders(SIZES[:2] if options.quick else SIZES, seeds)
    print()
    print_hedging(((60, 5),) if options.quick else ((60, 5), (600, 50), (5_000, 100)), seeds)


if __name__ == "__main__":
    main()
