"""Finding what is not as batchkit left it in a run's folder: parts, values, foreign files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from batchkit.folder import RunFolder
from batchkit.journal import Journal
from batchkit.parts import Layout
from batchkit.plan import Plan, Role, read_entries
from batchkit.spec import Format
from batchkit.unseal import check_part

_FAULT = "a value does not match its checksum"
_PART_NAME = re.compile(r"part-(\d{5,})\.(?:arrow|parquet)")


class Damage(msgspec.Struct, frozen=True):
    """Something that is not as it was left, and the rows that it holds or held."""

    place: str
    fault: str
    rows: range | None = None  # None: of no row
    part: int | None = None  # the sealed part that is damaged
    answer: int | None = None  # the digest of an answer kept for copies that is damaged
    path: Path | None = None  # a file that is not of this run

    def __str__(self) -> str:
        if self.rows is None:
            return f"{self.place}: {self.fault}"
        first, last = self.rows.start, self.rows.stop - 1
        rows = f"row {first:,}" if first == last else f"rows {first:,} to {last:,}"
        return f"{self.place}: {self.fault} ({rows})"


def remedy(found: Iterable[Damage]) -> str:
    """What `--reask-damaged` does about it, in words."""
    found = list(found)
    does = []
    if any(damage.rows is not None for damage in found):
        does.append("asks those rows again")
    if any(damage.answer is not None for damage in found):
        does.append("takes answers that rows wait for from results, or asks for them again")
    return " and ".join(does)


def find_damage(folder: RunFolder, journal: Journal, plan: Plan) -> list[Damage]:
    """Everything that is wrong, each with its place. Reads every sealed part's bytes once."""
    layout = Layout(folder.path, Format(plan.format), None, (), {})
    found = [*_parts(journal, layout, plan.part_rows), *_rows(journal), *_answers(journal, plan)]
    known = {part.part for part in journal.parts()} | set(journal.reopened_parts())
    return [*found, *_foreign(folder, journal, known, plan.part_rows)]


def _parts(journal: Journal, layout: Layout, part_rows: int) -> Iterator[Damage]:
    for part in journal.parts():
        fault = check_part(layout, part)
        if fault is not None:
            place, _, words = fault.partition(": ")
            first = part.part * part_rows
            yield Damage(place, words, range(first, first + part.rows), part.part)


def _rows(journal: Journal) -> Iterator[Damage]:
    for row in journal.damaged_rows():
        yield Damage(str(journal.path), _FAULT, range(row, row + 1))


def _answers(journal: Journal, plan: Plan) -> Iterator[Damage]:
    """Damaged answers, each by the first row that asks what it answers."""
    damaged = set(journal.damaged_answers())
    if not damaged:
        return
    for row, entry in enumerate(read_entries(journal, plan.rows)):
        if entry.digest in damaged and entry.role != Role.ALONE:
            damaged.remove(entry.digest)
            words = f"the answer to row {row:,}, kept for the rows that ask the same"
            yield Damage(f"{journal.path}: {words}", _FAULT, answer=entry.digest)
    for digest in sorted(damaged):
        words = "a kept answer that no row waits for any more"
        yield Damage(f"{journal.path}: {words}", _FAULT, answer=digest)


def _foreign(
    folder: RunFolder, journal: Journal, known: set[int], part_rows: int
) -> Iterator[Damage]:
    for parent in (folder.results, folder.attempts):
        for path in sorted(parent.iterdir()) if parent.is_dir() else ():
            if path.name.endswith(".tmp") or path.name.startswith("."):
                continue
            number = part_number(path.name)
            if number is None or not _may_be_ours(number, journal, known, part_rows):
                yield Damage(str(path), "is not of this run; move it away", path=path)


def _may_be_ours(part: int, journal: Journal, known: set[int], part_rows: int) -> bool:
    """A part whose rows all stand in the journal got its name right before a kill."""
    return part in known or journal.count_settled(part * part_rows, (part + 1) * part_rows) > 0


def part_number(name: str) -> int | None:
    """The part that a file of this name holds."""
    named = _PART_NAME.fullmatch(name)
    return None if named is None else int(named[1])
