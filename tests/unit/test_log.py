"""The event log: whole lines, whatever happened before, and never a reason to stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchkit.log import EventLog


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_event_is_one_line(tmp_path: Path) -> None:
    told: list[str] = []
    log = EventLog(tmp_path / "log.jsonl", told.append)
    log.event("row_failed", row=3, kind="timeout")
    log.event("ended", words="two\nlines")
    log.close()
    first, second = lines(tmp_path / "log.jsonl")
    assert (first["event"], first["row"], first["kind"]) == ("row_failed", 3, "timeout")
    assert second["words"] == "two\nlines"
    assert told[0] == "row failed: row 3, kind timeout"


def test_a_torn_last_line_is_ended_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"at": 1, "event": "a"}\n{"at": 2, "ev')
    log = EventLog(path)
    log.event("b")
    log.close()
    first, torn, second = path.read_text("utf-8").splitlines()
    assert json.loads(first)["event"] == "a"
    assert torn == '{"at": 2, "ev'
    assert json.loads(second)["event"] == "b"


def test_a_log_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "missing" / "log.jsonl")
    log.event("started")
    log.close()
