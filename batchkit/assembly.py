"""A document in flight: which of its chunks have settled, and the result that they come to.

It holds the answers in memory from the document's first request of this start to its result.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from batchkit.document import Document
from batchkit.journal import SettledChunk
from batchkit.records import Prior, Request, Result
from batchkit.requests import digest


class Assembly:
    """One document's answers."""

    __slots__ = ("_began_at", "_document", "_known", "_last", "_result", "_results", "_spent")

    def __init__(
        self, document: Document, prior: Prior | None, settled: Iterable[SettledChunk] = ()
    ) -> None:
        """`prior` is what earlier starts spent on the row, `settled` what they were answered.

        An answer counts for the request that it was given to, whatever its number has become.
        """
        self._document = document
        self._spent = prior or Prior()
        self._began_at = self._spent.first_at
        self._known = {one.chunk: one for one in settled}
        self._results: dict[int, Result] = {}
        self._last: Request | None = None  # the request that joins the answers
        self._result: Result | None = None  # of the join
        for chunk in document.chunks:
            self._recall(chunk)

    def missing(self) -> list[Request]:
        """Chunks that have not settled; the request that joins them is not known yet."""
        return [chunk for chunk in self._document.chunks if self.lacks(chunk)]

    def lacks(self, request: Request) -> bool:
        return request.chunk not in self._results

    @property
    def is_complete(self) -> bool:
        """Whether every request that is known of has settled."""
        known = len(self._document.chunks) + (self._last is not None)
        return len(self._results) == known

    def prior(self, request: Request) -> Prior | None:
        """How often a chunk was begun in earlier starts; what that cost is the document's."""
        begun = self._begun(request.chunk)
        return Prior(begun, first_at=self._spent.first_at) if begun else None

    def settle(self, chunk: int, result: Result, now: float) -> SettledChunk:
        """Take in the result of a chunk that has settled at `now`; what is to be kept of it."""
        assert chunk not in self._results, f"chunk {chunk} of row {result.row} settled twice"
        request = self._request(chunk)
        self._results[chunk] = result
        if self._began_at is None or now - result.total_s < self._began_at:
            self._began_at = now - result.total_s
        self._spent = msgspec.structs.replace(
            self._spent,
            attempts=self._spent.attempts + result.attempts - self._begun(chunk),
            usage=self._spent.usage + result.usage,
            cost=self._spent.cost + result.cost,
        )
        return SettledChunk(digest(request), result, chunk)

    def following(self) -> Request | None:
        """The request that joins the answers, if one does and it was not answered yet."""
        assert self.is_complete
        if self._failed() is not None:
            return None
        joined = self._document.join([self._results[n] for n in sorted(self._results)])
        if isinstance(joined, Result):
            self._result = joined
            return None
        self._last = joined
        self._recall(joined)
        return joined if self.lacks(joined) else None

    def result(self, now: float) -> Result:
        """The document's result, once it is complete and nothing follows."""
        assert self.is_complete
        document = self._document
        chosen = self._failed() or self._result
        if chosen is None:
            assert self._last is not None
            assert self._last.chunk is not None
            chosen = self._results[self._last.chunk]
        return msgspec.structs.replace(
            chosen,
            usage=self._spent.usage,
            cost=self._spent.cost,
            attempts=self._spent.attempts,
            total_s=now - (self._began_at or now),
            finished_at=now,
            metadata=document.metadata,
            keep=document.keep,
        )

    def _failed(self) -> Result | None:
        """The result of the first chunk that failed, its message with the chunk's place."""
        for number in sorted(self._results):
            result = self._results[number]
            if result.status == "failed":
                message = f"{self._place(number)}: {result.error_message}"
                return msgspec.structs.replace(result, error_message=message)
        return None

    def _place(self, number: int) -> str:
        total = len(self._document.chunks)
        return f"{self._document.word} {number} of {total}" if number <= total else "join"

    def _request(self, chunk: int) -> Request:
        """The request as it was first asked: a repair asks with other messages."""
        if chunk <= len(self._document.chunks):
            return self._document.chunks[chunk - 1]
        assert self._last is not None
        return self._last

    def _begun(self, chunk: int | None) -> int:
        return self._spent.chunks.get(chunk or 0, 0)

    def _recall(self, request: Request) -> None:
        """Take over the answer that an earlier start had to this very request."""
        assert request.chunk is not None
        known = self._known.get(request.chunk)
        if known is not None and known.digest == digest(request):
            self._results[request.chunk] = known.result
