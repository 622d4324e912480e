"""Reads a job's labels from where its `[labels]` says: the job file, a text file, or a column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from batchkit.errors import UsageError
from batchkit.labels import MOST, Given
from batchkit.sections import LabelsSection
from batchkit.sources import open_source
from batchkit.spec import Spec
from batchkit.wording import kind_of, reason

_FILE_MOST = 1 << 20  # bytes; more than `MOST` labels of any length


def read_labels(spec: Spec, section: LabelsSection) -> list[Given]:
    """The labels in the order they are given; raises `UsageError`."""
    named = [name for name in ("values", "file", "column") if getattr(section, name) is not None]
    if len(named) != 1:
        said = " and ".join(named) or "none"
        raise UsageError(f"{spec.path}: labels: expected one of values, file, column; got {said}")
    place = f"{spec.path}: labels.{named[0]}"
    if section.values is not None:
        found = [Given(label, place) for label in section.values]
    elif section.file is not None:
        found = list(_lines(spec.path.parent / section.file, place))
    else:
        assert section.column is not None
        found = list(_distinct(spec.input, section.column, place, multiple=section.multiple))
    if not found:
        raise UsageError(f"{place}: holds no label; expected at least one")
    return found


def _lines(path: Path, place: str) -> Iterator[Given]:
    try:
        if path.stat().st_size > _FILE_MOST:
            raise UsageError(f"{place}: {path} is larger than {_FILE_MOST >> 20} MiB")
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{place}: {path} cannot be read: {reason(why)}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if label := line.strip():
            yield Given(label, f"{path}:{number}")


def _distinct(path: Path, column: str, place: str, *, multiple: bool) -> Iterable[Given]:
    """The values of a column in order of first appearance, in a pass over the whole input."""
    source = open_source(path, columns={column})
    seen: dict[str, Given] = {}
    for raw in source.scan():
        value = (raw.values or {}).get(column)
        for one in value if multiple and isinstance(value, list) else [value]:
            label = _text(one)
            if label is None and one is not None:
                where = source.place(raw)
                raise UsageError(f"{place}: {where}: expected a label, got {kind_of(one)}")
            if label and label not in seen:
                seen[label] = Given(label, source.place(raw))
        if len(seen) > MOST:
            raise UsageError(
                f"{place}: {column!r} has more than {MOST:,} values in {path}; "
                "every prompt holds them all, so name the labels with values or file"
            )
    return seen.values()


def _text(value: Any) -> str | None:
    if type(value) is int:
        return str(value)
    return value.strip() if isinstance(value, str) else None
