"""What holds a run back, in one word, looked at every now and then from the engine's own counters.

In this order, the first that fits: the purse waits (`budget`); the recorder's backlog is full and
the process not busy (`recorder`); the event loop comes late (`client`); slots are taken (`limit`);
slots are free since requests wait to be tried again (`endpoint`), or since no rows are there though
the process is not busy (`input`), or else (`client`).

A disk is waited for with an idle processor. Where the processor is busy the backlog fills as well,
since the recorder shares it, and a faster disk would help nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

import msgspec

_TAKEN = 0.9  # share of the limit from which on it is what binds
_BUSY = 0.8  # share of a core; the engine's own threads then wait for each other
_FULL = 0.5  # share of the recorder's bound
_LATE_S = 0.1  # of the loop; a look comes every quarter of a second


class Bound(StrEnum):
    """What more of would make the run faster."""

    LIMIT = "limit"
    ENDPOINT = "endpoint"
    INPUT = "input"
    CLIENT = "client"
    RECORDER = "recorder"
    BUDGET = "budget"


REMEDIES = {
    Bound.LIMIT: "all slots were taken; more of them would help",
    Bound.ENDPOINT: "the service is in trouble; nothing here would help",
    Bound.INPUT: "the input is slow to read; a plain or columnar file on a faster disk would help",
    Bound.CLIENT: "the processor is busy; another process on a free core (--processes), "
    "or a faster core, would help",
    Bound.RECORDER: "the disk is slow to sync; a run folder on a faster disk would help (-o)",
    Bound.BUDGET: "the budget holds attempts back; --budget",
}


class LaneLook(msgspec.Struct, frozen=True):
    """One model's counters at one moment."""

    in_flight: int
    limit: int
    backing_off: int
    waiting_rows: int  # read, and not yet taken by a worker
    is_exhausted: bool  # no rows will come any more


def bound_of(
    lanes: list[LaneLook], *, lag_s: float, cpu: float, backlog: float, waits_for_money: bool
) -> Bound | None:
    """What binds now; None when no rows are left to send.

    `cpu` is the share of a core of the busiest process of this run, `lag_s` the most by which an
    event loop of theirs came late, `backlog` the recorder's share of its bound.
    """
    pending = [lane for lane in lanes if not lane.is_exhausted]
    if not pending:
        return None
    if waits_for_money:
        return Bound.BUDGET
    if backlog >= _FULL and cpu < _BUSY:
        return Bound.RECORDER
    return Bound.CLIENT if lag_s >= _LATE_S else _of_slots(pending, cpu)


def _of_slots(pending: list[LaneLook], cpu: float) -> Bound:
    free = [lane for lane in pending if lane.in_flight < _TAKEN * lane.limit]
    if not free:
        return Bound.LIMIT
    if any(lane.backing_off >= lane.limit - lane.in_flight for lane in free):
        return Bound.ENDPOINT
    is_starved = cpu < _BUSY and any(lane.waiting_rows == 0 for lane in free)
    return Bound.INPUT if is_starved else Bound.CLIENT


class Binding:
    """Counts the looks at a run by what bound it then."""

    def __init__(self) -> None:
        self.looks: Counter[str] = Counter()
        self.now: Bound | None = None

    def look(self, bound: Bound | None) -> None:
        self.now = bound
        if bound is not None:
            self.looks[bound] += 1


def mostly(looks: Mapping[str, int]) -> Bound | None:
    """The word that fitted most often; None if nothing was ever pending."""
    return Bound(max(looks, key=lambda word: looks[word])) if looks else None
