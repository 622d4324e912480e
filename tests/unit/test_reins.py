"""Several runs with one key, each with its own reins, in simulated time against one account."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from batchkit.adaptive import AdaptiveLimit
from batchkit.leases import Leases
from batchkit.reins import Reins
from batchkit.room import START_S, Room
from batchkit.shares import Account, Alone, Lender
from benchmarks.limits.client import Lane, Loop
from benchmarks.limits.meter import Meter
from benchmarks.limits.service import Account as Served
from benchmarks.limits.service import Latency, Phases, Service

ACCOUNT = Account("http://x/v4", "k", "m")
LATENCY = Latency(0.8, 0.5)
EVERY_S = 0.2


class Run:
    """A run of `rows` rows that steers itself, as `batchkit.steering` would."""

    def __init__(
        self, world: World, lender: Lender, *, rows: int, allowed: int, start: int | None
    ) -> None:
        self.world, self.lender, self.rows = world, lender, rows
        self.is_over = False
        self.staffed: list[int] = []
        self.room = Room(AdaptiveLimit(allowed), start_s=START_S)
        rng = Random(f"{world.seed} {len(world.runs)}")
        seconds = [LATENCY.draw(rng)[0] for _ in range(rows)]
        self.lane = Lane(
            world.loop,
            world.service,
            self.room,
            seconds=seconds,
            tokens=[1] * rows,
            workers=min(rows, allowed),
            meter=Meter(world.served, 1.0),
            rng=rng,
        )
        self.lane.meter.advance(world.loop.now, let_in=0, pending=False)
        self.longest_s = max(seconds)
        limit = self.room.limit
        assert isinstance(limit, AdaptiveLimit)
        self.limit = limit
        pool: Any = SimpleNamespace(
            model=SimpleNamespace(name="m"),
            gate=self,
            change=self.change,
            backing_off=0,
            longest_s=self.longest_s,
            staff=self.staffed.append,
        )
        lane: Any = SimpleNamespace(name="m", pool=pool, feed=self)
        self.reins = Reins(
            lane, limit, ACCOUNT, table=world.cap, rows=rows, start=start, patience_s=30.0
        )
        self.tick()

    # as a gate and as a feed

    @property
    def in_flight(self) -> int:
        return self.room.in_flight

    @property
    def waiting(self) -> int:
        return 1 if self.lane._has_new() or self.lane._again else 0

    @property
    def is_closed(self) -> bool:
        return True

    def __len__(self) -> int:
        return self.rows - self.lane.answered - self.in_flight

    def lend(self, until: float) -> None:
        self.room.lent_until = until

    def change(self, change: Callable[[], None]) -> None:
        self.room.change(change, self.world.loop.now)
        self.lane._admit()

    def tick(self) -> None:
        now = self.world.loop.now
        if self.is_over:
            return
        if self.lane.is_done:
            self.is_over = True
            self.lender.close(is_quiet=True)
            return
        ask = self.reins.ask()
        (share,) = self.lender.exchange([ask], now)
        self.reins.take(share, ask.heard, now)
        self.lane._admit()
        self.world.loop.call_at(now + EVERY_S, self.tick)

    def kill(self) -> None:
        """What SIGKILL does: nothing more is told, and the lock is the kernel's to release."""
        self.is_over = True
        self.room.lent_until = 0.0
        assert isinstance(self.lender, Leases)
        os.close(self.lender._lock)
        self.lender._db.close()


class World:
    """An account that is said to allow `cap` and allows `true`, and the runs that use it."""

    def __init__(self, folder: Path, *, cap: int, true: int, seed: int = 1) -> None:
        self.folder, self.cap, self.seed = folder, cap, seed
        self.loop = Loop()
        self.served = Served(limit=Phases((true,)), latency=LATENCY)
        self.service = Service(self.served, Random(seed))
        self.runs: list[Run] = []
        self.used_s = 0.0
        self.most = 0
        self.loop.call_at(0.0, self._look)

    def begin(self, rows: int, *, allowed: int | None = None, start: int | None = None) -> Run:
        lender = Leases(self.folder)
        run = Run(self, lender, rows=rows, allowed=allowed or self.cap, start=start)
        self.runs.append(run)
        return run

    def go_on(self, seconds: float) -> None:
        until = self.loop.now + seconds
        self.loop.run(until=lambda: self.loop.now >= until)

    def measure(self, seconds: float) -> tuple[float, int, float]:
        """Over the next seconds: mean in flight, the most, and refusals per answer."""
        self.used_s, self.most, before = 0.0, 0, self._counts()
        self.go_on(seconds)
        refused, answered = (b - a for a, b in zip(before, self._counts(), strict=True))
        return self.used_s / seconds, self.most, refused / answered

    def _counts(self) -> tuple[int, int]:
        trips = [trip for run in self.runs for trip in run.lane.meter.rounds]
        return sum(t.refused for t in trips), sum(t.answered for t in trips)

    def _look(self) -> None:
        self.used_s += 0.01 * self.service.in_flight
        self.most = max(self.most, self.service.in_flight)
        self.loop.call_at(self.loop.now + 0.01, self._look)


