"""The limit at work: pool, gate and HTTP client against `batchkit simulate` in another process.

`python -m benchmarks.limits.live [--told N] [--true N] [--rows N] [--latency MEDIAN,SIGMA]` prints
the figures of the simulation for one real run. `--fixed` holds the limit at what the client is
told, for comparison.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from statistics import mean

import anyio
import msgspec

from batchkit.adaptive import AdaptiveLimit
from batchkit.attempts import Attempts
from batchkit.clock import SystemClock
from batchkit.descriptors import raise_descriptor_limit
from batchkit.errors import ErrorKind
from batchkit.feed import Feed
from batchkit.gate import Gate
from batchkit.journal import Record
from batchkit.life import Fed
from batchkit.models import builtin_models
from batchkit.pool import Pool
from batchkit.providers.aiohttp_transport import AiohttpTransport
from batchkit.providers.codec import Dialect, encode
from batchkit.providers.provider import Provider
from batchkit.records import Attempt, Request
from batchkit.retry import RetryPolicy
from batchkit.room import START_S, FixedLimit, Limit
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.service import Admission, Service
from batchkit.stopping import Stopper
from benchmarks.limits.service import Account, Phases, makespan_bound

MODEL = "glm-4-flash-250414"
_REFUSED = {ErrorKind.CONCURRENCY, ErrorKind.RATE}


class Case(msgspec.Struct, frozen=True):
    """What is run."""

    told: int
    true: int
    rows: int
    latency: str
    fixed: bool


class Memory:
    """A recorder that keeps the attempts."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    has_room = True

    def put(self, record: Record) -> int:
        attempt = record if isinstance(record, Attempt) else record.attempt
        if attempt is not None:
            self.attempts.append(attempt)
        return 0

    async def wait_room(self) -> None:
        pass

    async def wait_durable(self, number: int) -> None:
        pass


@contextmanager
def simulated(case: Case) -> Iterator[str]:
    """The address of a service in a process of its own."""
    words = ["simulate", "--limit", f"{MODEL}={case.true}", "--latency", case.latency]
    code = f"from batchkit.cli import main; raise SystemExit(main({words!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()


async def run(case: Case, url: str, limit: Limit) -> tuple[Memory, Gate, float]:
    """All rows through one pool; the last is the makespan in seconds."""
    clock, stopper = SystemClock(), Stopper()
    transport, memory = AiohttpTransport(), Memory()
    model = builtin_models()[MODEL]
    gate = Gate(limit, clock=clock.now, start_s=START_S)
    feed: Feed[Fed] = Feed(case.rows)
    provider = Provider(transport, endpoint=url, dialect=Dialect.GLM, api_key=None)
    attempts = Attempts(
        model,
        provider=provider,
        gate=gate,
        recorder=memory,
        run_stopper=stopper,
        timeout_s=300.0,
        purse=None,
        quota=None,
        clock=clock,
    )
    pool = Pool(
        attempts,
        feed=feed,
        stopper=stopper.child(),
        run_stopper=stopper,
        policy=RetryPolicy(),
        read=None,
        key_env="",
        most_backing_off=max(16, case.told),
        rng=Random(),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(fill, feed, case.rows)
        began = clock.now()
        await pool.run(min(case.told, case.rows))
        took_s = clock.now() - began
    await transport.aclose()
    return memory, gate, took_s


async def fill(feed: Feed[Fed], rows: int) -> None:
    await feed.put([Fed(request(row)) for row in range(rows)])
    feed.close()


def request(row: int) -> Request:
    messages = [{"role": "user", "content": f"Question {row}: what is {row} plus {row}?"}]
    return Request(row, f"q-{row}", MODEL, messages, {}, prompt_tokens=20)


def durations(case: Case) -> list[float]:
    """How long the service will hold each row: its draws depend on nothing but the request."""
    options = SimulatorOptions(latency=case.latency, limits={MODEL: case.rows})
    service, model = Service(options), builtin_models()[MODEL]
    held = []
    for row in range(case.rows):
        admission = service.admit(encode(request(row), model, Dialect.GLM))
        assert isinstance(admission, Admission)
        held.append(admission.hold_s)
    return held


def utilization(attempts: list[Attempt], true: int) -> float:
    """Share of the true limit in use by attempts that were let in, until the last row began."""
    until = max(attempt.started_at for attempt in attempts if attempt.attempt == 1)
    changes = sorted(
        change
        for attempt in attempts
        if attempt.error_kind not in _REFUSED
        for change in ((attempt.started_at, 1), (attempt.started_at + attempt.latency_s, -1))
        if change[0] < until
    )
    used_s, in_flight = 0.0, 0
    for (at, change), (then, _) in itertools.pairwise([*changes, (until, 0)]):
        in_flight += change
        used_s += min(in_flight, true) * (then - at)
    return used_s / (true * (until - changes[0][0]))


def report(case: Case, attempts: list[Attempt], gate: Gate, took_s: float) -> str:
    held = durations(case)
    bound_s = makespan_bound(held, Account(limit=Phases((case.true,))))
    answered = [attempt for attempt in attempts if attempt.error_kind is None]
    refused = sum(attempt.error_kind in _REFUSED for attempt in attempts)
    learned = gate.limit.learned if isinstance(gate.limit, AdaptiveLimit) else gate.limit.slots
    over_s = mean(attempt.latency_s for attempt in answered) - mean(held)
    return (
        f"told {case.told:,}, true {case.true:,}: {len(answered):,} answers in {took_s:.2f} s, "
        f"{took_s / bound_s:.3f} x the bound of {bound_s:.2f} s; "
        f"utilization {utilization(attempts, case.true):.3f}; "
        f"{refused:,} refused ({100 * refused / case.rows:.2f} per 100); learned {learned:,}; "
        f"an answer took {1000 * over_s:.0f} ms longer than the service held it"
    )


def main() -> None:
    """One case, one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits.live", description=__doc__)
    parser.add_argument("--told", type=int, default=300)
    parser.add_argument("--true", type=int, default=100)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--latency", default="0.25,0.4", help="of a lognormal: median, sigma")
    parser.add_argument("--fixed", action="store_true")
    given = parser.parse_args()
    case = Case(given.told, given.true, given.rows, f"lognormal:{given.latency}", given.fixed)
    raise_descriptor_limit(case.told)
    limit: Limit = FixedLimit(case.told) if case.fixed else AdaptiveLimit(case.told)
    with simulated(case) as url:
        memory, gate, took_s = anyio.run(
            run, case, url, limit, backend_options={"use_uvloop": True}
        )
    print(report(case, memory.attempts, gate, took_s))


if __name__ == "__main__":
    main()
