"""The one pass over the input before its rows are sent: every row checked, planned and counted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Protocol

import msgspec

from batchkit.document import Document
from batchkit.duplicates import Duplicates
from batchkit.errors import RowError
from batchkit.plan import (
    BLOCK_ROWS,
    SHOWN_FAULTS,
    BlockStore,
    Fault,
    InvalidInputError,
    Plan,
    PlanWriter,
    RepeatedIds,
    block_entries,
    read_id_digests,
)
from batchkit.records import Request
from batchkit.requests import digest, id_digest, proof
from batchkit.sources import Raw, Source
from batchkit.sources.context import with_rows_before

Report = Callable[[int], None]


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


class Scan:
    """Goes over the rows of an input block by block, and plans them; bad ones are told and marked.

    Of a plan that has rows already, those are passed over.
    """

    def __init__(
        self,
        source: Source,
        builder: Builder,
        store: BlockStore,
        *,
        on_fault: Callable[[Fault], None],
        limit: int | None = None,
        duplicates: Duplicates | None = None,
        observe: Callable[[Raw], None] | None = None,
        after: Plan | None = None,
    ) -> None:
        self.plan = PlanWriter(
            store,
            digests=lambda request: (id_digest(request.custom_id), digest(request)),
            after=after,
        )
        self._source = source
        self._builder = builder
        self._on_fault = on_fault
        self._duplicates = duplicates
        self._observe = observe
        self._raws = islice(with_rows_before(source.scan(), builder.rows_before), limit)
        self._repeated = RepeatedIds(source.fingerprint()["size"])
        self._passed = 0  # rows
        self._id_checked = self.plan.rows  # rows before this one have ids of their own

    @property
    def is_passing(self) -> bool:
        """Whether rows come that are planned already."""
        return self._passed < self._id_checked

    @property
    def suspects(self) -> int:
        """How many ids are to be looked at by `check_ids`."""
        return self._repeated.suspects

    def next_block(self) -> bool:
        """Check the rows of the next block, all but their ids; False if the input ends with it."""
        if self.is_passing:
            return self._pass_over()
        before = self.plan.rows
        for raw in islice(self._raws, BLOCK_ROWS):
            self._check(raw)
        if self.plan.rows - before == BLOCK_ROWS:
            return True
        self.plan.finish()
        return False

    def check_ids(self) -> None:
        """Find the rows since the last call whose id an earlier row has; after a whole block."""
        suspects = {}
        if self.suspects:
            suspects = self._repeated.rows(read_id_digests(self.plan.store, self.plan.rows))
        for fault in _repeats(self._source, self._builder, suspects):
            if fault.row >= self._id_checked:
                self.plan.invalidate(fault.row)
                if self._duplicates is not None:
                    self._duplicates.forget(fault.row)
                self._on_fault(fault)
        self._id_checked = self._passed = self.plan.rows

    def close(self) -> None:
        """Close the input."""
        self._raws = islice((), None)

    def _check(self, raw: Raw) -> None:
        try:
            request = self._builder.build(raw)
        except RowError as error:
            self.plan.add_invalid(raw.offset)
            place = self._source.place(raw)
            self._on_fault(Fault(raw.row, self._builder.identify(raw), place, str(error)))
            return
        known_by, asks = self.plan.add(request, raw.offset)
        self._repeated.add(known_by)
        if self._duplicates is not None:
            self._duplicates.add(raw.row, asks, proof(request))
        if self._observe is not None:
            self._observe(raw)

    def _pass_over(self) -> bool:
        for entry in block_entries(self.plan.store.block(self._passed // BLOCK_ROWS)):
            if not entry.invalid:
                self._repeated.add(entry.id_digest)
        passed = sum(1 for _ in islice(self._raws, BLOCK_ROWS))
        self._passed += passed
        if not self.is_passing:
            self._repeated.rows(())  # they were looked at when they were planned
        return passed == BLOCK_ROWS


def scan(
    source: Source,
    builder: Builder,
    store: BlockStore,
    *,
    limit: int | None = None,
    duplicates: Duplicates | None = None,
    on_fault: Callable[[Fault], None] | None = None,
    observe: Callable[[Raw], None] | None = None,
    report: Report = lambda _rows: None,
) -> PlanWriter:
    """Check and plan every row; raises `InvalidInputError` if rows cannot be sent.

    With `on_fault` such rows are reported to it and marked in the plan instead. With `duplicates`,
    which are empty, the plan knows which rows ask the same.
    """
    shown: list[Fault] = []

    def show(fault: Fault) -> None:
        if len(shown) < SHOWN_FAULTS:
            shown.append(fault)

    scanning = Scan(
        source,
        builder,
        store,
        on_fault=on_fault or show,
        limit=limit,
        duplicates=duplicates,
        observe=observe,
    )
    writer = scanning.plan
    while scanning.next_block():
        report(writer.rows)
    scanning.check_ids()
    if writer.invalid and on_fault is None:
        raise InvalidInputError(sorted(shown), writer.invalid, writer.rows)
    if duplicates is not None:
        writer.assign(duplicates.roles())
    return writer


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
