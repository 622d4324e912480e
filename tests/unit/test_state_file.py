"""A state file keeps what it is told, and is empty where it cannot be used."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from batchkit.state_file import StateFile

SCHEMA = "CREATE TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY, times INTEGER)"


def test_what_was_kept_is_there_for_the_next_one_to_open_it(tmp_path: Path) -> None:
    path = tmp_path / "new/state.db"
    assert StateFile(path, SCHEMA).execute("INSERT INTO seen VALUES (?, ?)", "a", 3) == []
    assert StateFile(path, SCHEMA).execute("SELECT * FROM seen") == [("a", 3)]


def test_a_statement_that_fails_changes_nothing(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.db", SCHEMA)
    state.execute("INSERT INTO seen VALUES ('a', 1)")
    assert state.execute("INSERT INTO seen SELECT 'b', 2 UNION ALL SELECT 'a', 3") == []
    assert state.execute("SELECT * FROM seen") == [("a", 1)]


def test_a_file_that_cannot_be_used_is_empty(tmp_path: Path) -> None:
    path, content = tmp_path / "state.db", b"not a database, and long enough to be one" * 99
    path.write_bytes(content)
    assert StateFile(path, SCHEMA).execute("SELECT * FROM seen") == []
    assert path.read_bytes() == content
    assert StateFile(path / "below", SCHEMA).execute("SELECT * FROM seen") == []


def test_a_file_that_another_process_holds_for_long_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchkit.state_file._BUSY_S", 0.0)
    state = StateFile(tmp_path / "state.db", SCHEMA)
    state.execute("INSERT INTO seen VALUES ('a', 1)")
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert state.execute("SELECT * FROM seen") == []
    holder.close()
    assert state.execute("SELECT * FROM seen") == [("a", 1)]