def test_runs_share_equally_and_are_never_refused(tmp_path: Path) -> None:
    world = World(tmp_path, cap=50, true=50)
    runs = [world.begin(5000)]
    world.go_on(5)
    runs += [world.begin(5000), world.begin(5000)]
    world.go_on(5)
    used, most, refused = world.measure(20)
    assert [run.reins.ceiling for run in runs] == [17, 17, 16]
    assert (most, refused) == (50, 0.0)
    assert used >= 0.96 * 50


def test_what_a_run_cannot_use_the_others_may(tmp_path: Path) -> None:
    world = World(tmp_path, cap=50, true=50)
    full, small = world.begin(5000), world.begin(5000, allowed=10)
    world.go_on(5)
    assert (full.reins.ceiling, small.reins.ceiling) == (40, 10)
    few = world.begin(3)
    world.go_on(1)
    assert few.reins.ceiling <= 3
    world.go_on(10)
    assert few.is_over
    assert full.reins.ceiling == 40


def test_a_run_that_comes_has_its_share_within_the_others_answers(tmp_path: Path) -> None:
    world = World(tmp_path, cap=100, true=100)
    world.begin(5000)
    world.go_on(5)
    late = world.begin(5000)
    assert late.reins.ceiling == 0
    world.go_on(2)
    assert late.reins.ceiling >= 40
    world.go_on(5)
    assert late.reins.ceiling == 50


def test_a_killed_runs_slots_are_taken_when_its_requests_must_have_ended(tmp_path: Path) -> None:
    world = World(tmp_path, cap=50, true=50)
    left, killed = world.begin(9000), world.begin(3000)
    world.go_on(5)
    killed.kill()
    killed_at = world.loop.now
    while left.reins.ceiling == 25:
        world.go_on(EVERY_S)
    fenced_s = world.loop.now - killed_at
    assert killed.longest_s <= fenced_s <= killed.longest_s + 3 * EVERY_S
    assert left.reins.ceiling == 50
    assert world.measure(5)[1:] == (50, 0.0)


def test_runs_that_were_told_too_much_find_the_limit_and_keep_it_full(tmp_path: Path) -> None:
    world = World(tmp_path, cap=200, true=100)
    runs = [world.begin(9000), world.begin(9000)]
    world.go_on(10)
    runs.append(world.begin(9000))
    world.go_on(10)
    used, most, refused = world.measure(60)
    assert used >= 0.95 * 100
    assert most == 100
    assert refused <= 0.02
    assert all(abs(run.limit.learned - 33) <= 5 for run in runs)
    assert all(95 <= (run.reins.evidence.worth_keeping(None) or 0) <= 106 for run in runs)


def test_what_one_run_has_learned_is_the_accounts_and_not_a_shares(tmp_path: Path) -> None:
    world = World(tmp_path, cap=200, true=60)
    first = world.begin(1000)
    world.go_on(10)
    second = world.begin(3000)
    world.go_on(3)
    assert 25 <= second.limit.learned <= 33
    while not first.is_over:
        world.go_on(1)
    world.go_on(1)
    assert second.limit.learned >= 56
    assert world.measure(10)[2] <= 0.02


def test_a_pause_gives_the_slots_to_the_others_and_keeps_what_was_learned(tmp_path: Path) -> None:
    world = World(tmp_path, cap=50, true=50)
    paused, other = world.begin(5000), world.begin(5000)
    world.go_on(5)
    paused.reins.pause(is_paused=True)
    assert (paused.reins.ceiling, paused.limit.slots) == (0, 0)
    world.go_on(6)
    assert (paused.in_flight, other.reins.ceiling) == (0, 50)
    paused.reins.pause(is_paused=False)
    world.go_on(6)
    assert (paused.reins.ceiling, other.reins.ceiling) == (25, 25)
    assert world.measure(5)[1:] == (50, 0.0)


def test_the_users_ceiling_holds_at_once_and_is_raised_again(tmp_path: Path) -> None:
    world = World(tmp_path, cap=50, true=50)
    run = world.begin(5000)
    world.go_on(3)
    run.reins.allow(8)
    assert run.limit.slots == 8
    world.go_on(6)
    assert run.in_flight == 8
    run.reins.allow(40)
    assert run.staffed == [8, 40]
    world.go_on(1)
    assert run.in_flight == 40
    assert run.reins.words(99) == (
        "m: at most 50 requests in flight, 40 before; the table has no more, 99 were asked for"
    )


def test_a_run_alone_has_all_and_starts_at_what_was_learned(tmp_path: Path) -> None:
    world = World(tmp_path, cap=50, true=50)
    run = Run(world, Alone(), rows=500, allowed=30, start=12)
    assert (run.reins.ceiling, run.limit.slots, run.limit.learned) == (30, 12, 12)


def test_runs_that_begin_together_and_were_told_too_much_are_not_thrown_back(
    tmp_path: Path,
) -> None:
    """Each is refused for what all of them have in flight."""
    world = World(tmp_path, cap=200, true=60)
    for _ in range(3):
        world.begin(9000)
    world.go_on(3)
    assert world.measure(10)[0] >= 0.9 * 60
