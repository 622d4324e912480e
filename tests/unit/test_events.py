"""A run's log: a line per change of the limit and per burst of refusals, never one per refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import ErrorKind
from batchkit.events import ModelLook, RunLog
from batchkit.journal import SealedPart
from batchkit.log import EventLog
from batchkit.verdicts import REPEATED
from tests.samples import new_result

M = "glm-4-plus"


class Kept:
    """A run's log, and its lines without the moment and the level."""

    def __init__(self, path: Path, *, texts: bool = False) -> None:
        self._path = path
        self.file = EventLog(path, keeps_texts=texts)
        self.log = RunLog(self.file)

    @property
    def lines(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self._path.read_bytes().splitlines()]
        return [{k: v for k, v in line.items() if k not in {"at", "level"}} for line in found]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "log.jsonl")
    yield made
    made.file.close()


def look(kept: Kept, now: float, limit: int = 50, refused: int = 0) -> None:
    kept.log.look(now, [ModelLook(M, limit, refused)])


def test_a_quiet_run_says_nothing(kept: Kept) -> None:
    for n in range(100):
        look(kept, n / 4)
    kept.log.end(25.0, [ModelLook(M, 50, 0)])
    assert kept.lines == []


def changes(kept: Kept) -> list[tuple[int, int]]:
    assert {(line["event"], line["model"]) for line in kept.lines} == {("limit_changed", M)}
    return [(line["before"], line["after"]) for line in kept.lines]


def test_a_limit_that_moves_all_the_time_is_told_once_a_second(kept: Kept) -> None:
    for n in range(17):
        look(kept, n / 4, limit=160 - 8 * n)
    assert changes(kept) == [(160, 128), (128, 96), (96, 64), (64, 32)]


def test_a_limit_that_creeps_is_told_every_ten_seconds(kept: Kept) -> None:
    for n in range(81):
        look(kept, n / 4, limit=1000 + n)
    assert changes(kept) == [(1000, 1040), (1040, 1080)]


def test_a_burst_of_thousands_is_one_line(kept: Kept) -> None:
    for n, refused in enumerate([0, 900, 2500, 3000, 3000, 3000, *[3000] * 8]):
        look(kept, n / 4, refused=refused)
    assert kept.lines == [
        {"event": "refused_burst", "model": M, "refusals": 3000, "seconds": 0.5, "limit": 50}
    ]


def test_a_burst_that_does_not_end_is_told_once_a_minute(kept: Kept) -> None:
    for n in range(4 * 130):
        look(kept, n / 4, refused=n)
    kept.log.end(130.0, [ModelLook(M, 50, 519)])
    told = kept.lines
    assert [round(line["seconds"]) for line in told] == [60, 60, 9]
    assert sum(line["refusals"] for line in told) == 519


def test_refusals_of_an_earlier_start_are_not_told_again(kept: Kept) -> None:
    look(kept, 0.0, refused=70)
    look(kept, 1.0, refused=71)
    kept.log.end(2.0, [ModelLook(M, 50, 71)])
    assert [line["refusals"] for line in kept.lines] == [1]


def test_a_row_that_failed_says_why_without_a_text(kept: Kept) -> None:
    words = {"error_message": "secret", "content": "secret"}
    kept.log.settled(new_result(0))
    kept.log.settled(new_result(1, status="failed", error_kind=ErrorKind.TIMEOUT, attempts=8,
                                **words))  # fmt: skip
    kept.log.settled(new_result(2, status="failed", error_kind=ErrorKind.CONTENT_FILTERED,
                                error_code="1301", **words))  # fmt: skip
    assert kept.lines == [
        {"event": "retries_given_up", "row": 1, "kind": "timeout", "code": None, "attempts": 8},
        {"event": "row_failed", "row": 2, "kind": "content_filtered", "code": "1301",
         "attempts": 1},
    ]  # fmt: skip


def test_texts_stand_in_the_log_when_asked_for(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "log.jsonl", texts=True)
    kept.log.settled(new_result(0, content='{"a": "\n"}'))
    kept.log.settled(new_result(1, status="failed", error_kind=ErrorKind.POLICY, content=None,
                                error_message="no"))  # fmt: skip
    kept.file.close()
    assert kept.lines == [
        {"event": "row_ok", "row": 0, "content": '{"a": "\n"}'},
        {"event": "row_failed", "row": 1, "kind": "policy", "code": None, "attempts": 1,
         "message": "no", "content": None},
    ]  # fmt: skip


def test_a_sealed_part_is_told(kept: Kept) -> None:
    kept.log.sealed(SealedPart(3, 10_000, 7, 1, "a", 2, "b"))
    assert kept.lines == [{"event": "part_sealed", "part": 3, "rows": 10_000, "failed": 7}]


def test_what_is_asked_again_is_what_the_exchange_itself_failed_by() -> None:
    assert {
        ErrorKind.SERVER_ERROR,
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECTION,
        ErrorKind.BAD_RESPONSE,
        ErrorKind.NETWORK_ERROR,
    } == REPEATED
