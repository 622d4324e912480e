"""Opening a run: a new one is planned, an interrupted one is taken up where it stopped.

The plan is whole or it is not there: a kill while it was being made leaves a journal without a
plan, which is made again, since nothing was sent yet. So is the plan of a run that was changed
before anything was sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import msgspec

from batchkit.errors import ErrorKind, UsageError
from batchkit.folder import RunFolder
from batchkit.journal import DamagedError, Journal, SealedPart, Settled
from batchkit.plan import Fault, Plan
from batchkit.pool import Prior
from batchkit.prepare import Builder, scan
from batchkit.records import Result, Usage
from batchkit.rows import SettledRows
from batchkit.sources import Raw, Source
from batchkit.spec import Spec
from batchkit.tally import Tally, decode_tally, encode_tally

PART_ROWS = 10_000  # rows of a part; with 1.5 KB answers a part is a few megabytes
_FAULT_GROUP = 1000  # bad rows of one commit

_decode_plan = msgspec.msgpack.Decoder(Plan).decode
_encode_plan = msgspec.msgpack.Encoder().encode


class OpenRun(msgspec.Struct):
    """A run ready to go on."""

    journal: Journal
    plan: Plan
    tally: Tally
    settled: SettledRows
    prior: dict[int, Prior]  # rows that were begun and have not settled
    unsealed: list[int]  # complete parts whose rows are still in the journal


class Keeping(msgspec.Struct, frozen=True):
    """The kept columns of an input: what to look at while it is scanned, and their types after."""

    observe: Callable[[Raw], None] | None
    types: Callable[[], str]  # as text, for the plan


def open_run(
    folder: RunFolder,
    spec: Spec,
    source: Source,
    builder: Builder,
    keeping: Keeping,
    *,
    report: Callable[[int], None] = lambda _rows: None,
) -> OpenRun:
    """The run in `folder`, which is locked: planned if it is new, else as it was left.

    Raises:
        UsageError: the input has rows that cannot be sent, or the run was begun with another
            input, job or format.
        DamagedError: the journal or a part is not what batchkit wrote.
    """
    folder.refuse_foreign()
    is_new = not folder.journal.exists()
    journal = Journal.create(folder.journal) if is_new else Journal.open(folder.journal)
    try:
        planned = journal.get("plan")
        if planned is None:
            journal.drop_plan()
            plan = _make_plan(journal, spec, source, builder, keeping=keeping, report=report)
        else:
            plan = _decode_plan(planned)
            changes = _changes(plan, spec, source)
            if changes and journal.is_untouched():
                journal.drop_plan()
                plan = _make_plan(journal, spec, source, builder, keeping=keeping, report=report)
            elif changes:
                raise UsageError(f"{changes[0]}; put it back, or use another folder with -o")
        return _take_up(folder, journal, plan)
    except BaseException:
        journal.close()
        if is_new and not folder.run_json.exists():
            remove_journal(folder.journal)
        raise


def remove_journal(path: Path) -> None:
    """Remove a journal that never held anything, with SQLite's own files beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _make_plan(
    journal: Journal,
    spec: Spec,
    source: Source,
    builder: Builder,
    *,
    keeping: Keeping,
    report: Callable[[int], None],
) -> Plan:
    tally = Tally()

    def settle(faults: list[Fault]) -> None:
        settled = [Settled(_invalid_row(fault, spec), None) for fault in faults]
        for one in settled:
            tally.of(one.result.model, one.result.currency).add_result(one.result)
        journal.commit(settled, [], encode_tally(tally))

    sink = _Grouped(settle) if spec.skip_invalid else None
    writer = scan(
        source,
        builder,
        journal,
        limit=spec.limit,
        on_fault=sink,
        observe=keeping.observe,
        report=report,
    )
    if sink is not None:
        sink.flush()
    if writer.rows == 0:
        raise UsageError(f"{source.path}: holds no rows; expected at least one")
    plan = Plan(
        rows=writer.rows,
        invalid=writer.invalid,
        models=writer.models,
        shares=writer.shares,
        asks=spec.asks(),
        input={"path": str(source.path), **source.fingerprint(), "xxh3": source.content_hash()},
        limit=spec.limit,
        part_rows=PART_ROWS,
        format=spec.format,
        keep=keeping.types(),
    )
    journal.finish_plan(_encode_plan(plan), encode_tally(tally))
    return plan


