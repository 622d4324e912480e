"""Wishes reach the process they are for, once, or their sender knows that they never will."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from batchkit.errors import StoppedError, UsageError
from batchkit.folder import RunFolder
from batchkit.tuning import Answer, Tune, Wish, Wishes, send

PAUSE = Tune(paused=True)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A run's folder that this process holds."""
    with RunFolder(tmp_path / "run").locked():
        yield tmp_path / "run"


def written(folder: Path, tune: Tune, name: str = "tune-1.json") -> Path:
    (folder / name).write_bytes(msgspec.json.encode(tune))
    return folder / name


def mine(**changes: object) -> Tune:
    return msgspec.structs.replace(Tune(pid=os.getpid(), at=time.time()), **changes)


def take(folder: Path) -> list[Wish]:
    return list(Wishes(folder, time.time).take())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_wish_is_taken_once_and_its_answer_comes_back(folder: Path) -> None:
    seen: list[Tune] = []

    def serve() -> None:
        while not (wishes := take(folder)):
            time.sleep(0.002)
        for wish in wishes:
            seen.append(wish.tune)
            wish.answer(Answer(lines=["paused", "so\x1b\n it is"]))

    server = threading.Thread(target=serve)
    server.start()
    tune = Tune(concurrency={"": 9, "glm-4-plus": 3}, paused=True)
    assert send(folder, tune) == ["paused", "so it is"]
    server.join()
    assert [msgspec.structs.replace(one, pid=0, at=0.0) for one in seen] == [tune]
    assert seen[0].pid == os.getpid()
    assert names(folder) == ["run.lock"]


def test_a_refusal_is_a_fault_of_usage(folder: Path) -> None:
    def serve() -> None:
        while not (wishes := take(folder)):
            time.sleep(0.002)
        wishes[0].answer(Answer(refused="no such model"))

    server = threading.Thread(target=serve)
    server.start()
    with pytest.raises(UsageError, match="no such model"):
        send(folder, PAUSE)
    server.join()


def test_where_nothing_runs_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is running here"):
        send(tmp_path / "none", PAUSE)
    with RunFolder(tmp_path / "run").locked():
        pass
    with pytest.raises(UsageError, match="nothing is running here"):
        send(tmp_path / "run", PAUSE)
    assert names(tmp_path / "run") == ["run.lock"]


def test_a_wish_that_is_not_taken_in_time_is_taken_back(folder: Path) -> None:
    with pytest.raises(StoppedError, match=r"has not taken this within 0\.1 s, and will not any"):
        send(folder, PAUSE, wait_s=0.1)
    assert names(folder) == ["run.lock"]


def test_a_wish_that_was_taken_and_not_answered_is_told_apart(folder: Path) -> None:
    def take_one() -> None:
        while not take(folder):
            time.sleep(0.002)

    server = threading.Thread(target=take_one)
    server.start()
    with pytest.raises(StoppedError, match="has taken this and not said what came of it"):
        send(folder, PAUSE, wait_s=2.0)
    server.join()


@pytest.mark.parametrize(
    "tune", [mine(pid=1), mine(at=time.time() - 3600)], ids=["another process", "long ago"]
)
def test_what_was_left_over_is_removed_and_not_done(tune: Tune, folder: Path) -> None:
    written(folder, tune)
    assert take(folder) == []
    assert names(folder) == ["run.lock"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"paused": 1}',
        b'{"concurrency": {"m": 0}}',
        b'{"concurrency": {"m": true}}',
        b'{"unknown": 1}',
        b'{"concurrency": {"' + b"m" * 70_000 + b'": 1}}',
    ],
)
def test_what_is_no_wish_is_removed_and_not_done(text: bytes, folder: Path) -> None:
    (folder / "tune-1.json").write_bytes(text)
    assert take(folder) == []
    assert names(folder) == ["run.lock"]


def test_what_is_not_a_file_holds_nothing_up(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "tune-1.json")
    (folder / "tune-2.json").symlink_to(written(tmp_path, mine(paused=True), "elsewhere"))
    (folder / "tune-3.json").mkdir()
    written(folder, mine(paused=True), "tune-4.json")
    assert [wish.tune.paused for wish in take(folder)] == [True]
    assert names(folder) == ["run.lock", "tune-3.json"]


def test_what_a_killed_sender_left_is_swept_up(folder: Path) -> None:
    written(folder, mine())
    take(folder)[0].answer(Answer(lines=["nobody reads this"]))
    written(folder, mine(), ".tune-2.json.tmp")
    waiting = written(folder, mine(), "tune-3.json")
    Wishes(folder, time.time).sweep()
    assert names(folder) == ["run.lock", waiting.name]


def test_the_lower_of_two_ceilings_counts() -> None:
    tune = Tune(concurrency={"": 9, "m": 3, "n": 20})
    assert [tune.ceiling(name) for name in ("m", "n", "o")] == [3, 9, 9]
    assert Tune().ceiling("m") is None
