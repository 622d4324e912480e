"""Originals on their way: rows whose answers copies wait for, from feeding to the commit.

An answer is kept in the transaction of its original's result: what has settled can be copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import anyio
import msgspec

from batchkit.journal import KeptAnswer, Settled
from batchkit.records import Result


class Originals:
    """The digests of originals that were fed, by row, and who waits for them."""

    def __init__(self) -> None:
        self._digests: dict[int, int] = {}  # as many as rows are on their way
        self._wanted: set[int] = set()
        self._arrived = anyio.Event()
        self.is_over = False  # no more answers will arrive

    def expect(self, row: int, digest: int) -> None:
        """An original is fed; may be called from another thread, before its row can settle."""
        self._digests[row] = digest

    def answers(self, settled: Sequence[Settled]) -> list[KeptAnswer]:
        """What is to be kept of rows that settle now."""
        return [
            kept_answer(self._digests.pop(one.result.row), one.result)
            for one in settled
            if one.result.row in self._digests
        ]

    def arrive(self, answers: Iterable[KeptAnswer]) -> None:
        """Wake who waits for one of `answers`, which are durable."""
        if any(one.digest in self._wanted for one in answers):
            self._arrived.set()

    def end(self) -> None:
        """Nothing more is fed, and what was fed has ended."""
        self.is_over = True
        self._arrived.set()

    def want(self, digests: Iterable[int]) -> anyio.Event:
        """An event for the next answer out of `digests`, or the end; call it before looking."""
        self._wanted = set(digests)
        self._arrived = anyio.Event()
        if self.is_over:
            self._arrived.set()
        return self._arrived


def kept_answer(digest: int, result: Result) -> KeptAnswer:
    """What copies need of an original's result; what travels along is each row's own."""
    return KeptAnswer(digest, msgspec.structs.replace(result, metadata=None, keep=None))
