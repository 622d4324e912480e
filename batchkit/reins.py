"""What one lane of a run tells of its slots, and how it takes what it is told.

The least of three counts: what the user allows, which can change while the run goes on, and is
nothing during a pause; what the table says; and the share of what the account allows (`shares`).
"""

from __future__ import annotations

import math
from collections import deque
from functools import partial

from batchkit.adaptive import AdaptiveLimit
from batchkit.learned import Evidence
from batchkit.pool import Pool
from batchkit.scheduler import Lane
from batchkit.shares import Account, Ask, Share

_LOOKS = 10  # what a run has used in so many looks is what it needs, …
_ROOM = 1.25  # … and a little more, if slots are not what holds it back
_TAKEN = 0.9  # share of the slots from which on they are
_NEARLY = 0.1  # a share that differs by less from what was found here is not worth a disturbance


class Reins:
    """One lane's slots.

    `table` is what the account is said to allow, `rows` how many it has at most, `start` how many
    slots an earlier run has learned are let in, `patience_s` how long a stop waits for requests.
    """

    def __init__(
        self,
        lane: Lane,
        limit: AdaptiveLimit,
        account: Account,
        *,
        table: int,
        rows: int,
        start: int | None,
        patience_s: float,
    ) -> None:
        self.account = account
        self.table = table
        self.allowed = limit.ceiling  # by the user
        self.is_paused = False
        self.runs = 1  # that share the account, this one included
        self.evidence = Evidence()
        self.start = start
        self._lane = lane
        self._limit = limit
        self._rows = rows
        self._patience_s = patience_s
        self._heard_from = limit.learned
        self._used: deque[int] = deque(maxlen=_LOOKS)
        self._pool.change(partial(limit.resize, 0, 1))  # nothing is sent before a share was taken

    @property
    def name(self) -> str:
        """The lane's."""
        return self._lane.name

    @property
    def model(self) -> str:
        return self._pool.model.name

    @property
    def ceiling(self) -> int:
        """The slots it has at present."""
        return self._limit.ceiling

    @property
    def in_flight(self) -> int:
        return self._pool.gate.in_flight

    def words(self, wanted: int) -> str:
        """What the user is told who wants so many slots."""
        slots = min(wanted, self.table)
        words = f"{self.name}: at most {slots:,} requests in flight, {self.allowed:,} before"
        if slots < wanted:
            words += f"; the table has no more, {wanted:,} were asked for"
        return words

    @property
    def _pool(self) -> Pool:
        return self._lane.pool

    def allow(self, slots: int) -> None:
        """Let the user's ceiling be `slots`: less holds at once, more with the next share."""
        self.allowed = slots
        self._pool.staff(min(slots, self._rows))
        self._hold()

    def pause(self, *, is_paused: bool) -> None:
        """Begin nothing from now on, or go on with the next share."""
        self.is_paused = is_paused
        self._hold()

    def ask(self) -> Ask:
        """What this lane has to tell."""
        in_flight, limit = self._pool.gate.in_flight, self._limit
        self._used.append(in_flight)
        return Ask(
            account=self.account,
            cap=self.table,
            most=self._most,
            needs=self._needs(),
            holds=max(limit.ceiling, in_flight),
            in_flight=in_flight,
            knows=limit.learned if limit.ceiling else 0,
            heard=limit.learned - self._heard_from,
            longest_s=min(self._pool.longest_s, self._patience_s),
            start=self.start,
        )

    def take(self, share: Share, heard: int, now: float) -> None:
        """Use `share` from now on; `heard` is what the answer is to."""
        limit = self._limit
        self._heard_from += heard
        self._set(min(share.ceiling, self._most), self._known(share.known, heard))
        self._pool.gate.lend(share.lent_until)
        self.runs = share.runs
        used = min(limit.slots, self._pool.gate.in_flight)
        if used and limit.is_proven:
            self.evidence.note(used + share.others_in_flight, is_walled=limit.is_walled, now=now)

    @property
    def _most(self) -> int:
        return 0 if self.is_paused else self.allowed

    def _hold(self) -> None:
        if self._most < self._limit.ceiling:
            self._set(self._most, self._limit.learned)

    def _set(self, ceiling: int, known: int) -> None:
        limit = self._limit
        if ceiling != limit.ceiling or (ceiling and min(known, ceiling) != limit.learned):
            self._pool.change(partial(limit.resize, ceiling, known))
            self._heard_from = limit.learned

    def _known(self, part: int, heard: int) -> int:
        """`part`, unless what was found here is as good or newer: others have to hear of it."""
        limit = self._limit
        found = limit.learned
        if not (limit.ceiling and limit.is_walled):
            return part
        is_near = abs(part - found) <= _NEARLY * found
        return found if is_near or found < part < found - heard else part

    def _needs(self) -> int:
        """Slots that this lane could use now."""
        most = min(self._most, self._rows)
        gate, feed = self._pool.gate, self._lane.feed
        if feed.is_closed:
            left = len(feed) + gate.in_flight + gate.waiting + self._pool.backing_off
            return min(most, left)
        if gate.waiting or gate.in_flight >= _TAKEN * self._limit.slots:
            return most
        return min(most, math.ceil(_ROOM * max(self._used)) + 1)
