"""Why and how far a run stops early: a word that every waiting place listens to."""

from __future__ import annotations

from enum import StrEnum

import anyio
import msgspec


class Cause(StrEnum):
    """What ended a run before its rows did."""

    FATAL = "fatal"  # the provider will answer nothing more
    BUDGET = "budget"
    FAILURES = "failures"  # nearly every row failed for the same reason
    DISK = "disk"
    DAMAGE = "damage"  # the run's folder holds what batchkit did not write
    SIGNAL = "signal"


class StopReason(msgspec.Struct, frozen=True):
    """Why something stopped, in words for a person: place, fault and remedy."""

    cause: Cause
    message: str
    signal: int | None = None
    resets_at: float | None = None  # when going on makes sense, seconds since the epoch


class Stopper:
    """Stops one model, or with it as a parent's child the whole run; the first reason wins."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._stopped = anyio.Event()
        self._children: list[Stopper] = []

    @property
    def is_stopping(self) -> bool:
        return self.reason is not None

    def child(self) -> Stopper:
        """A stopper that also stops when this one does."""
        child = Stopper()
        self._children.append(child)
        if self.reason is not None:
            child.stop(self.reason)
        return child

    def stop(self, reason: StopReason) -> None:
        if self.reason is None:
            self.reason = reason
            self._stopped.set()
            for child in self._children:
                child.stop(reason)

    async def wait(self) -> None:
        """Wait until it stops."""
        await self._stopped.wait()
