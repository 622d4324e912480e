"""Opening a run: a new one is planned, an interrupted one is taken up where it stopped.

A plan that is made before anything is sent is whole or not there: a kill while it was being made
leaves a journal without a plan, which is made again. So is the plan of a run that was changed
before anything was sent. With `--eager` the plan is there from the beginning, without rows, and
what it has of them is durable before they are sent: the next start goes on from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchkit.damage import part_number
from batchkit.duplicates import finding_duplicates
from batchkit.errors import UsageError
from batchkit.folder import RunFolder
from batchkit.inputs import Input
from batchkit.invalid_rows import invalid_row
from batchkit.journal import DamagedError, Journal, Planned
from batchkit.plan import BlockStore, Fault, Plan, decode_plan, encode_plan
from batchkit.planner import Planner
from batchkit.prepare import Report, scan
from batchkit.records import Prior
from batchkit.rows import SettledRows
from batchkit.session import InFlightAtKill, decode_session, in_flight_at_kill
from batchkit.tally import Tally, decode_tally, encode_tally

PART_ROWS = 10_000  # rows of a part; with 1.5 KB answers a part is a few megabytes
_FAULT_GROUP = 1000  # bad rows of one commit
_ROOM_PER_ROW = 4096  # bytes; a row stands in the journal and, while it is sealed, in its part too
_ROOM_AT_LEAST = 16 << 20  # SQLite's log is 8 MiB before it is reused, and a reader holds that up


class OpenRun(msgspec.Struct):
    """A run ready to go on."""

    journal: Journal
    plan: Plan
    tally: Tally
    settled: SettledRows
    prior: dict[int, Prior]  # rows that were begun and have not settled
    at_kill: list[InFlightAtKill]  # what the last start may have had in flight when it was killed
    unsealed: list[int]  # complete parts whose rows are still in the journal
    planner: Planner | None = None  # of the rows that the plan lacks

    def take_in(self, planned: Planned) -> None:
        """Have more of the plan, before anything is sent."""
        for one in planned.invalid:
            self.tally.of(one.result.model, one.result.currency).add_result(one.result)
        self.journal.commit(planned.invalid, [], encode_tally(self.tally), plan=planned.plan)
        self.plan.become(decode_plan(planned.plan))
        completed = [self.settled.grow(planned.rows, is_whole=planned.is_whole)]
        completed += [self.settled.add(one.result.row) for one in planned.invalid]
        self.unsealed += [number for number in completed if number is not None]


def open_journal(folder: RunFolder) -> tuple[Journal, Plan | None]:
    """The journal in `folder`, which is locked, made if it is not there; and its plan."""
    folder.refuse_foreign()
    if not folder.journal.exists():
        return Journal.create(folder.journal), None
    journal = Journal.open(folder.journal)
    try:
        planned = journal.get("plan")
        return journal, None if planned is None else decode_plan(planned)
    except BaseException:
        journal.close()
        raise


def remove_journal(path: Path) -> None:
    """Remove a journal that never held anything, after SQLite's own files beside it.

    In this order, since a log that outlived its journal would be taken for that of the next one.
    """
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def new_plan(journal: Journal, given: Input, report: Report) -> Plan:
    """Plan a run in which nothing was sent yet; raises `UsageError` for an input that cannot be."""
    journal.drop_plan()
    tally = Tally()

    def settle(faults: list[Fault]) -> None:
        settled = [invalid_row(fault, given.spec) for fault in faults]
        for one in settled:
            tally.of(one.result.model, one.result.currency).add_result(one.result)
        journal.commit(settled, [], encode_tally(tally))

    sink = _Grouped(settle)
    plan = scan_input(given, journal, sink if given.spec.skip_invalid else None, report)
    sink.flush()
    journal.finish_plan(encode_plan(plan), encode_tally(tally))
    return plan


def scan_input(
    given: Input, store: BlockStore, on_fault: Callable[[Fault], None] | None, report: Report
) -> Plan:
    """The plan of the input as it is now; its blocks go into `store`."""
    spec, source, keeping = given.spec, given.source, given.keeping()
    with finding_duplicates(wanted=spec.dedupe) as duplicates:
        writer = scan(
            source,
            given.rendering(),
            store,
            limit=spec.limit,
            duplicates=duplicates,
            on_fault=on_fault,
            observe=keeping.observe,
            report=report,
        )
    if writer.rows == 0:
        raise UsageError(f"{source.path}: holds no rows; expected at least one")
    plan = blank_plan(given, keeping.types())
    plan.rows, plan.invalid = writer.rows, writer.invalid
    plan.models, plan.shares = writer.models, writer.shares
    plan.input["xxh3"] = source.content_hash()
    plan.is_whole = True
    return plan


def begin_plan(journal: Journal, given: Input) -> Plan:
    """A plan that will grow, of a run in which nothing was sent yet."""
    journal.drop_plan()
    plan = blank_plan(given, given.keeping().types())
    journal.finish_plan(encode_plan(plan), encode_tally(Tally()))
    return plan


def blank_plan(given: Input, keep: str) -> Plan:
    """A plan of the input as it is now, without any of its rows; `keep` is as in a plan."""
    spec, source = given.spec, given.source
    return Plan(
        rows=0,
        invalid=0,
        models=[],
        shares=[],
        asks=given.asks(),
        input={"path": str(source.path), **source.fingerprint()},
        limit=spec.limit,
        part_rows=PART_ROWS,
        format=spec.format,
        keep=keep,
        dedupe=spec.dedupe,
        is_whole=False,
    )


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


def take_up(journal: Journal, plan: Plan) -> OpenRun:
    """The state in which the run was left."""
    settled = SettledRows(plan.rows, plan.part_rows, is_whole=plan.is_whole)
    for part in journal.parts():
        settled.add_part(part.part)
    completed = (settled.add(row) for row in journal.settled_rows())
    unsealed = [number for number in completed if number is not None]
    tally = read_tally(journal)
    if settled.count != tally.settled:
        raise DamagedError(
            f"{journal.path}: holds {settled.count:,} settled rows, but {tally.settled:,} were "
            "counted; the file was damaged: put it back, or begin another run with -o"
        )
    session = journal.get("session")
    return OpenRun(
        journal=journal,
        plan=plan,
        tally=tally,
        settled=settled,
        prior=_prior(journal),
        at_kill=in_flight_at_kill(decode_session(session) if session else None, settled),
        unsealed=unsealed,
    )


def read_tally(journal: Journal) -> Tally:
    blob = journal.get("tally")
    if blob is None:
        raise DamagedError(f"{journal.path}: the tally is missing; the file was damaged")
    return decode_tally(blob)


def check_room(folder: RunFolder, plan: Plan, settled: SettledRows) -> None:
    """Raise `UsageError` if the disk has no room for what will be in the journal at one time."""
    rows_left, at_once = plan.rows - settled.count, 2 * plan.part_rows
    needed = _ROOM_AT_LEAST + min(rows_left, at_once) * _ROOM_PER_ROW
    if not plan.is_whole:
        needed = _ROOM_AT_LEAST + at_once * _ROOM_PER_ROW
    free = shutil.disk_usage(folder.path).free
    if rows_left and free < needed:
        raise UsageError(
            f"{folder.path}: the disk has {free >> 10:,} KiB free, the journal needs about "
            f"{needed >> 10:,} KiB; make room, or use a folder on another disk with -o"
        )


def _prior(journal: Journal) -> dict[int, Prior]:
    prior: dict[int, Prior] = {}
    for attempt in journal.open_attempts():
        found = prior.setdefault(attempt.row, Prior(first_at=attempt.started_at))
        found.attempts += 1
        found.number = max(found.number, attempt.attempt)
        if attempt.chunk is not None:
            found.chunks[attempt.chunk] = max(found.chunks.get(attempt.chunk, 0), attempt.attempt)
        found.usage += attempt.usage
        found.cost += attempt.cost
    return prior


def clear_remains(folder: RunFolder, journal: Journal, plan: Plan) -> None:
    """Remove what a kill left of parts: unfinished, not recorded, or past a shortened input.

    The rows of a part that was not recorded stand in the journal: it will be sealed again.
    """
    sealed = {part.part for part in journal.parts()}
    reopened = set(journal.reopened_parts())
    for parent in (folder.results, folder.attempts):
        for path in parent.glob("part-*"):
            number = part_number(path.name.removesuffix(".tmp"))
            if number is None or (number in sealed and path.suffix != ".tmp"):
                continue
            rows = range(number * plan.part_rows, min((number + 1) * plan.part_rows, plan.rows))
            is_gone = number in reopened and not rows
            is_unrecorded = number not in reopened and _has_all(journal, rows)
            if path.suffix == ".tmp" or is_gone or is_unrecorded:
                path.unlink()


def _has_all(journal: Journal, rows: range) -> bool:
    return len(rows) > 0 and journal.count_settled(rows.start, rows.stop) == len(rows)
