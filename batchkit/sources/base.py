"""What every source of rows has in common, whatever its format.

A row that cannot be read is a value with a `fault`, never an exception, so that one scan finds
every bad row. Faults are short, lower case and never hold the row's text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import xxhash

if TYPE_CHECKING:
    from batchkit.sources.keep import KeepColumn

ENDED = "the file ends before this row; it was changed while it was read"
_HASH_BLOCK = 1 << 20


class Raw(msgspec.Struct, frozen=True, gc=False):
    """One row as it was read."""

    row: int  # 0-based position among the rows, blank lines not counted
    line: int  # 1-based line of a JSONL file; row + 1 in a columnar one; 0: a cursor skipped to it
    offset: int  # bytes into the uncompressed JSONL file; 0 in a columnar one
    values: dict[str, Any] | None  # None: could not be read
    fault: str | None = None  # why it could not
    keep: list[Any] | None = None  # kept values in storage form; None: not a columnar file
    before: tuple[dict[str, Any] | None, ...] = ()  # values of the rows before, see `context`


class Cursor(Protocol):
    """Reads chosen rows, forward only. Has its own handle; used by one thread at a time."""

    def take(self, wanted: Sequence[tuple[int, int]]) -> list[Raw]:
        """The rows at `wanted` (row, offset) pairs, which ascend within a call and over calls."""
        ...

    def close(self) -> None: ...


class FileCursor(Cursor, Protocol):
    """A cursor over the rows of a file itself."""

    def read_on(self, place: int) -> Iterator[Raw]:
        """The rows from `place` on: an offset, in a columnar file a row's number.

        A later call does not go back; the row numbers of a text file's rows are not known, and 0.
        """
        ...


class Source(ABC):
    """A file of rows."""

    can_jump = False  # whether a cursor reaches any row without reading what lies before it
    columns: tuple[str, ...] | None = None  # every column's name, where the format knows
    keep_columns: tuple[KeepColumn, ...] | None = None  # None: `sources.inference` finds them

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def scan(self) -> Iterator[Raw]:
        """Every row in order, in bounded memory. What cannot be read past ends in a fault."""

    @abstractmethod
    def cursor(self) -> Cursor: ...

    def place(self, raw: Raw) -> str:
        """Where a row stands, for a person: `requests.jsonl:1042`, `data.parquet:row 17`."""
        return f"{self.path}:row {raw.row}"

    def fingerprint(self) -> dict[str, int]:
        """Size in bytes and time of the last change: cheap, and nearly always enough."""
        stat = self.path.stat()
        return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}

    def is_as_noted(self, noted: Mapping[str, Any]) -> bool:
        """Whether the file is the one of a plan's `input`; reads it only if it may not be."""
        stat = self.fingerprint()
        if all(stat[key] == noted.get(key) for key in stat):
            return True
        return "xxh3" in noted and self.content_hash() == noted["xxh3"]

    def content_hash(self) -> str:
        """xxh3_128 of the file's bytes, in hex."""
        digest = xxhash.xxh3_128()
        with self.path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
        return digest.hexdigest()


class FileSource(Source):
    """A source whose rows are those of its file."""

    @abstractmethod
    def cursor(self) -> FileCursor: ...
