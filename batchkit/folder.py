"""A run's folder: where its files are, who holds it, and what `run.json` says."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from batchkit.errors import UsageError
from batchkit.locks import is_locked

_STARTS_KEPT = 99
_LOCK_TRIES = 5
_LOCK_PAUSE_S = 0.02


class RunFolder:
    """Paths of one run, and the lock that keeps a second process out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.db"
        self.run_json = path / "run.json"
        self.summary_json = path / "summary.json"
        self.log = path / "log.jsonl"
        self.results = path / "results"
        self.attempts = path / "attempts"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, made if it is not there; raises `UsageError` if another process has it.

        The lock is the kernel's (flock), so a killed process leaves none behind.
        """
        try:
            make_folder(self.path)
            descriptor = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(
                f"{self.path}: cannot be used: {(error.strerror or '').lower()}"
            ) from error
        try:
            if not _lock(descriptor):
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise UsageError(
                    f"{self.path}: process {holder} is running here; "
                    "wait for it, or use another folder with -o"
                )
            with suppress(OSError):  # a full disk: the lock holds, and says less
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def is_held(self) -> bool:
        """Whether a process is running in this folder now."""
        return is_locked(self.path / "run.lock")

    def holder(self) -> int | None:
        """The process that is running in this folder now, if one is."""
        if not self.is_held():
            return None
        with suppress(OSError, ValueError):
            return int((self.path / "run.lock").read_bytes()[:32])
        return None

    def record(self) -> dict[str, Any]:
        """What `run.json` says, nothing if it cannot be read; no row hangs on it."""
        try:
            return msgspec.json.decode(self.run_json.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError):
            return {}

    def starts(self) -> list[Any]:
        """What `run.json` records of earlier starts."""
        starts = self.record().get("starts")
        return starts[-_STARTS_KEPT:] if isinstance(starts, list) else []

    def refuse_foreign(self) -> None:
        """Raise `UsageError` if the folder holds something but no run."""
        names = {entry.name for entry in self.path.iterdir()}
        names -= {"run.lock", "journal.db.tmp"}  # all that a kill at the very start leaves
        if names and "journal.db" not in names and "run.json" not in names:
            raise UsageError(
                f"{self.path}: the folder is not empty and holds no run; give another with -o"
            )


def _lock(descriptor: int) -> bool:
    """Take the lock; somebody who only looks (`is_held`) has it for an instant."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        except OSError as error:
            words = (error.strerror or "").lower()
            raise UsageError(
                f"run.lock: cannot be locked here: {words}; use a local disk"
            ) from error
        else:
            return True
    return False


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` so that the file is whole from the moment it is there."""
    unfinished = path.with_suffix(path.suffix + ".tmp")
    with unfinished.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    fsync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make `path` and what is missing above it, durably."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        fsync_folder(folder.parent)


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable (POSIX: a rename is not, until its folder is synced)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
