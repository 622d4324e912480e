"""The one pass over the input before anything is sent: every row checked, planned and counted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Protocol

import msgspec

from batchkit.document import Document
from batchkit.duplicates import Duplicates
from batchkit.errors import RowError
from batchkit.plan import (
    SHOWN_FAULTS,
    BlockStore,
    Fault,
    InvalidInputError,
    PlanWriter,
    RepeatedIds,
    read_id_digests,
)
from batchkit.records import Request
from batchkit.requests import digest, id_digest, proof
from batchkit.sources import Raw, Source
from batchkit.sources.context import with_rows_before

REPORT_EVERY = 10_000  # rows between two calls of `report`


class Keeping(msgspec.Struct, frozen=True):
    """The kept columns of an input: what to look at while it is scanned, and their types after."""

    observe: Callable[[Raw], None] | None
    types: Callable[[], str]  # as text, for the plan


class Builder(Protocol):
    """Turns a row into the request that will be sent, or into several."""

    rows_before: int  # how many rows before each it looks at

    def build(self, raw: Raw) -> Request | Document:
        """Raises `RowError`."""

    def identify(self, raw: Raw) -> str:
        """The id of a row that may be bad."""


def scan(
    source: Source,
    builder: Builder,
    store: BlockStore,
    *,
    limit: int | None = None,
    duplicates: Duplicates | None = None,
    on_fault: Callable[[Fault], None] | None = None,
    observe: Callable[[Raw], None] | None = None,
    report: Callable[[int], None] = lambda _rows: None,
) -> PlanWriter:
    """Check and plan every row; raises `InvalidInputError` if rows cannot be sent.

    With `on_fault` such rows are reported to it and marked in the plan instead. With `duplicates`,
    which are empty, the plan knows which rows ask the same.
    """
    writer = PlanWriter(
        store, digests=lambda request: (id_digest(request.custom_id), digest(request))
    )
    repeated = RepeatedIds(source.fingerprint()["size"])
    shown: list[Fault] = []
    rows = with_rows_before(source.scan(), builder.rows_before)
    for raw in islice(rows, limit):
        try:
            request = builder.build(raw)
        except RowError as error:
            writer.add_invalid(raw.offset)
            fault = Fault(raw.row, builder.identify(raw), source.place(raw), str(error))
            _tell(fault, shown, on_fault)
        else:
            known_by, asks = writer.add(request, raw.offset)
            repeated.add(known_by)
            if duplicates is not None:
                duplicates.add(raw.row, asks, proof(request))
            if observe is not None:
                observe(raw)
        if writer.rows % REPORT_EVERY == 0:
            report(writer.rows)
    writer.finish()
    for fault in _repeats(source, builder, repeated.rows(read_id_digests(store, writer.rows))):
        writer.invalidate(fault.row)
        if duplicates is not None:
            duplicates.forget(fault.row)
        _tell(fault, shown, on_fault)
    if writer.invalid and on_fault is None:
        raise InvalidInputError(sorted(shown), writer.invalid, writer.rows)
    if duplicates is not None:
        writer.assign(duplicates.roles())
    return writer


def _tell(fault: Fault, shown: list[Fault], on_fault: Callable[[Fault], None] | None) -> None:
    if on_fault is not None:
        on_fault(fault)
    elif len(shown) < SHOWN_FAULTS:
        shown.append(fault)


def _repeats(source: Source, builder: Builder, suspects: dict[int, list[int]]) -> list[Fault]:
    """A fault for every row whose id an earlier row has; reads the input again, only if it must."""
    if not suspects:
        return []
    rows = {row for positions in suspects.values() for row in positions}
    last = max(rows)
    first_place: dict[str, str] = {}
    faults: list[Fault] = []
    for raw in source.scan():
        if raw.row in rows:
            custom_id = builder.build(raw).custom_id
            place = source.place(raw)
            if custom_id in first_place:
                where = first_place[custom_id].rpartition(":")[2]
                on = f"on line {where}" if where.isdecimal() else f"in {where}"
                reason = f"custom_id {custom_id!r} was used before, {on}; ids must be unique"
                faults.append(Fault(raw.row, custom_id, place, reason))
            else:
                first_place[custom_id] = place
        if raw.row >= last:
            break
    return faults
