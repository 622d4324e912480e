"""Who sends: this process, or worker processes beside it; and how many it takes.

One process answers for about `ONE_PROCESS` requests a second (`benchmarks/README.md`): HTTP and the
engine around it share its core. Workers cost half a second and some memory, which a short job would
never get back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import anyio.abc
import msgspec

from batchkit.attempts import Exchange
from batchkit.clock import SystemClock
from batchkit.endpoints import Endpoint, is_loopback
from batchkit.providers.provider import Provider
from batchkit.providers.transports import transport_class
from batchkit.spec import TransportName
from batchkit.workers.frames import Address, WorkerConfig
from batchkit.workers.home import InProcess
from batchkit.workers.process import Process
from batchkit.workers.remote import Busy, Remote, Workers

ONE_PROCESS = 2500.0  # requests per second that one process can be counted on for
LATENCY_S = 0.5  # of an answer, where none is known yet
_WORTH_S = 10.0  # a job that one process does in less is not worth starting others for


class Share(msgspec.Struct, frozen=True):
    """What is known of one lane's part of a job before it begins."""

    slots: int
    latency_s: float | None = None  # of an answer, where something is known of it
    per_minute: int | None = None  # requests that the service allows


def processes_needed(shares: list[Share], *, requests: float, cores: int) -> int:
    """How many processes should send so that the slots, not the processor, bind a job."""
    if requests < _WORTH_S * ONE_PROCESS:
        return 1
    rate = sum(map(_rate, shares))
    return max(1, min(cores, -int(-rate // ONE_PROCESS)))


def _rate(share: Share) -> float:
    """Requests per second, as far as limits alone decide."""
    rate = share.slots / (share.latency_s or LATENCY_S)
    return rate if share.per_minute is None else min(rate, share.per_minute / 60)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Sending(Protocol):
    """What sends the requests of a run."""

    def provider(self, endpoint: Endpoint, schema: dict[str, Any] | None) -> Exchange:
        """What asks `endpoint`; answers are to fit `schema`."""

    def busy(self) -> Busy: ...

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Be there for those who ask, from when it has started until it is cancelled."""

    async def aclose(self) -> None: ...


class Here:
    """This process sends. Made and closed inside one event loop."""

    def __init__(self, clock: SystemClock, transport: TransportName, *, trust_env: bool) -> None:
        self._transport = transport_class(transport)(trust_env=trust_env)
        self._clock = clock

    def provider(self, endpoint: Endpoint, schema: dict[str, Any] | None) -> Exchange:
        return Provider(
            self._transport,
            endpoint=endpoint.url,
            dialect=endpoint.dialect,
            api_key=endpoint.key,
            schema=schema,
            wall=self._clock.wall,
        )

    def busy(self) -> Busy:
        return Busy()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        task_status.started()

    async def aclose(self) -> None:
        await self._transport.aclose()


class Elsewhere:
    """`count` worker processes send. `notice`: see `Workers`."""

    def __init__(
        self,
        endpoints: list[Endpoint],
        count: int,
        notice: Callable[[str], None],
        *,
        transport: TransportName,
        trust_env: bool,
    ) -> None:
        environ = _with_keys(os.environ, endpoints)
        self._endpoints = endpoints
        self._workers = Workers(
            WorkerConfig(list(map(_address, endpoints)), transport=transport, trust_env=trust_env),
            count,
            new_home=lambda: Process(environ),
            last_home=lambda: InProcess(environ),
            notice=notice,
        )

    def provider(self, endpoint: Endpoint, schema: dict[str, Any] | None) -> Exchange:
        address = self._endpoints.index(endpoint)
        return Remote(self._workers, address, endpoint.dialect, schema)

    def busy(self) -> Busy:
        return self._workers.busy()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        await self._workers.run(task_status=task_status)

    async def aclose(self) -> None:
        """Nothing is left when `run` has ended."""


def new_sending(
    endpoints: Iterable[Endpoint],
    processes: int,
    *,
    transport: TransportName,
    clock: SystemClock,
    notice: Callable[[str], None],
) -> Sending:
    """This process if `processes` is 1, else that many workers."""
    endpoints = list(dict.fromkeys(endpoints))
    trust_env = not all(is_loopback(one.url) for one in endpoints)
    if processes <= 1:
        return Here(clock, transport, trust_env=trust_env)
    return Elsewhere(endpoints, processes, notice, transport=transport, trust_env=trust_env)


def _address(endpoint: Endpoint) -> Address:
    key_env = endpoint.key_env if endpoint.key is not None else None
    return Address(endpoint.url, endpoint.dialect, key_env)


def _with_keys(environ: Mapping[str, str], endpoints: list[Endpoint]) -> dict[str, str]:
    """What workers find their keys in: this environment, and a key that did not come from it."""
    given = {one.key_env: one.key for one in endpoints if one.key is not None}
    return {**environ, **given}
