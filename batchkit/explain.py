"""A dry run: for each class of rows, what would be asked and why."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from batchkit.folder import RunFolder
from batchkit.inputs import Input
from batchkit.journal import Journal
from batchkit.opening import read_tally, scan_input
from batchkit.plan import Fault, Plan, decode_plan
from batchkit.prepare import Report
from batchkit.resume import changes
from batchkit.revision import Difference, Revision
from batchkit.tally import Tally

Line = tuple[int, str]


def explain(folder: RunFolder, given: Input, *, report: Report = lambda _rows: None) -> str:
    """What `batchkit run` would do with the rows, a line per class; changes and sends nothing."""
    faults: list[Fault] = []
    on_fault = faults.append if given.spec.skip_invalid else None
    lines: list[Line]
    if not folder.journal.exists():
        lines = _new(_scanned(given, on_fault, report))
    else:
        with closing(Journal.open(folder.journal)) as journal:
            blob = journal.get("plan")
            if blob is None or journal.is_untouched():
                lines = _new(_scanned(given, on_fault, report))
            elif (plan := decode_plan(blob)).is_whole and not changes(plan, given):
                lines = _unchanged(read_tally(journal), plan, given)
            else:
                with closing(Revision(journal, plan)) as revision:
                    now = scan_input(given, revision, on_fault, report)
                    lines = _changed(revision.compare(now), given)
    return "\n".join(f"{count:>10,} {what}" for count, what in lines if count)


def _scanned(given: Input, on_fault: Callable[[Fault], None] | None, report: Report) -> Plan:
    with (
        tempfile.TemporaryDirectory(prefix="batchkit-") as scratch,
        closing(Journal.create(Path(scratch) / "journal.db")) as journal,
    ):
        return scan_input(given, journal, on_fault, report)


def _new(plan: Plan) -> list[Line]:
    requests = sum(share.requests for share in plan.shares)
    rows = plan.rows - plan.invalid - plan.copies
    return [
        (rows, "new: would be asked" + (f", in {requests:,} requests" if requests != rows else "")),
        (plan.copies, "copies: would get the answer of an equal row"),
        (plan.invalid, "invalid: would fail without being sent"),
    ]


def _unchanged(tally: Tally, plan: Plan, given: Input) -> list[Line]:
    ok = sum(model.ok for model in tally.models.values())
    again = {
        kind: sum(by_code.values())
        for kind, by_code in tally.total().failed_rows.items()
        if _is_retried(kind, given.spec.retry_failed)
    }
    failed = sum(model.failed for model in tally.models.values()) - sum(again.values())
    copies = plan.copies - tally.total().deduplicated
    return [
        (ok, "kept: answered"),
        (failed, "kept: failed (ask them again with --retry-failed)"),
        *((count, f"failed, {kind}: would be asked again") for kind, count in again.items()),
        (plan.rows - tally.settled - copies, "not answered yet: would be asked"),
        (copies, "copies: would get the answer of an equal row"),
    ]


def _is_retried(kind: str, kinds: frozenset[str] | None) -> bool:
    return kinds is not None and kind != "invalid_row" and (not kinds or kind in kinds)


def _changed(difference: Difference, given: Input) -> list[Line]:
    would = "would be asked" if given.spec.update else "would be asked with --update"
    return [
        (difference.kept, "kept: they ask what they asked"),
        (difference.changed, f"changed: {would}"),
        (difference.new, f"new: {would}"),
        (difference.unplanned, "not checked before: would be asked"),
        (difference.removed, "removed: their results would go"),
    ]
