"""Brings a run whose rows or kept answers changed back to the rule by which its copies settle.

The rule: an original that has settled has its answer kept, and one that has not has none; a copy
that has not settled has a kept answer or an original before it. After a change an original may have
settled before it had copies, or its kept answer was damaged: its answer is taken from its result.
An answer may have outlived the row that was asked for it: the next row is no original then, but
gets that answer as the others do. And if such an answer is lost, the first of its copies is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import groupby

from batchkit.duplicates import Duplicates
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
        _give_roles(journal, plan, _answered(journal, number, settled), Role.COPY)
    with closing(Duplicates()) as unanswered:
        for first in _unanswered(journal, plan, settled, unanswered):
            _give_roles(journal, plan, first, Role.ORIGINAL)
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


def _answered(journal: Journal, number: int, settled: SettledRows) -> list[int]:
    """Originals of a block that are open though their answer is kept."""
    return [
        row
        for row, entry in enumerate(block_entries(journal.block(number)), number * BLOCK_ROWS)
        if entry.role == Role.ORIGINAL and row not in settled and journal.has_answer(entry.digest)
    ]


def _unanswered(
    journal: Journal, plan: Plan, settled: SettledRows, waiting: Duplicates
) -> Iterator[list[int]]:
    """The first rows of those that wait for the same answer, which is not kept, by block."""
    for row, entry in enumerate(read_entries(journal, plan.rows)):
        is_open = entry.role != Role.ALONE and row not in settled
        if is_open and not journal.has_answer(entry.digest):
            waiting.add(row, entry.digest, entry.digest)
    for _, rows in groupby(waiting.firsts(), key=lambda row: row // BLOCK_ROWS):
        yield list(rows)


def _give_roles(journal: Journal, plan: Plan, rows: list[int], role: Role) -> None:
    """Make originals copies, or copies originals; `rows` are of one block."""
    if not rows:
        return
    number = rows[0] // BLOCK_ROWS
    entries = block_entries(journal.block(number))
    others = [at for row in rows if entries[at := row % BLOCK_ROWS].role != role]
    if not others:
        return
    for at in others:
        share = plan.shares[entries[at].model]
        change = share.ask_less if role is Role.COPY else share.ask_more
        change(entries[at])
        entries[at] = entries[at]._replace(role=role)
    with journal.revising():
        journal.stage_block(number, pack_entries(entries))
        journal.keep("plan", encode_plan(plan))
