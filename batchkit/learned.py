"""What was learned of an account's limits, kept in the user's state folder for the next run.

The service publishes no account's limit and no answer tells it, so it is worth remembering: per
endpoint, key (a fingerprint of it) and model, for each hour of the day in China, since limits
shrink on weekday afternoons there (docs.bigmodel.cn, rate-limit).

What is kept of a run is not where its limit stood when it ended. After an outage, or just after a
cut, that is too low, and a start that is too low costs the next run a dozen round trips of growing,
while one that is too high costs it one round trip of refusals. So the most is kept that was let in
for a whole round trip (`Evidence`), of the last few minutes in which anything was: an outage proves
nothing and takes nothing away, and a limit that has shrunk for good is learned in as many minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from batchkit.clock import CHINA
from batchkit.state_file import StateFile

STALE_S = 30 * 86_400.0  # an account's level may have changed
_MINUTES = 5  # with evidence; growing back from a single slot to thousands takes less
_MINUTE_S = 60.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS learned (
    endpoint TEXT, key TEXT, model TEXT, hour INTEGER, slots INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (endpoint, key, model, hour)
) WITHOUT ROWID
"""


class Learned(msgspec.Struct, frozen=True):
    """How many requests of a model an account let in."""

    endpoint: str
    key: str  # a fingerprint
    model: str
    hour: int  # of the day, in China
    slots: int
    at: float  # seconds since the epoch


class Evidence:
    """What a run has seen one account let in of one model."""

    def __init__(self) -> None:
        self._most: dict[int, int] = {}  # slots by minute, oldest first
        self._is_walled: dict[int, bool] = {}

    def note(self, slots: int, *, is_walled: bool, now: float) -> None:
        """`slots` were in flight for a round trip; `is_walled` if more would have been refused."""
        minute = int(now // _MINUTE_S)
        self._most[minute] = max(slots, self._most.get(minute, 0))
        self._is_walled[minute] = is_walled or self._is_walled.get(minute, False)
        while len(self._most) > _MINUTES:
            del self._is_walled[(oldest := min(self._most))], self._most[oldest]

    def worth_keeping(self, known: int | None) -> int | None:
        """Where the next run should start, if that is news to who knows `known`.

        A run that was held back by something else than the account knows no more than that as many
        are let in: news only for who believes in less.
        """
        if not self._most:
            return None
        most = max(self._most.values())
        if any(self._is_walled.values()) or (known is not None and most > known):
            return None if most == known else most
        return None


def state_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/batchkit`, by default `~/.local/state/batchkit` (XDG Base Directory)."""
    home = environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local/state") / "batchkit"


def key_fingerprint(key: str | None) -> str:
    """What a key can be known by again, without being told."""
    digest = hashlib.blake2b((key or "").encode(), digest_size=8, person=b"batchkit key")
    return digest.hexdigest()


class LearnedLimits:
    """The state file; where it cannot be used, nothing was learned."""

    def __init__(self, folder: Path) -> None:
        self._file = StateFile(folder / "limits.db", _SCHEMA)

    def start(self, endpoint: str, key: str, model: str, *, now: float) -> int | None:
        """Where to start: what was learned at this hour, else what was learned last."""
        found = [one for one in self.all() if (one.endpoint, one.key) == (endpoint, key)]
        fresh = [one for one in found if one.model == model and now - one.at < STALE_S]
        if not fresh:
            return None
        same_hour = [one for one in fresh if one.hour == _hour(now)]
        return max(same_hour or fresh, key=lambda one: one.at).slots

    def learn(self, endpoint: str, key: str, model: str, slots: int, *, now: float) -> None:
        """Remember that `slots` were let in."""
        values = (endpoint, key, model, _hour(now), slots, now)
        self._file.execute("INSERT OR REPLACE INTO learned VALUES (?, ?, ?, ?, ?, ?)", *values)

    def all(self) -> list[Learned]:
        """Everything that was learned, the latest first."""
        rows = self._file.execute("SELECT * FROM learned ORDER BY at DESC")
        return [msgspec.convert(row, Learned, strict=False) for row in map(_named, rows)]

    def forget(self) -> int:
        """Forget everything; how many entries that were."""
        return len(self._file.execute("DELETE FROM learned RETURNING slots"))


def _named(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(Learned.__struct_fields__, row, strict=True))


def _hour(now: float) -> int:
    return datetime.fromtimestamp(now, CHINA).hour