class _Grouped:
    """Passes faults on in groups."""

    def __init__(self, take: Callable[[list[Fault]], None]) -> None:
        self._take = take
        self._held: list[Fault] = []

    def __call__(self, fault: Fault) -> None:
        self._held.append(fault)
        if len(self._held) >= _FAULT_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self._take(self._held)
            self._held = []


def _invalid_row(fault: Fault, spec: Spec) -> Result:
    model = spec.model or ""
    now = time.time()
    return Result(
        row=fault.row,
        custom_id=fault.custom_id,
        model=model,
        status="failed",
        content=None,
        finish_reason=None,
        tool_calls=None,
        output=None,
        usage=Usage(),
        cost=0,
        currency=spec.table[model].price.currency if model else "CNY",
        attempts=0,
        latency_s=None,
        total_s=0.0,
        finished_at=now,
        error_kind=ErrorKind.INVALID_ROW,
        error_message=f"{fault.place}: {fault.reason}",
    )


def _changes(plan: Plan, spec: Spec, source: Source) -> list[str]:
    """What is asked for now and differs from what the run was begun with, in words."""
    begun = f"{spec.out} was begun with"
    asks = spec.asks()
    changed = [key for key in asks if asks[key] != plan.asks.get(key)]
    changes: list[str] = []
    if changed:
        changes.append(f"{spec.path}: {begun} another {' and '.join(changed)}")
    if spec.limit != plan.limit:
        changes.append(f"--limit: {begun} {plan.limit or 'no limit'}")
    if spec.format != plan.format:
        changes.append(f"--format: {begun} {plan.format}")
    stat = source.fingerprint()
    same_stat = all(stat[key] == plan.input[key] for key in stat)
    if not same_stat and source.content_hash() != plan.input["xxh3"]:
        was = f"{plan.input['path']}, {plan.input['size']:,} bytes"
        changes.append(f"{source.path}: {begun} another input ({was})")
    return changes


def _take_up(folder: RunFolder, journal: Journal, plan: Plan) -> OpenRun:
    settled = SettledRows(plan.rows, plan.part_rows)
    sealed = journal.parts()
    _check_files(folder, sealed, plan.format)
    for part in sealed:
        settled.add_part(part.part)
    completed = (settled.add(row) for row in journal.settled_rows())
    unsealed = [number for number in completed if number is not None]
    blob = journal.get("tally")
    if blob is None:
        raise DamagedError(f"{folder.journal}: the tally is missing; the file was damaged")
    return OpenRun(journal, plan, decode_tally(blob), settled, _prior(journal), unsealed)


def _prior(journal: Journal) -> dict[int, Prior]:
    prior: dict[int, Prior] = {}
    for attempt in journal.open_attempts():
        found = prior.setdefault(attempt.row, Prior(first_at=attempt.started_at))
        found.attempts = max(found.attempts, attempt.attempt)
        found.usage += attempt.usage
        found.cost += attempt.cost
    return prior


def _check_files(folder: RunFolder, sealed: list[SealedPart], format_: str) -> None:
    """Sealed parts are there with their sizes; files that no seal finished are removed."""
    sizes = {}
    for part in sealed:
        name = f"part-{part.part:05}.{format_}"
        sizes[folder.results / name] = (part, part.results_bytes)
        sizes[folder.attempts / name] = (part, part.attempts_bytes)
    for path, (part, size) in sizes.items():
        if not path.is_file() or path.stat().st_size != size:
            state = f"has {path.stat().st_size:,} bytes" if path.is_file() else "is missing"
            raise DamagedError(
                f"{path}: {state}, was sealed with {size:,}; put it back: "
                f"it holds the only copy of {part.rows:,} rows"
            )
    for path in _files(folder):
        if path.suffix == ".tmp":
            path.unlink()


def _files(folder: RunFolder) -> Iterator[Path]:
    return chain.from_iterable(p.iterdir() for p in (folder.results, folder.attempts) if p.is_dir())
