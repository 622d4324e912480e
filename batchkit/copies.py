"""Settles the rows that ask what an earlier row asks with that row's answer; nothing is sent.

Copies are read apart from the rows that are asked, with a cursor of their own and in input order,
so neither waits for the other: originals are fed without a thought for copies, and a copy whose
original has not settled yet holds up only the copies behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec

from batchkit.document import Document
from batchkit.journal import DamagedError, Settled
from batchkit.plan import Role
from batchkit.planned_rows import PlannedRows
from batchkit.records import Request, Result, Usage

BATCH_ROWS = 512  # copies that are read at once


class Store(Protocol):
    """Where answers are kept (the journal)."""

    path: Path

    def answer(self, digest: int) -> Result | None: ...


class Copy(msgspec.Struct, frozen=True):
    """A row that waits for its original's answer, and what travels along with it."""

    row: int
    custom_id: str
    digest: int
    metadata: str | None
    keep: list[Any] | None


class Copies:
    """A run's copies that have not settled. Methods block for I/O: call them from a thread."""

    def __init__(self, rows: PlannedRows, store: Store, wall: Callable[[], float]) -> None:
        """`wall` tells seconds since the epoch."""
        self._rows = rows
        self._store = store
        self._wall = wall
        self._wanted = rows.walk(lambda entry: entry.role == Role.COPY)

    def batch(self) -> list[Copy]:
        """The next copies; empty at the end. Raises `StoppedError` if one is not as planned."""
        wanted = dict(islice(self._wanted, BATCH_ROWS))
        asked = self._rows.read(wanted) if wanted else []
        return [_copy(one, wanted[one.row].digest) for one in asked]

    def settle(self, copies: list[Copy]) -> tuple[list[Settled], list[Copy]]:
        """Results for those whose original has settled, and the others."""
        answers = {digest: self._store.answer(digest) for digest in {one.digest for one in copies}}
        now = self._wall()
        settled: list[Settled] = []
        waiting: list[Copy] = []
        for copy in copies:
            answer = answers[copy.digest]
            if answer is None:
                waiting.append(copy)
            else:
                settled.append(Settled(_result(answer, copy, now), None))
        return settled, waiting

    def unanswered(self, copy: Copy) -> DamagedError:
        """What to raise for a copy whose original has settled without a kept answer."""
        return DamagedError(
            f"{self._store.path}: the answer that row {copy.row} waits for is missing; "
            "the file was damaged"
        )

    def close(self) -> None:
        """Close the cursor."""
        self._rows.close()


def _copy(asked: Request | Document, digest: int) -> Copy:
    return Copy(asked.row, asked.custom_id, digest, asked.metadata, asked.keep)


def _result(answer: Result, copy: Copy, now: float) -> Result:
    return msgspec.structs.replace(
        answer,
        row=copy.row,
        custom_id=copy.custom_id,
        usage=Usage(),
        cost=0,
        attempts=0,
        latency_s=None,
        total_s=0.0,
        finished_at=now,
        metadata=copy.metadata,
        keep=copy.keep,
        deduplicated=True,
    )
