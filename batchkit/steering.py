"""The task that steers a run while it goes on, several times a second.

It takes what the user asks for (`tuning`), tells the account's other runs what this one needs and
hears its share (`leases`), and keeps what is learned of the account.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread

from batchkit.attempts import Clock
from batchkit.lane_plan import split
from batchkit.learned import LearnedLimits
from batchkit.leases import LOAN_S, TROUBLE, Leases, is_busy
from batchkit.reins import Reins
from batchkit.shares import Alone, Ask, Lender, Share
from batchkit.tuning import Answer, Tune, Wishes
from batchkit.wording import reason, shown, shown_names

_EVERY_S = 0.2
_KEEP_EVERY_S = 60.0
_SAY_AFTER_S = 3.0


class Steering:
    """The reins of all lanes, and who says what they may do."""

    def __init__(
        self,
        reins: Sequence[Reins],
        lender: Lender,
        *,
        state: Path,
        wishes: Wishes,
        learned: LearnedLimits | None,
        make_room: Callable[[Mapping[str, int]], Awaitable[str | None]],
        say: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._reins = reins
        self._lender = lender
        self._state = state
        self._wishes = wishes
        self._learned = learned
        self._make_room = make_room
        self._say = say
        self._clock = clock
        self._kept_at = clock.now()
        self._lent_at = -math.inf

    @property
    def is_paused(self) -> bool:
        """Whether the user wants nothing to be sent."""
        return any(reins.is_paused for reins in self._reins)

    @property
    def runs(self) -> dict[str, int]:
        """By lane, the runs that share the account, this one included."""
        return {reins.name: reins.runs for reins in self._reins}

    async def start(self) -> None:
        """Take the first shares; before that nothing may be sent."""
        self._wishes.sweep()
        await self._share()

    async def run(self) -> None:
        """Steer until cancelled."""
        began, is_told = self._clock.now(), False
        while True:
            await anyio.sleep(_EVERY_S)
            if not is_told and self._clock.now() - began >= _SAY_AFTER_S:
                is_told = True
                self._tell_of_others()
            for wish in self._wishes.take():
                wish.answer(await self.tune(wish.tune))
            await self._share()
            if self._clock.now() - self._kept_at >= _KEEP_EVERY_S:
                self._kept_at = self._clock.now()
                await anyio.to_thread.run_sync(self.keep)

    def keep(self) -> None:
        """Keep what was learned of the account for the next run."""
        if self._learned is None:
            return
        now = self._clock.wall()
        for reins in self._reins:
            slots = reins.evidence.worth_keeping(reins.start)
            if slots is not None:
                reins.start = slots
                account = reins.account
                self._learned.learn(account.endpoint, account.key, account.model, slots, now=now)

    def close(self, *, is_quiet: bool) -> None:
        """Give the account back to the others; `is_quiet` if nothing was broken off in flight."""
        with suppress(*TROUBLE):  # what it held is fenced, and then free
            self._lender.close(is_quiet=is_quiet)

    def _tell_of_others(self) -> None:
        """Say why nothing is sent yet: a share comes at once, unless others' requests are long."""
        for reins in self._reins:
            if not reins.ceiling and not reins.is_paused:
                self._say(
                    f"{reins.name}: other runs have requests in flight in all {reins.table:,} "
                    "slots of the account; waiting for a share"
                )

    async def _share(self) -> None:
        now = self._clock.now()
        asks = [reins.ask() for reins in self._reins]
        shares = await self._lend(asks, now)
        for reins, ask, share in zip(self._reins, asks, shares, strict=False):
            reins.take(share, ask.heard, self._clock.wall())

    async def _lend(self, asks: list[Ask], now: float) -> list[Share]:
        """The shares for `asks`, or nothing if that is to be asked again."""
        try:
            shares = await anyio.to_thread.run_sync(self._lender.exchange, asks, now)
        except TROUBLE as error:
            if is_busy(error) and now < self._lent_at + LOAN_S:
                return []
            with suppress(*TROUBLE):
                self._lender.close(is_quiet=False)
            self._lender = alone(self._state, error, self._say)
            shares = self._lender.exchange(asks, now)
        self._lent_at = now
        return shares

    async def tune(self, tune: Tune) -> Answer:
        """Do what the user wants, or say why not; either holds from this moment on."""
        by_name = {reins.name: reins for reins in self._reins}
        models = {reins.model for reins in self._reins}
        for name in tune.concurrency:
            if name and name not in models:
                known = shown_names(sorted(models))
                return Answer(
                    refused=f"--concurrency: {shown(name)} is no model of this run: {known}"
                )
        wanted = self._by_lane({model: tune.ceiling(model) for model in models})
        allowed = {name: min(slots, by_name[name].table) for name, slots in wanted.items()}
        refusal = await self._make_room({n: r.allowed for n, r in by_name.items()} | allowed)
        if refusal is not None:
            return Answer(refused=refusal)
        lines = [by_name[name].words(slots) for name, slots in wanted.items()]
        for name, slots in allowed.items():
            by_name[name].allow(slots)
        if tune.paused is not None:
            for reins in self._reins:
                reins.pause(is_paused=tune.paused)
            lines.append(self._pause_words())
        return Answer(lines=lines)

    def _by_lane(self, ceilings: Mapping[str, int | None]) -> dict[str, int]:
        """What the user wants of models, by lane; a model's lanes share what it may have."""
        wanted: dict[str, int] = {}
        for model, slots in ceilings.items():
            lanes = [reins for reins in self._reins if reins.model == model]
            if slots is None:
                continue
            parts = [slots] if len(lanes) == 1 else split(slots, lanes[-1].table)
            wanted |= {reins.name: part for reins, part in zip(lanes, parts, strict=True)}
        return {reins.name: wanted[reins.name] for reins in self._reins if reins.name in wanted}

    def _pause_words(self) -> str:
        if not self.is_paused:
            return "not paused"
        in_flight = sum(reins.in_flight for reins in self._reins)
        return f"paused: nothing more is sent; {in_flight:,} requests in flight finish"


def open_lender(folder: Path, say: Callable[[str], None]) -> Lender:
    """The account's runs on this machine; this one alone if the state folder cannot be used."""
    try:
        return Leases(folder)
    except TROUBLE as error:
        return alone(folder, error, say)


def alone(folder: Path, error: Exception, say: Callable[[str], None]) -> Lender:
    """No others, since nothing can be known of them."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    say(
        f"{folder}: the state folder cannot be used: {reason(words)}; the run goes on without "
        "knowing of others with the same key; mend it, or set XDG_STATE_HOME"
    )
    return Alone()
