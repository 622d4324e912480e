"""Destinations: whole or not at all, and what cannot be written is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from batchkit.destination import open_destination
from batchkit.errors import UsageError


class BrokenError(Exception):
    """Something went wrong while the data was made."""


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's filesystem in memory, empty before and after."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


def write(target: str, data: bytes, *, breaks: bool = False) -> None:
    with open_destination(target) as file:
        file.write(data)
        if breaks:
            raise BrokenError


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path, scheme: str) -> None:
    target = f"{scheme}{tmp_path}/out.csv"
    with pytest.raises(BrokenError):
        write(target, b"half", breaks=True)
    assert list(tmp_path.iterdir()) == []
    write(target, b"whole")
    with pytest.raises(BrokenError):
        write(target, b"half", breaks=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_bytes() == b"whole"
    write(target, b"new")
    assert (tmp_path / "out.csv").read_bytes() == b"new"


def test_a_pipe_or_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(str(pipe), b"data")
        assert os.read(reader, 10) == b"data"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_url_has_the_whole_or_nothing(memory: fsspec.AbstractFileSystem) -> None:
    with pytest.raises(BrokenError):
        write("memory://bucket/out.csv", b"half", breaks=True)
    assert memory.find("/") == []
    write("memory://bucket/out.csv", b"whole")
    assert memory.cat("/bucket/out.csv") == b"whole"


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("", ".: is a directory"),
        ("{here}", "{here}: is a directory"),
        ("{here}/no/such/out.csv", "{here}/no/such/out.csv: no such file or directory"),
        (
            "file://{here}/no/such/out.csv",
            "file://{here}/no/such/out.csv: cannot be written: no such file or directory",
        ),
        ("nope://x/y", "nope://x/y: cannot be opened: protocol not known: nope"),
        ("s3://bucket/y", "s3://bucket/y: cannot be opened: install s3fs to access S3"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path: Path, target: str, fault: str) -> None:
    with pytest.raises(UsageError) as caught:
        write(target.format(here=tmp_path), b"")
    assert str(caught.value) == fault.format(here=tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_stdout_is_said() -> None:
    code = (
        "from batchkit.destination import open_destination\n"
        "from batchkit.errors import UsageError\n"
        "try:\n"
        "    with open_destination(None) as file: file.write(b'data')\n"
        "except UsageError as error:\n"
        "    import os, sys; print(error, file=sys.stderr, flush=True); os._exit(2)"
    )
    with Path("/dev/full").open("wb") as full:
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "stdout: no space left on device\n")


def test_secrets_in_a_url_are_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        write("nope://me:secret@host/path?token=secret", b"")
    assert str(caught.value).startswith("nope://host/path: ")
    assert "secret" not in str(caught.value)


def test_urls_need_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fsspec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match=r"fsspec is missing, which writes to URLs; pip install"):
        write("memory://x", b"")
