"""All workers of a run: spreads attempts over them, and keeps as many alive as it was told to.

A worker that is lost is replaced at once, while its fence still holds its rows. One place's workers
that keep ending young are given up, and the run goes on with the others; when none is left, a
worker in this process takes over.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import msgspec

from batchkit.models import Model
from batchkit.providers.codec import Dialect, encode
from batchkit.records import Outcome, Request
from batchkit.workers.frames import WorkerConfig, encode_config
from batchkit.workers.home import Home, LostError
from batchkit.workers.link import Link

START_S = 30.0  # what a worker may take to be ready
_YOUNG_S = 30.0  # a worker that ends before has done nobody any good …
_MOST_YOUNG = 3  # … and after so many in a row there will be no better one


class Busy(msgspec.Struct, frozen=True):
    """How busy those who send are."""

    cpus: tuple[float, ...] = ()  # share of a core, for each worker process
    lag_s: float = 0.0  # by how much an event loop came late, at most


class Workers:
    """`run` them beside whatever asks.

    Args:
        new_home: makes a place to live for one worker.
        last_home: makes the one that takes over when no worker can be kept alive.
        notice: told of workers that are lost, in words for a person.
    """

    def __init__(
        self,
        config: WorkerConfig,
        count: int,
        *,
        new_home: Callable[[], Home],
        last_home: Callable[[], Home],
        notice: Callable[[str], None],
    ) -> None:
        assert count >= 1
        self._config = encode_config(config)
        self._kept = count  # places where a worker lives
        self._new_home = new_home
        self._last_home = last_home
        self._notice = notice
        self._look_s = config.look_s
        self._epochs = itertools.count(1)
        self._links: list[Link] = []
        self._arrival = anyio.Event()
        self._untried = count  # workers whose first start has neither succeeded nor failed
        self._all_tried = anyio.Event()
        self._looked_at = time.monotonic()
        self._cpu_s: dict[Link, float] = {}

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Until cancelled; started when each worker is, or has failed to once, and one is there.

        The first to be there would get everything if rows did not wait for the others.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, name="listen to workers")
            for place in range(self._kept):
                group.start_soon(self._keep, group, name=f"worker {place}")
            await self._all_tried.wait()
            await self._idlest()
            task_status.started()

    async def exchange(self, address: int, body: bytes, timeout_s: float) -> Outcome:
        """One attempt, by the worker that has the fewest."""
        while True:
            link = await self._idlest()
            outcome = await link.ask(address, body, timeout_s)
            if outcome is not None:
                return outcome

    def busy(self) -> Busy:
        """How busy the workers were since the last call."""
        now = time.monotonic()
        passed_s = max(now - self._looked_at, 1e-3)
        self._looked_at = now
        cpus = tuple((link.cpu_s - self._cpu_s.get(link, 0.0)) / passed_s for link in self._links)
        self._cpu_s = {link: link.cpu_s for link in self._links}
        lag_s = max((link.lag_s for link in self._links), default=0.0)
        for link in self._links:
            link.lag_s = 0.0
        return Busy(cpus, lag_s)

    async def _idlest(self) -> Link:
        while not self._links:
            if self._arrival.is_set():
                self._arrival = anyio.Event()
            await self._arrival.wait()
        return min(self._links, key=lambda link: link.in_flight)

    async def _listen(self) -> None:
        while True:
            await anyio.sleep(self._look_s)
            for link in self._links:
                link.look()

    async def _keep(self, group: anyio.abc.TaskGroup) -> None:
        """Have one worker at work, as long as there is sense in it."""
        young = 0
        for attempt in itertools.count():
            began = anyio.current_time()
            link = await self._started(self._new_home())
            if attempt == 0:
                self._count_tried()
            if link is not None:
                await self._live(link, group)
            young = young + 1 if anyio.current_time() - began < _YOUNG_S else 0
            if young == _MOST_YOUNG:
                break
        self._kept -= 1
        if not self._kept:
            self._notice("no worker process can be kept alive; this process sends by itself")
            last = await self._started(self._last_home())
            assert last is not None
            await self._live(last, group)

    def _count_tried(self) -> None:
        self._untried -= 1
        if not self._untried:
            self._all_tried.set()

    async def _started(self, home: Home) -> Link | None:
        """A worker that is ready for rows; None if it cannot be had."""
        epoch = next(self._epochs)
        try:
            with anyio.fail_after(START_S):
                await home.start(self._config, epoch)
        except (LostError, TimeoutError) as error:
            await home.close()
            why = "did not start in time" if isinstance(error, TimeoutError) else error
            self._notice(f"{home.name} {why}")
            return None
        except BaseException:
            await home.close()
            raise
        link = Link(home, epoch, beat_s=self._look_s)
        self._links.append(link)
        self._arrival.set()
        return link

    async def _live(self, link: Link, group: anyio.abc.TaskGroup) -> None:
        """Converse with a worker until it is lost."""
        try:
            await link.converse()
        except LostError as error:
            count = link.in_flight
            lost = f"; what it had in flight ({count:,}) is asked again" if count else ""
            self._notice(f"{link.home.name} {error}{lost}")
            group.start_soon(self._bury, link, name="fence")
        except BaseException:
            await link.home.close()
            raise
        finally:
            self._links.remove(link)

    async def _bury(self, link: Link) -> None:
        try:
            await link.fence()
        finally:
            await link.home.close()


class Remote:
    """One endpoint that workers ask: what a pool calls."""

    def __init__(
        self,
        workers: Workers,
        address: int,
        dialect: Dialect,
        schema: dict[str, Any] | None = None,
    ) -> None:
        self._workers = workers
        self._address = address
        self._dialect = dialect
        self._schema = schema

    def prepare(self, request: Request, model: Model) -> bytes:
        """The body of `request`, as `Provider.prepare` makes it."""
        return encode(request, model, self._dialect, self._schema)

    async def exchange(self, body: bytes, timeout_s: float) -> Outcome:
        """Have `body` sent once, as `Provider.exchange` does."""
        return await self._workers.exchange(self._address, body, timeout_s)
