"""Where exported data goes: stdout, a file, or a URL; it is there whole or not at all.

A file is written beside its place and renamed. At a URL the filesystem's own transaction is used
(fsspec): what does not end well is discarded, as far as that filesystem can.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from batchkit.errors import UsageError
from batchkit.wording import reason


@contextmanager
def open_destination(target: str | None) -> Iterator[BinaryIO]:
    """A file to write to: stdout if `target` is None; raises `UsageError` if it cannot be written.

    A file that is there is replaced when the block ends well, and else left as it is.
    """
    if target is None:
        with _stdout() as file:
            yield file
    elif "://" in target:
        with _remote(target) as file:
            yield file
    else:
        with _local(Path(target)) as file:
            yield file


@contextmanager
def _stdout() -> Iterator[BinaryIO]:
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # whoever read it has seen enough
    except OSError as error:
        raise UsageError(f"stdout: {_why(error)}") from error


@contextmanager
def _local(path: Path) -> Iterator[BinaryIO]:
    is_replaced = not path.exists() or path.is_file()  # a pipe or /dev/stdout is written to
    target = path.with_name(f"{path.name}.tmp") if path.name and is_replaced else path
    try:
        with target.open("wb") as file:
            yield file
        if target != path:
            target.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: {_why(error)}") from error
    finally:
        if target != path:
            target.unlink(missing_ok=True)


@contextmanager
def _remote(url: str) -> Iterator[BinaryIO]:
    filesystem, path = _filesystem(url)
    try:
        with filesystem.transaction, filesystem.open(path, "wb") as file:
            yield cast("BinaryIO", file)
    except (OSError, NotImplementedError) as error:
        raise UsageError(f"{_shown(url)}: cannot be written: {_why(error)}") from error


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            f"{_shown(url)}: fsspec is missing, which writes to URLs; "
            "pip install 'batchkit[remote]'"
        ) from error
    try:
        found: tuple[Any, str] = url_to_fs(url)
    except (ValueError, ImportError, OSError) as error:  # an unknown scheme, a library not here
        raise UsageError(f"{_shown(url)}: cannot be opened: {_why(error)}") from error
    return found


def _shown(url: str) -> str:
    """The URL without a user, a password or a query, which may be secret."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def _why(error: Exception) -> str:
    if isinstance(error, NotImplementedError):
        return "this filesystem can only be read"
    return reason(getattr(error, "strerror", None) or str(error) or type(error).__name__)
