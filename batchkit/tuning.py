"""How a command reaches the process that works on a run: a file in the run's folder, and an answer.

1. A wish is a file `tune-<token>.json`, whole from the moment it has its name. Whoever removes it
   owns it: the process, to do it, or the sender, who then knows that it will never be done.
2. It names the process it is for and the time. One that was left over is removed and not done.
3. The answer is `tune-<token>.done`; the sender removes it, else the next process at its start.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from batchkit.errors import StoppedError, UsageError
from batchkit.folder import RunFolder

WAIT_S = 5.0  # for an answer
_LOOK_EVERY_S = 0.02
_STALE_S = 60.0
_LARGEST = 64 << 10  # bytes of such a file
_WISH, _ANSWER = ".json", ".done"

Slots = Annotated[int, msgspec.Meta(ge=1)]
T = TypeVar("T")


class Tune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user wants of a running process."""

    pid: int = 0
    at: float = 0.0  # seconds since the epoch
    concurrency: dict[str, Slots] = {}  # by model; "" for every one
    paused: bool | None = None

    def ceiling(self, model: str) -> int | None:
        """The requests of `model` that may be in flight; None if nothing is said of it."""
        return min((n for name, n in self.concurrency.items() if name in {"", model}), default=None)


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the process says."""

    lines: list[str] = []
    refused: str | None = None


class Wish:
    """A wish that this process has taken."""

    def __init__(self, tune: Tune, path: Path) -> None:
        self.tune = tune
        self._path = path

    def answer(self, answer: Answer) -> None:
        """Tell the sender; a disk that refuses that never stops the run."""
        with suppress(OSError):
            _write(self._path.with_suffix(_ANSWER), answer)


class Wishes:
    """The wishes for this process in the folder of its run."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self._path = path
        self._wall = wall

    def take(self) -> Iterator[Wish]:
        """Those that have come since the last time, each to be done."""
        for path in sorted(self._path.glob(f"tune-*{_WISH}")):
            tune = _read(path, Tune)
            try:
                path.unlink()
            except OSError:
                continue  # it was taken back
            if tune is None or tune.pid != os.getpid() or self._wall() - tune.at > _STALE_S:
                continue
            yield Wish(tune, path)

    def sweep(self) -> None:
        """Remove the answers that nobody has fetched, and what was not written to its end."""
        for pattern in (f"tune-*{_ANSWER}", ".tune-*.tmp"):
            for path in self._path.glob(pattern):
                with suppress(OSError):
                    path.unlink()


def send(path: Path, tune: Tune, *, wait_s: float = WAIT_S) -> list[str]:
    """Have the process that works on the run in `path` do `tune`; its words.

    Raises `UsageError` if none does or if it refuses, `StoppedError` if it has not answered within
    `wait_s` seconds: then it will not do it later either, unless the message says so.
    """
    folder = RunFolder(path)
    pid = _holder(folder)
    sent = path / f"tune-{secrets.token_hex(8)}{_WISH}"
    try:
        _write(sent, msgspec.structs.replace(tune, pid=pid, at=time.time()))
    except OSError as error:
        words = (error.strerror or "").lower()
        raise UsageError(f"{path}: a file cannot be written here: {words}") from error
    answer = _await_answer(sent, folder, wait_s)
    if answer.refused is not None:
        raise UsageError(_printable(answer.refused))
    return [_printable(line) for line in answer.lines]


def _holder(folder: RunFolder) -> int:
    pid = folder.holder()
    if pid is None:
        raise UsageError(f"{folder.path}: nothing is running here; start it with batchkit run")
    return pid


def _await_answer(sent: Path, folder: RunFolder, wait_s: float) -> Answer:
    answered = sent.with_suffix(_ANSWER)
    deadline = time.monotonic() + wait_s
    is_running = True
    while is_running and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        is_running = folder.is_held()  # before the look: it answers before it ends
        if (answer := _read(answered, Answer)) is not None:
            answered.unlink(missing_ok=True)
            return answer
    try:
        sent.unlink()
    except FileNotFoundError:
        raise StoppedError(
            f"{folder.path}: the process has taken this and not said what came of it; "
            "see batchkit status"
        ) from None
    if not is_running:
        raise UsageError(f"{folder.path}: the run ended before it could take this")
    raise StoppedError(
        f"{folder.path}: the process has not taken this within {wait_s:g} s, and will not any "
        "more; it may be planning still: try again"
    )


def _printable(line: str) -> str:
    return "".join(character for character in line if character.isprintable())


def _write(path: Path, value: Tune | Answer) -> None:
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_bytes(msgspec.json.encode(value))
    unfinished.replace(path)


def _read(path: Path, kind: type[T]) -> T | None:
    """A file's value; None if it is not there or is not one of ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            return None
        return msgspec.json.decode(os.read(descriptor, _LARGEST), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
    finally:
        os.close(descriptor)
