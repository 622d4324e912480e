"""Where a worker lives, as its driver sees it; the home that needs no other process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from batchkit.workers.worker import Worker


class LostError(Exception):
    """The worker does not answer any more: why, in words."""


class Home(Protocol):
    """One worker, from its start to its end. `start` and `exchange` raise `LostError`."""

    @property
    def name(self) -> str: ...
    async def start(self, config: bytes, epoch: int) -> None: ...
    async def exchange(
        self, rows: bytes, ack: int, wait: float, min_rows: int, max_rows: int
    ) -> bytes: ...

    def kill(self) -> None:
        """Make the worker end, as far as that is in our power; never waits."""

    async def wait_gone(self) -> None:
        """Wait until it is certain that nothing of the worker runs any more."""

    async def close(self) -> None:
        """Leave nothing behind, whatever state the worker is in."""


class InProcess:
    """A worker in this process: what is left when no other can be kept alive."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._worker = Worker(environ)
        self.name = "this process"

    async def start(self, config: bytes, epoch: int) -> None:
        await self._worker.start(config, epoch)

    async def exchange(
        self, rows: bytes, ack: int, wait: float, min_rows: int, max_rows: int
    ) -> bytes:
        return await self._worker.exchange(rows, ack, wait, min_rows, max_rows)

    def kill(self) -> None:
        self._worker.break_off()

    async def wait_gone(self) -> None:
        await self._worker.close()

    async def close(self) -> None:
        await self._worker.close()
