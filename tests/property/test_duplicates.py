"""Equal rows, against a model in memory: who is asked, and that an answer is never asked for twice.

Rows settle, copies take their answers, parts are sealed, the input changes, processes die, in any
order. Whatever the order: what is asked was not answered before, and a copy has its answer.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from batchkit.duplicates import Duplicates
from batchkit.errors import ErrorKind
from batchkit.folder import RunFolder
from batchkit.journal import Journal, KeptAnswer, Settled
from batchkit.mending import mend_answers
from batchkit.opening import clear_remains, take_up
from batchkit.originals import kept_answer
from batchkit.parts import Layout, seal
from batchkit.plan import (
    BlockStore,
    Entry,
    Plan,
    PlanWriter,
    Role,
    encode_plan,
    read_entries,
)
from batchkit.records import Request, Result
from batchkit.requests import digest, id_digest, proof
from batchkit.revision import Revision
from batchkit.spec import Format
from batchkit.tally import Tally, encode_tally
from batchkit.unseal import read_part
from tests.samples import new_attempt, new_result, plan_of

PART_ROWS = 4
Row = tuple[str, str]  # an id, and what it asks


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=40),
    st.sets(st.integers(0, 39)),
)
def test_roles_are_those_of_the_first_and_of_the_others(
    asked: list[tuple[int, int]], gone: set[int]
) -> None:
    """Of two requests that share a digest by chance, the later one and its equals stand alone."""
    with closing(Duplicates()) as duplicates:
        for row, (key, tie) in enumerate(asked):
            duplicates.add(row, key << 60, tie << 62)
        for row in gone & set(range(len(asked))):
            duplicates.forget(row)
        found = list(duplicates.roles())
    left = [(row, one) for row, one in enumerate(asked) if row not in gone]
    first = {key: (row, tie) for row, (key, tie) in reversed(left)}
    count = Counter(key for _, (key, _) in left)
    assert found == [
        (row, Role.ORIGINAL if first[key][0] == row else Role.COPY)
        for row, (key, tie) in left
        if count[key] > 1 and tie == first[key][1]
    ]


def planned(store: BlockStore, rows: list[Row]) -> Plan:
    """The plan of `rows`, with their roles."""
    writer = PlanWriter(store, digests=lambda one: (id_digest(one.custom_id), digest(one)))
    with closing(Duplicates()) as duplicates:
        for number, (custom_id, asked) in enumerate(rows):
            messages = [{"role": "user", "content": asked}]
            request = Request(number, custom_id, "glm-4-plus", messages, {}, 5)
            _, asks = writer.add(request, 0)
            duplicates.add(number, asks, proof(request))
        writer.finish()
        writer.assign(duplicates.roles())
    return plan_of(writer, PART_ROWS, dedupe=True)


class EqualRows(RuleBasedStateMachine):
    """A run's folder with its plan, and how many answers there were."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="equal-"))
        self.folder = RunFolder(self.home / "out")
        self.folder.path.mkdir()

    @initialize(asked=st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
    def begin(self, asked: list[str]) -> None:
        self.rows: list[Row] = [(str(n), one) for n, one in enumerate(asked)]
        self.fresh = len(asked)
        self.answers = 0
        self.journal = Journal.create(self.folder.journal)
        self.plan = planned(self.journal, self.rows)
        self.journal.finish_plan(encode_plan(self.plan), encode_tally(Tally()))
        self.take_up()

    def take_up(self) -> None:
        self.opened = take_up(self.journal, self.plan)
        self.tally = self.opened.tally
        self.settled = self.opened.settled

    @property
    def layout(self) -> Layout:
        return Layout(self.folder.path, Format.ARROW, None, (), {}, dedupe=True)

    def entries(self) -> list[Entry]:
        return list(read_entries(self.journal, self.plan.rows))

    # -- what a run does ---------------------------------------------------------------------------

    @rule(data=st.data(), ok=st.booleans())
    def settle(self, data: st.DataObject, *, ok: bool) -> None:
        """A row that is asked settles."""
        entries = self.entries()
        asked = [
            row
            for row, entry in enumerate(entries)
            if entry.role != Role.COPY and row not in self.settled
        ]
        if not asked:
            return
        row = data.draw(st.sampled_from(asked))
        custom_id, question = self.rows[row]
        self.answers += 1
        result = new_result(
            row,
            custom_id=custom_id,
            content=f"{question} {self.answers}",
            status="ok" if ok else "failed",
            error_kind=None if ok else ErrorKind.TIMEOUT,
            metadata=custom_id,
        )
        one = Settled(result, new_attempt(row, custom_id=custom_id))
        kept = kept_answer(entries[row].digest, result)
        self.commit([one], [kept] if entries[row].role == Role.ORIGINAL else [])

    @rule()
    def settle_copies(self) -> None:
        """Those whose answer is kept."""
        found = []
        for row, entry in enumerate(self.entries()):
            if entry.role == Role.COPY and row not in self.settled:
                answer = self.journal.answer(entry.digest)
                if answer is not None:
                    custom_id, question = self.rows[row]
                    assert answer.content is not None
                    assert answer.content.startswith(f"{question} ")
                    assert answer.metadata is None
                    copied = {"row": row, "custom_id": custom_id, "deduplicated": True}
                    result: Result = msgspec.structs.replace(answer, **copied)
                    found.append(Settled(result, None))
        self.commit(found, [])

    def commit(self, settled: list[Settled], answers: list[KeptAnswer]) -> None:
        for one in settled:
            tally = self.tally.of(one.result.model, "CNY")
            tally.add_result(one.result)
            if one.attempt is not None:
                tally.add_attempt(one.attempt)
        self.journal.commit(settled, [], encode_tally(self.tally), answers=answers)
        for one in settled:
            self.settled.add(one.result.row)

    @rule()
    def seal(self) -> None:
        """Every part that is complete."""
        sealed = {part.part for part in self.journal.parts()}
        for number in range(self.settled.parts):
            if self.settled.is_complete(number) and number not in sealed:
                rows = self.settled.part(number)
                results = self.journal.settled(rows.start, rows.stop)
                part = seal(
                    self.layout, number, results, self.journal.attempts(rows.start, rows.stop)
                )
                self.journal.record_part(part, rows.start, rows.stop)

    # -- what a later start does -------------------------------------------------------------------

    @rule(data=st.data(), new=st.lists(st.sampled_from("abcde"), max_size=4))
    def change_the_input(self, data: st.DataObject, new: list[str]) -> None:
        rows = data.draw(st.permutations(self.rows))
        rows = rows[: data.draw(st.integers(1, len(rows)))]
        rows = [*rows, *((str(self.fresh + n), one) for n, one in enumerate(new))]
        self.fresh += len(new)
        with closing(Revision(self.journal, self.plan)) as revision:
            now = planned(revision, rows)
            now.are_answers_stale = True
            if not revision.compare(now).is_none:
                revision.apply(
                    now,
                    self.tally,
                    invalid=[],
                    read_part=lambda part: read_part(self.layout, part, lambda _content: None),
                    values={"plan": encode_plan(now)},
                )
                self.plan, self.rows = now, rows
        self.restart()

    @rule(data=st.data())
    def lose_answers(self, data: st.DataObject) -> None:
        """Kept answers that were damaged are dropped, whoever waits for them."""
        digests = sorted({entry.digest for entry in self.entries() if entry.role != Role.ALONE})
        if digests:
            with self.journal.revising():
                for digest in data.draw(st.sets(st.sampled_from(digests))):
                    self.journal.drop_answer(digest)
            self.plan.are_answers_stale = True
            self.restart()

    @rule()
    def restart(self) -> None:
        """A start after a kill."""
        self.journal.close()
        self.journal = Journal.open(self.folder.journal)
        clear_remains(self.folder, self.journal, self.plan)
        self.take_up()
        if self.plan.are_answers_stale:
            mend_answers(
                self.journal,
                self.plan,
                self.settled,
                lambda part: read_part(self.layout, part, lambda _content: None),
            )

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def check_rule(self) -> None:
        """An original has a kept answer if it has settled, and only then; copies can settle."""
        if not hasattr(self, "plan"):
            return
        entries = self.entries()
        waiting = {
            e.digest
            for row, e in enumerate(entries)
            if e.role == Role.ORIGINAL and row not in self.settled
        }
        for row, entry in enumerate(entries):
            if entry.role == Role.ORIGINAL:
                assert self.journal.has_answer(entry.digest) == (row in self.settled)
            if entry.role == Role.COPY and row not in self.settled:
                assert self.journal.has_answer(entry.digest) != (entry.digest in waiting)
        share = self.plan.shares[0]
        assert share.copies == sum(entry.role == Role.COPY for entry in entries)
        assert share.requests == len(entries) - share.copies

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
        shutil.rmtree(self.home)


TestEqualRows = EqualRows.TestCase
TestEqualRows.settings = settings(max_examples=40, stateful_step_count=30)
