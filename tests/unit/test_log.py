"""The event log: whole lines, whatever happened before, and never a reason to stop."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from batchkit import log as log_module
from batchkit.log import FILES_KEPT, EventLog


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_every_event_is_one_line(tmp_path: Path) -> None:
    told: list[str] = []
    log = EventLog(tmp_path / "log.jsonl", told.append)
    log.event("row_failed", row=3, kind="timeout")
    log.event("ended", words="two\nlines\u2028 \x1b[31m")
    log.close()
    first, second = lines(tmp_path / "log.jsonl")
    assert (first["event"], first["row"], first["kind"]) == ("row_failed", 3, "timeout")
    assert second["words"] == "two\nlines\u2028 \x1b[31m"
    assert (first["level"], second["level"]) == ("warning", "info")
    assert told[0] == "row failed: row 3, kind timeout"


def test_a_torn_last_line_is_ended_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"at": 1, "event": "a"}\n{"at": 2, "ev')
    log = EventLog(path)
    log.event("ended")
    log.close()
    first, torn, second = path.read_text("utf-8").splitlines()
    assert json.loads(first)["event"] == "a"
    assert torn == '{"at": 2, "ev'
    assert json.loads(second)["event"] == "ended"


def test_a_log_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "missing" / "log.jsonl")
    log.event("started")
    log.close()


def test_texts_are_kept_only_where_that_was_asked_for(tmp_path: Path) -> None:
    told: list[str] = []
    for name, keeps in (("plain", False), ("full", True)):
        log = EventLog(tmp_path / name, told.append, keeps_texts=keeps)
        log.event("row_failed", row=3, texts={"content": "secret 中文"})
        log.close()
    (plain,), (full,) = lines(tmp_path / "plain"), lines(tmp_path / "full")
    assert plain == {"at": plain["at"], "level": "warning", "event": "row_failed", "row": 3}
    assert full == plain | {"at": full["at"], "content": "secret 中文"}
    assert told == ["row failed: row 3"] * 2


def test_old_lines_move_on_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "FILE_MOST", 1000)
    log = EventLog(tmp_path / "log.jsonl")
    for row in range(200):
        log.event("row_failed", row=row)
    log.close()
    files = ["log.jsonl", *(f"log.jsonl.{n}" for n in range(1, FILES_KEPT + 1))]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert all((tmp_path / name).stat().st_size <= 1000 for name in files)
    rows = [line["row"] for name in reversed(files) for line in lines(tmp_path / name)]
    assert rows == list(range(rows[0], 200))


def test_a_disk_that_is_full_loses_lines_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A limit on the size of files refuses writes as a full disk does."""
    log = EventLog(tmp_path / "log.jsonl")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for row in range(100):
            log.event("row_failed", row=row)
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capfd.readouterr() == ("", "")
    assert 0 < (tmp_path / "log.jsonl").stat().st_size <= 1000
