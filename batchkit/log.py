"""`log.jsonl`: what happened to a run, one event a line; no prompt, no answer, no key."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

_encode = msgspec.json.Encoder().encode


class EventLog:
    """Appends to a run's log. A log that cannot be written never stops the run.

    A line is `{"at": seconds since the epoch, "event": …, …}`; only the last can be torn by a kill.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] | None = None) -> None:
        """`tell` is told every event as well, as text."""
        self._tell = tell
        self._file: BinaryIO | None = None
        with suppress(OSError):
            self._file = path.open("ab", buffering=0)
            self._file.write(_missing_newline(path))

    def event(self, name: str, **fields: Any) -> None:
        """Note that `name` happened."""
        if self._file is not None:
            with suppress(OSError):
                self._file.write(_encode({"at": time.time(), "event": name, **fields}) + b"\n")
        if self._tell is not None:
            words = [f"{key} {value}" for key, value in fields.items()]
            self._tell(f"{name.replace('_', ' ')}: {', '.join(words)}")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _missing_newline(path: Path) -> bytes:
    """What ends a line that a kill tore, so that the next one stands alone."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return b""
        file.seek(-1, 2)
        return b"" if file.read(1) == b"\n" else b"\n"
