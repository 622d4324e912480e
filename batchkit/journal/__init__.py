"""The journal: an SQLite file that holds the plan and every row that is not in a sealed part yet.

Rules of the file:

1. A group is committed in one transaction, in WAL mode with `synchronous=FULL`: when `commit`
   returns, the group survives a power cut (sqlite.org, "PRAGMA synchronous", "Write-Ahead Log").
2. The tally is written in the transaction of the rows that it counts: never ahead, never behind.
3. A row settles once: the primary key refuses a second result.
4. Every value carries a checksum, seeded with its row's key: SQLite notices neither a flipped byte
   in a value nor a value that stands under another key.
5. One connection writes. Sealing and `status` read through connections of their own.
"""

from __future__ import annotations

from batchkit.journal.tables import FORMAT
from batchkit.journal.values import (
    DamagedError,
    EndedChunk,
    KeptAnswer,
    Planned,
    Record,
    SealedPart,
    Settled,
    SettledChunk,
    open_value,
    seal_value,
)
from batchkit.journal.writing import Journal

__all__ = [
    "FORMAT",
    "DamagedError",
    "EndedChunk",
    "Journal",
    "KeptAnswer",
    "Planned",
    "Record",
    "SealedPart",
    "Settled",
    "SettledChunk",
    "open_value",
    "seal_value",
]
