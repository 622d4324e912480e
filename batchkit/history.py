"""What finished runs of a job have measured, kept in the user's state folder for its next plan.

A job is known by what it asks (`Spec.sha256`), not by its input; an endpoint's measurements say
nothing about another's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from batchkit.estimate import Sums
from batchkit.state_file import StateFile

STALE_S = 90 * 86_400.0  # the provider's models change behind their names

_SCHEMA = """
CREATE TABLE IF NOT EXISTS measured (
    job TEXT, endpoint TEXT, model TEXT, at REAL NOT NULL, rows INTEGER NOT NULL,
    sums BLOB NOT NULL, expected_cost REAL, cost REAL, wall_s REAL,
    PRIMARY KEY (job, endpoint, model)
) WITHOUT ROWID
"""

_KEEP = "INSERT OR REPLACE INTO measured VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished run of a job came to on one model."""

    job: str  # digest of what it asks
    endpoint: str
    model: str
    at: float  # seconds since the epoch
    rows: int
    sums: Sums
    expected_cost: float | None = None  # what was estimated when it began
    cost: float | None = None
    wall_s: float | None = None


class History:
    """The state file; where it cannot be used, nothing was measured."""

    def __init__(self, folder: Path) -> None:
        self._file = StateFile(folder / "history.db", _SCHEMA)

    def find(self, job: str, endpoint: str, model: str, *, now: float) -> Measured | None:
        """What was measured of a job, if it is fresh."""
        rows = self._file.execute(
            "SELECT * FROM measured WHERE job = ? AND endpoint = ? AND model = ? AND at > ?",
            job,
            endpoint,
            model,
            now - STALE_S,
        )
        try:
            return _measured(rows[0]) if rows else None
        except msgspec.DecodeError:  # written by another version
            return None

    def keep(self, measured: Measured) -> None:
        """Keep a run's measurements, unless a fresh longer run of the job is there already."""
        before = self.find(measured.job, measured.endpoint, measured.model, now=measured.at)
        if before is not None and before.sums.rows > measured.sums.rows:
            return
        values = [getattr(measured, name) for name in Measured.__struct_fields__]
        values[5] = msgspec.json.encode(measured.sums)
        self._file.execute(_KEEP, *values)


def _measured(row: tuple[Any, ...]) -> Measured:
    values = dict(zip(Measured.__struct_fields__, row, strict=True))
    return msgspec.convert(values | {"sums": msgspec.json.decode(values["sums"])}, Measured)
