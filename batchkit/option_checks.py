"""Checks of what options and a job's keys say: each raises `UsageError` with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from batchkit.errors import ErrorKind, UsageError
from batchkit.models import ModelTable

MOST_PROCESSES = 64  # each takes a core and tens of megabytes


def check_url(url: str, place: str) -> None:
    """Raise `UsageError` unless `url` is an http(s) address without a key or a query in it."""
    if any(character in url for character in "@?#"):  # may hold a key: not shown
        raise UsageError(
            f"{place}: an endpoint has no user, query or fragment; "
            "the key is read from the environment"
        )
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that no address has
        is_address = False
    if not is_address:
        raise UsageError(f"{place}: expected bigmodel, local, sim or an http(s) URL, got {url!r}")


def ceilings_of(
    given: Mapping[str, int] | int | None, table: ModelTable, place: str
) -> dict[str, int]:
    """The most requests in flight by model, "" for every model."""
    if given is None:
        return {}
    ceilings = {"": given} if isinstance(given, int) else dict(given)
    for name, ceiling in ceilings.items():
        if name and name.lower() not in table:
            raise UsageError(f"{place}: model {name!r} is not in the model table")
        at_least(ceiling, place, least=1)
    return {name.lower(): ceiling for name, ceiling in ceilings.items()}


def chain_of(said: tuple[Sequence[str], str] | None, table: ModelTable) -> tuple[str, ...]:
    """The models that a row goes on to, in order; `said` is their names and where they stand."""
    names, place = said or ((), "")
    found: list[str] = []
    for name in names:
        if name.lower() not in table:
            raise UsageError(
                f"{place}: model {name!r} is not in the model table; add it with --models"
            )
        if name.lower() in found:
            raise UsageError(f"{place}: {name!r} would lead back to itself; name each model once")
        found.append(name.lower())
    return tuple(found)


def positive_seconds(value: float, place: str) -> float:
    """A time above zero."""
    if not 0 < value < float("inf"):
        raise UsageError(f"{place}: expected seconds above 0, got {value!r}")
    return float(value)


def seconds_of(value: float, place: str) -> float:
    """A time, or zero."""
    if not 0 <= value < float("inf"):
        raise UsageError(f"{place}: expected seconds, got {value!r}")
    return float(value)


def process_count(given: int | None) -> int | None:
    """How many processes send; None: as many as the job needs."""
    if given is not None and not 0 <= given <= MOST_PROCESSES:
        raise UsageError(f"--processes: expected 0 to {MOST_PROCESSES}, got {given}")
    return given


def kinds_of(given: Sequence[str] | None) -> frozenset[str] | None:
    """Kinds of failed rows to ask again: none of them for every one; None: ask none again."""
    if given is None:
        return None
    for kind in given:
        if kind not in set(ErrorKind):
            raise UsageError(
                f"--retry-failed: expected kinds out of {', '.join(ErrorKind)}; got {kind!r}"
            )
    return frozenset(given)


def at_least(value: int, place: str, *, least: int) -> int:
    """A number that is not less than `least`."""
    if value < least:
        raise UsageError(f"{place}: expected at least {least}, got {value}")
    return value


def choice(kind: Any, value: str, place: str) -> Any:
    """The member of the enumeration `kind` that `value` names."""
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"{place}: expected one of {', '.join(kind)}, got {value!r}") from None
