"""Reads one lane's rows as its workers want them.

Each lane has its own cursor over the input, so a slow one never holds up a fast one. Rows come in
input order, with three exceptions. So that no long one begins when the others have ended (LPT;
Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 1969), the rows with the
longest prompts of all come first, if the file can be read anywhere, and the last rows come longest
first. What is known of a length is the prompt's, and the answer's that is allowed. How much it
brings is in `benchmarks/README.md`. And where the provider's cache makes it cheaper, rows that
begin alike are near each other, see `prefix_order`. Copies of other rows are not fed, see `copies`.
While the plan still grows (`growth`), rows come as soon as they are planned, and which are the
longest or the last is not known. `batch` blocks for I/O and runs in a worker thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from heapq import nlargest
from typing import Protocol

from batchkit.assembly import Assembly
from batchkit.attempts import tokens_of
from batchkit.document import Document
from batchkit.journal import SettledChunk
from batchkit.life import Fed
from batchkit.plan import Entry, Role
from batchkit.planned_rows import PlannedRows
from batchkit.prefix_order import WINDOW, PrefixOrder
from batchkit.records import Prior, Request

TOKENS_MOST = 4_000_000  # of the prompts that are read at once: some 16 MB


class Store(Protocol):
    """What a feeder reads of the journal."""

    def chunks(self, first: int, last: int) -> Iterator[SettledChunk]: ...


class Feeder:
    """The rows of one lane that have not settled, as requests."""

    def __init__(
        self,
        *,
        rows: PlannedRows,
        model: str,
        store: Store,
        prior: Mapping[int, Prior],
        batch_requests: int,
        first_requests: int,
        last_requests: int,
        takes: Callable[[int], bool],
        bounds: Mapping[str, Callable[[Request | Document], int]],
        near: PrefixOrder | None = None,
        expect: Callable[[int, int], None] = lambda _row, _digest: None,
        only: frozenset[int] | None = None,
    ) -> None:
        """The rows of `model` whose estimated prompt tokens the lane `takes`.

        Those with the longest prompts come first, up to `first_requests`, unless there are few; the
        last of them, up to `last_requests`, come longest first. `bounds` tells the most that an
        attempt can cost, by the lane that may make it. `near` orders rows that begin alike.
        `expect` is told the row and the digest of each original, before it is fed. `only` are the
        rows to ask at all; None for every one.
        """
        self._rows = rows
        self._model = model
        self._models = rows.plan.models  # may grow, before rows come that name them
        self._prior = prior
        self._batch_requests = batch_requests
        self._only = only
        self._first_requests = first_requests
        self._last_requests = last_requests
        self._takes = takes
        self._bound_of = bounds
        self._store = store
        self._near = near
        self._window = 0  # requests that are ordered together, if their prompts can be held
        self._expect = expect
        self._came_first: frozenset[int] = frozenset()
        self._known = 0  # rows that were walked
        self._walking: Iterator[tuple[int, Entry]] = iter(())
        self._ahead: deque[tuple[int, Entry]] = deque()
        self._ahead_requests = 0
        self.is_over = False  # no batch will have a row any more
        self.is_waiting = False  # the last had none, and there may be more
        self.last_row = -1  # of the batches so far
        self.bounds = dict.fromkeys(bounds, 0)  # PICO; the most that one attempt of them can cost
        self.most_requests = 1  # that one of their rows is

    def batch(self) -> list[Fed]:
        """The next rows, up to about `batch_requests` requests; empty when there are none now.

        Raises `StoppedError` if a row is not what was planned.
        """
        first = self._longest() if self._first_requests else {}
        self._first_requests = 0
        if not first:
            wanted = self._next_wanted()
            return self._read(wanted, is_ordered=bool(self._ahead)) if wanted else []
        self._came_first = frozenset(first)
        fed = self._read(first, is_ordered=False)
        self._rows.rewind()
        return fed

    def close(self) -> None:
        """Close the cursor."""
        self._rows.close()

    # -- which rows --------------------------------------------------------------------------------

    def _is_asked(self, entry: Entry) -> bool:
        if entry.invalid or entry.role == Role.COPY:
            return False
        return self._models[entry.model] == self._model and self._takes(entry.mean_tokens)

    def _walk(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Entry]]:
        for row, entry in self._rows.walk(self._is_asked, start, stop):
            if row not in self._came_first and (self._only is None or row in self._only):
                yield row, entry

    def _next(self, known: int) -> tuple[int, Entry] | None:
        """The next of the first `known` rows that is wanted."""
        one = next(self._walking, None)
        if one is None and self._known < known:
            self._walking = self._walk(self._known, known)
            self._known = known
            one = next(self._walking, None)
        return one

    def _longest(self) -> dict[int, Entry]:
        """The rows that come first, in input order; none if all of them can be ordered at once."""
        most, requests = self._batch_requests + self._last_requests, 0
        for _, entry in self._walk():
            requests += entry.requests
            if requests >= most:
                break
        if requests < most:
            return {}
        most = self._first_requests
        longest = nlargest(most, self._walk(), key=lambda one: one[1].prompt_tokens)
        fitting = 0
        requests = tokens = 0
        for _, entry in longest:
            requests, tokens = requests + entry.requests, tokens + entry.prompt_tokens
            if requests > most or tokens > TOKENS_MOST:
                break
            fitting += 1
        return dict(sorted(longest[:fitting]))

    def _next_wanted(self) -> dict[int, Entry]:
        """A batch, or everything that is left if that can be ordered at once."""
        size = max(self._batch_requests, self._window)
        most = size + self._last_requests
        known, are_all = self._rows.known
        while self._ahead_requests < most and (one := self._next(known)) is not None:
            self._ahead.append(one)
            self._ahead_requests += one[1].requests
        self.is_over = are_all and not self._ahead
        self.is_waiting = not are_all and not self._ahead
        tokens = sum(entry.prompt_tokens for _, entry in self._ahead)
        is_last = are_all and self._ahead_requests < most and tokens <= TOKENS_MOST
        wanted: dict[int, Entry] = {}
        requests = tokens = 0
        while self._ahead and (is_last or not wanted or (requests < size and tokens < TOKENS_MOST)):
            row, entry = self._ahead.popleft()
            wanted[row] = entry
            requests += entry.requests
            tokens += entry.prompt_tokens
        self._ahead_requests -= requests
        return wanted

    # -- reading them ------------------------------------------------------------------------------

    def _read(self, wanted: dict[int, Entry], *, is_ordered: bool) -> list[Fed]:
        self.most_requests = max(self.most_requests, *(e.requests for e in wanted.values()))
        rows = self._rows.read(wanted)
        for asked in rows:
            self._note(asked, wanted[asked.row])
        if not is_ordered:
            rows.sort(key=_tokens_of, reverse=True)
        if self._near is not None:
            rows = self._near.order(rows)
            self._window = WINDOW  # from now on: the first batch is soon there
        return [fed for asked in rows for fed in self._fed(asked)]

    def _note(self, asked: Request | Document, entry: Entry) -> None:
        self.last_row = max(self.last_row, asked.row)
        for lane, bound_of in self._bound_of.items():
            self.bounds[lane] = max(self.bounds[lane], bound_of(asked))
        if entry.role == Role.ORIGINAL:
            self._expect(asked.row, entry.digest)

    def _fed(self, asked: Request | Document) -> list[Fed]:
        if isinstance(asked, Request):
            return [Fed(asked, self._prior.get(asked.row))]
        return self._chunks(asked)

    def _chunks(self, document: Document) -> list[Fed]:
        """The chunks of a document that lack an answer; if none does, one to settle it with."""
        row = document.row
        prior = self._prior.get(row)
        known = [] if prior is None else self._store.chunks(row, row + 1)
        assembly = Assembly(document, prior, known)
        chunks = assembly.missing() or document.chunks[-1:]
        return [Fed(chunk, assembly.prior(chunk), assembly) for chunk in chunks]


def _tokens_of(asked: Request | Document) -> int:
    if isinstance(asked, Request):
        return tokens_of(asked)
    return sum(map(tokens_of, asked.chunks)) + (asked.last_tokens or 0)
