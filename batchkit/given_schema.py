"""The schema of a run as it was given: by the caller, by a file, or in the job file itself.

A caller may give a class of its own: a pydantic model is asked for its schema, any other class that
msgspec knows (a Struct, a dataclass, a TypedDict) is described by msgspec. Neither library is
imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from batchkit.errors import UsageError
from batchkit.job import Job
from batchkit.wording import reason, shown


def given_schema(path: Path, job: Job, given: Any) -> dict[str, Any] | None:
    """The schema that the caller gives, else the one of the job at `path`; raises `UsageError`.

    A file that the caller names is relative to the working directory, one of the job to the job.
    """
    if given is not None:
        return _of_caller(given)
    schema = job.output.schema if job.output is not None else None
    needs_none = (job.output and job.output.votes) or job.labels or job.translate
    if job.output is not None and schema is None and not needs_none:
        raise UsageError(f"{path}: output.schema: is missing; name a JSON Schema or hold one here")
    if schema is None or isinstance(schema, dict):
        return schema
    return _read(path.parent / schema, f"{path}: output.schema")


def _of_caller(given: Any) -> dict[str, Any]:
    if isinstance(given, str | Path):
        return _read(Path(given), "schema")
    if isinstance(given, Mapping):
        return dict(given)
    describe = getattr(given, "model_json_schema", None)  # pydantic's
    try:
        schema: dict[str, Any] = msgspec.json.schema(given) if describe is None else describe()
    except Exception as error:  # whatever a foreign class raises as it is described
        raise UsageError(
            f"schema: expected a JSON Schema, the path of one or a class that stands for one, "
            f"got {shown(given)}: {reason(error)}"
        ) from error
    return schema


def _read(file: Path, place: str) -> dict[str, Any]:
    try:
        schema = msgspec.json.decode(file.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{place}: {file} cannot be read as JSON: {_why(error)}") from error
    if not isinstance(schema, dict):
        raise UsageError(f"{file}: expected a JSON Schema object, got {type(schema).__name__}")
    return schema


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return reason(error.strerror if isinstance(error, OSError) else error)
