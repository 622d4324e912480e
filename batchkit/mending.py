"""Brings a run whose rows changed back to the rule by which its copies settle.

The rule: an original that has settled has its answer kept, and one that has not has none. After it
has changed, an original may have settled before it had copies: its answer is taken from its result.
Or an answer may have outlived the row that was asked for it: the next row is no original then, but
gets that answer as the others do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from batchkit.journal import Journal, KeptAnswer, Settled
from batchkit.originals import kept_answer
from batchkit.plan import (
    BLOCK_ROWS,
    Entry,
    Plan,
    Role,
    block_entries,
    encode_plan,
    pack_entries,
    read_entries,
)
from batchkit.records import Attempt
from batchkit.rows import SettledRows

ReadPart = Callable[[int], Iterable[Settled | Attempt]]


def mend_answers(journal: Journal, plan: Plan, settled: SettledRows, read_part: ReadPart) -> None:
    """Make the rule true; `plan` is changed with its blocks."""
    sealed = {part.part for part in journal.parts()}
    for number in range(settled.parts):
        rows = settled.part(number)
        missing = _missing(journal, rows, settled)
        if missing:
            results = (
                read_part(number) if number in sealed else journal.settled(rows.start, rows.stop)
            )
            answers = _answers(results, missing)
            with journal.revising():
                journal.keep_answers(answers)
    for number in range(-(-plan.rows // BLOCK_ROWS)):
        _demote(journal, plan, number, settled)
    plan.are_answers_stale = False
    journal.put_all({"plan": encode_plan(plan)})


def _missing(journal: Journal, rows: range, settled: SettledRows) -> dict[int, int]:
    """Digests, by row, of originals among `rows` that have settled without a kept answer."""
    return {
        row: entry.digest
        for row, entry in _originals(journal, rows)
        if row in settled and not journal.has_answer(entry.digest)
    }


def _originals(journal: Journal, rows: range) -> Iterator[tuple[int, Entry]]:
    for row, entry in enumerate(read_entries(journal, rows.stop, rows.start), rows.start):
        if row >= rows.stop:
            return
        if entry.role == Role.ORIGINAL:
            yield row, entry


def _answers(records: Iterable[Settled | Attempt], wanted: dict[int, int]) -> Iterator[KeptAnswer]:
    for one in records:
        if isinstance(one, Settled) and one.result.row in wanted:
            yield kept_answer(wanted[one.result.row], one.result)


def _demote(journal: Journal, plan: Plan, number: int, settled: SettledRows) -> None:
    """Make copies of a block's originals that are open though their answer is kept."""
    first = number * BLOCK_ROWS
    entries = block_entries(journal.block(number))
    known = [
        at
        for at, entry in enumerate(entries)
        if entry.role == Role.ORIGINAL
        and first + at not in settled
        and journal.has_answer(entry.digest)
    ]
    if not known:
        return
    for at in known:
        plan.shares[entries[at].model].ask_less(entries[at])
        entries[at] = entries[at]._replace(role=Role.COPY)
    with journal.revising():
        journal.stage_block(number, pack_entries(entries))
        journal.keep("plan", encode_plan(plan))
