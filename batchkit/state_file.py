"""One table in the user's state folder, for what is worth knowing there and never needed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

_BUSY_S = 5.0  # others are done within milliseconds


class StateFile:
    """A small SQLite file, opened for each statement. One that cannot be used is an empty one."""

    def __init__(self, path: Path, schema: str) -> None:
        """`schema` makes the table, if it is not there."""
        self._path = path
        self._schema = schema

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement as a transaction; its rows, or none if the file cannot be used."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as db, db:
                db.execute(self._schema)
                return db.execute(statement, values).fetchall()
        except (OSError, sqlite3.Error):
            return []
