"""How runs with the same key share what their account allows: arithmetic alone.

Each run tells now and then what it could use and what it may be using, and is told its share:

1. What all runs together may be using never exceeds what the account is said to allow. A run whose
   share falls takes no slot above it any more, and tells so as what is in flight ends; only then
   has another run more.
2. Shares are equal, and what a run cannot use the others may (max-min fairness: Bertsekas and
   Gallager, Data Networks, 6.5.2). What nobody needs stays with whoever has it, so that more rows
   find slots at once, until another run needs it.
3. Every run finds out for itself how many of its slots the account lets in. What it hears moves the
   *wall*, what the account lets in of all runs together, by as much; and the wall is shared like
   the slots. So what was learned belongs to the account, however many learn it, and a run that
   comes or goes changes it by nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Account(msgspec.Struct, frozen=True):
    """Whose slots they are: the service counts them per account and model."""

    endpoint: str
    key: str  # a fingerprint
    model: str


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What one run tells of one model."""

    account: Account
    cap: int  # what the account is said to allow
    most: int  # slots it would take
    needs: int  # slots it could use now
    holds: int  # slots it may be using until it is told otherwise
    in_flight: int
    knows: int  # of its slots, how many are let in as far as it knows
    heard: int = 0  # by how much that has changed by answers and refusals since the last time
    longest_s: float = 0.0  # what a request of it can take
    start: int | None = None  # the wall, as an earlier run has learned it


class Holding(msgspec.Struct, frozen=True):
    """What another run has told last."""

    needs: int
    holds: int
    in_flight: int
    knows: int


class Others(msgspec.Struct, frozen=True):
    """The other runs with slots of the same account, in the order in which they came."""

    before: Sequence[Holding] = ()
    after: Sequence[Holding] = ()
    fenced: Sequence[Holding] = ()  # that have ended, but whose requests may not have

    @property
    def living(self) -> list[Holding]:
        return [*self.before, *self.after]


class Share(msgspec.Struct, frozen=True):
    """What one run may use."""

    ceiling: int  # slots; 0 while others hold them all
    known: int  # of these, how many are believed to be let in; at least 1
    runs: int  # that share the account
    others_in_flight: int
    lent_until: float = float("inf")  # monotonic seconds


class Lender(Protocol):
    """Who says which share a run has."""

    def exchange(self, asks: Sequence[Ask], now: float) -> list[Share]: ...
    def close(self, *, is_quiet: bool) -> None: ...


class Alone:
    """Lends a run all that the account is said to allow."""

    def __init__(self) -> None:
        self._walls: dict[Account, int | None] = {}

    def exchange(self, asks: Sequence[Ask], now: float) -> list[Share]:  # noqa: ARG002  # nobody else to time
        """The share for each of `asks`."""
        return [self._share(ask) for ask in asks]

    def _share(self, ask: Ask) -> Share:
        wall = self._walls.setdefault(ask.account, ask.start)
        self._walls[ask.account] = wall = wall_after(wall, ask, Others())
        return share_of(ask, wall, Others())

    def close(self, *, is_quiet: bool) -> None:
        pass


def share_of(ask: Ask, wall: int | None, others: Others) -> Share:
    """What the run that asks may use from now on, with `wall` as `wall_after` gave it."""
    place = len(others.before)
    needs = [one.needs for one in others.living]
    needs.insert(place, ask.needs)
    fenced = sum(one.holds for one in others.fenced)
    left = ask.cap - fenced - sum(one.holds for one in others.living)
    fair = _with_what_nobody_needs(max(0, ask.cap - fenced), needs, place)
    ceiling = min(ask.most, fair, max(ask.holds, left))
    others_in_flight = sum(one.in_flight for one in others.living)
    known = ceiling
    if wall is not None:
        taken = others_in_flight + sum(one.in_flight for one in others.fenced)
        part = _with_what_nobody_needs(min(wall, ask.cap), needs, place)
        known = min(ceiling, part, wall - taken)
    return Share(ceiling, max(1, known), 1 + len(others.living), others_in_flight)


def wall_after(wall: int | None, ask: Ask, others: Others) -> int | None:
    """The account's wall, with what the run that asks has heard; None for as much as is said."""
    if not ask.heard:
        return wall
    after = ask.heard + (ask.cap if wall is None else wall)
    if ask.heard < 0:
        others_know = sum(one.knows for one in others.living)
        others_use = sum(one.in_flight for one in others.living)
        after = min(after, ask.knows + others_know)  # more than was in use cannot be known
        after = max(after, ask.knows + others_use)  # what is in flight was let in
    after = max(1, after)
    return None if after >= ask.cap else after


def _with_what_nobody_needs(whole: int, needs: Sequence[int], place: int) -> int:
    parts = fair_parts(whole, needs)
    return parts[place] + whole - sum(parts)


def fair_parts(whole: int, needs: Sequence[int]) -> list[int]:
    """`whole` in equal parts, none above its need; who came first has what cannot be divided."""
    parts = [0] * len(needs)
    left = whole
    while unmet := [place for place, need in enumerate(needs) if parts[place] < need]:
        level = left // len(unmet)
        if not level:
            unmet, level = unmet[:left], 1
        for place in unmet:
            more = min(level, needs[place] - parts[place])
            parts[place] += more
            left -= more
        if not left:
            break
    return parts
