"""`log.jsonl`: what happened to a run, one event a line; no key, and no prompt or answer unasked.

Every event is named in `EVENTS`. A line is a JSON object, so no value can end it or start another;
the last one can be torn by a kill. Old lines move to `log.jsonl.1` and on, and the oldest go.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import msgspec

FILE_MOST = 16 << 20  # bytes of `log.jsonl` before it becomes `log.jsonl.1`
FILES_KEPT = 4  # besides `log.jsonl`


class Level(StrEnum):
    """How much an event matters."""

    DEBUG = "debug"  # only there with `--log-content`
    INFO = "info"
    WARNING = "warning"  # something was lost, refused or given up


EVENTS: Mapping[str, Level] = {
    "started": Level.INFO,
    "planned": Level.INFO,
    "estimated": Level.INFO,
    "limit_changed": Level.INFO,
    "refused_burst": Level.WARNING,
    "drifted": Level.WARNING,
    "worker_lost": Level.WARNING,
    "retries_given_up": Level.WARNING,
    "row_failed": Level.WARNING,
    "row_ok": Level.DEBUG,
    "part_sealed": Level.INFO,
    "stopped": Level.WARNING,
    "measured": Level.INFO,
    "ended": Level.INFO,
}

_encode = msgspec.json.Encoder().encode


class EventLog:
    """Appends to a run's log. A log that cannot be written never stops the run."""

    def __init__(
        self,
        path: Path,
        tell: Callable[[str], None] | None = None,
        *,
        keeps_texts: bool = False,
    ) -> None:
        """`tell` is told every event as well, as a line without texts."""
        self.keeps_texts = keeps_texts
        self._tell = tell
        self._file: _Lines | None = None
        with suppress(OSError):
            _end_torn_line(path)
            self._file = _Lines(
                path, maxBytes=FILE_MOST, backupCount=FILES_KEPT, encoding="utf-8", errors="replace"
            )

    def event(self, name: str, *, texts: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Note that `name` happened. `texts` are words of prompts, answers and the provider."""
        level = EVENTS[name]
        if self._file is not None:
            kept = texts if texts is not None and self.keeps_texts else {}
            line = _encode({"at": time.time(), "level": level, "event": name, **fields, **kept})
            self._file.emit(logging.makeLogRecord({"msg": line.decode()}))
        if self._tell is not None and level is not Level.DEBUG:
            words = [f"{key} {value}" for key, value in fields.items()]
            self._tell(f"{name.replace('_', ' ')}: {', '.join(words)}")

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


class _Lines(RotatingFileHandler):
    """The standard library's rotation, for whole lines, without a logger."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the library's name
        """A full disk and the like: the run goes on without this line."""


def _end_torn_line(path: Path) -> None:
    """End what a kill tore, so that the next line stands alone."""
    with path.open("ab+") as file:
        if file.tell() == 0:
            return
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")
