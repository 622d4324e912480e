"""A run's folder: one process at a time, and files that are whole once they are there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from batchkit.errors import UsageError
from batchkit.folder import RunFolder, fsync_folder, write_json

HOLD = """
import sys
from pathlib import Path
from batchkit.folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_the_firsts_number(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "demo")
    with held(folder.path) as process:
        assert folder.is_held()
        with pytest.raises(UsageError) as caught, folder.locked():
            pass
        assert str(caught.value) == (
            f"{folder.path}: process {process.pid} is running here; "
            "wait for it, or use another folder with -o"
        )
    assert not folder.is_held()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with held(tmp_path) as process:
        process.kill()
        process.wait()
        assert not folder.is_held()
        with folder.locked():
            assert folder.is_held()


def test_the_lock_ends_with_the_block(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt), folder.locked():
        raise KeyboardInterrupt
    assert not folder.is_held()
    with folder.locked():
        pass


def test_a_folder_that_is_not_there_is_made_to_be_locked_and_held_by_nobody(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path / "a" / "b")
    assert not folder.is_held()
    with folder.locked():
        assert folder.path.is_dir()


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x", "utf-8")
    with pytest.raises(UsageError) as caught, RunFolder(file).locked():
        pass
    assert str(caught.value) == f"{file}: cannot be used: file exists"


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["run.lock"],
        ["run.lock", "journal.db.tmp"],
        ["journal.db", "notes.txt"],
        ["run.json", "results"],
    ],
)
def test_a_folder_is_a_runs_or_empty(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("", "utf-8")
    RunFolder(tmp_path).refuse_foreign()


@pytest.mark.parametrize("name", ["thesis.tex", "results", "summary.json", ".git"])
def test_a_folder_of_other_things_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError) as caught:
        RunFolder(tmp_path).refuse_foreign()
    assert str(caught.value) == (
        f"{tmp_path}: the folder is not empty and holds no run; give another with -o"
    )


def test_json_is_written_for_people_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"rows": 1, "名": "字"})
    assert path.read_text("utf-8") == '{\n  "rows": 1,\n  "名": "字"\n}\n'
    write_json(path, {"rows": 2})
    assert json.loads(path.read_bytes()) == {"rows": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"rows": 1})
    with pytest.raises(TypeError):
        write_json(path, {"rows": object()})
    assert json.loads(path.read_bytes()) == {"rows": 1}


def test_values_are_written_as_they_are_counted(tmp_path: Path) -> None:
    class Value(msgspec.Struct):
        cost: str

    write_json(tmp_path / "x.json", Value("0.0125"))
    assert json.loads((tmp_path / "x.json").read_bytes()) == {"cost": "0.0125"}


def test_a_folder_can_be_synced(tmp_path: Path) -> None:
    fsync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        fsync_folder(tmp_path / "missing")
