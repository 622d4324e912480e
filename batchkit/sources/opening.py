"""Choosing a source by the file's name, and refusing early what cannot be one."""

from __future__ import annotations

import stat
from collections.abc import Collection, Sequence
from pathlib import Path

from batchkit.errors import UsageError
from batchkit.sources.base import FileSource
from batchkit.sources.jsonl import JsonlSource
from batchkit.sources.lines import Compression

_COMPRESSION = {
    ".jsonl": Compression.NONE,
    ".jsonl.gz": Compression.GZIP,
    ".jsonl.zst": Compression.ZSTD,
}
SUFFIXES = (*_COMPRESSION, ".parquet", ".arrow")

_FORMATS = {
    ".jsonl": "JSON Lines",
    ".jsonl.gz": "gzip data",
    ".jsonl.zst": "zstd data",
    ".parquet": "Parquet",
    ".arrow": "Arrow",
}
_BEGINNINGS = {
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"\xff\xff\xff\xff": ".arrow",  # a stream: the mark before its first message
    b"\x1f\x8b": ".jsonl.gz",
    b"\x28\xb5\x2f\xfd": ".jsonl.zst",
}


def open_source(
    path: Path, *, keep: Sequence[str] = (), columns: Collection[str] | None = None
) -> FileSource:
    """The source in the file `path`, by its suffix.

    Args:
        path: A regular file, since it is read more than once.
        keep: Columns whose values go into the results.
        columns: All that a row's values need to hold, so that a columnar file need not be read
            whole; None for every column. Columns that the file lacks are ignored.

    Raises:
        UsageError: The file is not there, not regular, empty, of an unknown or another format,
            damaged from its beginning, or lacks a column of `keep`.
    """
    suffix = _suffix(path)
    found = _recognise(_beginning(path))
    if found is not None and found != suffix:
        raise UsageError(
            f"{path}: holds {_FORMATS[found]}, not {_FORMATS[suffix]}; name it {found}"
        )
    if suffix in _COMPRESSION:
        return JsonlSource(path, _COMPRESSION[suffix])
    from batchkit.sources import columnar  # noqa: PLC0415  # imports pyarrow

    return columnar.open_columnar(path, keep=keep, columns=columns)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise UsageError(f"{path}: unknown kind of file; expected one of {', '.join(SUFFIXES)}")


def _beginning(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{path}: is a directory; expected a file of requests")
        if not stat.S_ISREG(mode):
            raise UsageError(f"{path}: is not a regular file; save it as one, it is read twice")
        with path.open("rb") as file:
            beginning = file.read(16)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if not beginning:
        raise UsageError(f"{path}: is empty; expected at least one row")
    return beginning


def _recognise(beginning: bytes) -> str | None:
    for mark, suffix in _BEGINNINGS.items():
        if beginning.startswith(mark):
            return suffix
    return ".jsonl" if beginning.lstrip().startswith(b"{") else None
