"""The books of a run, journal and parts together, against a model that keeps everything in memory.

Rows are attempted, settled, committed, sealed, taken back and moved about in any order; a crash may
come at any step. Whatever the order: a result stands at one place, as it was; what had not been
committed is gone; and the tally is of exactly what stands there.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from batchkit.errors import Billing, ErrorKind
from batchkit.folder import RunFolder
from batchkit.journal import EndedChunk, Journal, Record, Settled, SettledChunk
from batchkit.opening import OpenRun, clear_remains, take_up
from batchkit.parts import Layout, seal
from batchkit.plan import BlockStore, Plan, PlanWriter, encode_plan
from batchkit.records import Attempt, Request, Result, Status, Usage
from batchkit.requests import digest, id_digest
from batchkit.revision import Revision
from batchkit.spec import Format
from batchkit.tally import Tally, encode_tally
from batchkit.unseal import read_part
from tests.crash.ledger import take_ledger
from tests.samples import NOON, new_attempt, new_result, plan_of

PART_ROWS = 4
MODELS = ("glm-4-plus", "glm-4-air-250414")
Row = tuple[str, int]  # an id, and which of its questions it asks


class Kept(msgspec.Struct):
    """What the model knows of one id."""

    attempts: list[Attempt]
    settled: Settled | None = None
    chunks: dict[int, SettledChunk] = {}


def planned(store: BlockStore, rows: list[Row]) -> Plan:
    """The plan of `rows`, its blocks written to `store`."""
    writer = PlanWriter(
        store, digests=lambda request: (id_digest(request.custom_id), digest(request))
    )
    for number, (custom_id, question) in enumerate(rows):
        messages = [{"role": "user", "content": f"{custom_id} {question}"}]
        request = Request(number, custom_id, model_of(custom_id), messages, {}, 5)
        writer.add(request, 0)
    writer.finish()
    return plan_of(writer, PART_ROWS)


def model_of(custom_id: str) -> str:
    return MODELS[int(custom_id) % len(MODELS)]


class Books(RuleBasedStateMachine):
    """A run's folder on one side, `Kept` per id on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="books-"))
        self.folder = RunFolder(self.home / "0")
        self.folder.path.mkdir()
        self.crashes = 0
        self.durable: dict[str, Kept] = {}
        self.draft: dict[str, Kept] = {}
        self.pending: list[Record] = []

    @initialize(count=st.integers(1, 13))
    def begin(self, count: int) -> None:
        self.rows: list[Row] = [(str(n), 0) for n in range(count)]
        self.fresh = count
        self.journal = Journal.create(self.folder.journal)
        self.plan = planned(self.journal, self.rows)
        self.journal.finish_plan(encode_plan(self.plan), encode_tally(Tally()))
        self.take_up()

    def take_up(self) -> None:
        self.opened: OpenRun = take_up(self.journal, self.plan)
        self.tally = self.opened.tally
        self.draft = msgspec.msgpack.decode(
            msgspec.msgpack.encode(self.durable), type=dict[str, Kept]
        )
        self.pending = []

    @property
    def layout(self) -> Layout:
        return Layout(self.folder.path, Format.ARROW, None, (), {})

    def kept(self, row: int) -> Kept:
        return self.draft.setdefault(self.rows[row][0], Kept([]))

    # -- what a run does ---------------------------------------------------------------------------

    @rule(data=st.data(), billing=st.sampled_from(Billing))
    def attempt(self, data: st.DataObject, billing: Billing) -> None:
        """An attempt ends that settles nothing."""
        row = data.draw(st.integers(0, len(self.rows) - 1))
        kept = self.kept(row)
        if kept.settled is None:
            kept.attempts.append(self.new_attempt(row, billing))
            self.pending.append(kept.attempts[-1])

    @rule(data=st.data(), count=st.integers(1, 2 * PART_ROWS), fails=st.integers(0, 3))
    def settle(self, data: st.DataObject, count: int, fails: int) -> None:
        """Some rows in a line settle, one of them perhaps as failed."""
        first = data.draw(st.integers(0, len(self.rows) - 1))
        for row in range(first, min(first + count, len(self.rows))):
            if self.kept(row).settled is None:
                self.settle_row(row, ok=row - first != fails)

    @rule(data=st.data(), chunk=st.integers(1, 3), ok=st.booleans())
    def settle_chunk(self, data: st.DataObject, chunk: int, *, ok: bool) -> None:
        """A chunk is answered or fails; one that is there already asks something else now."""
        row = data.draw(st.integers(0, len(self.rows) - 1))
        kept, custom_id = self.kept(row), self.rows[row][0]
        if kept.settled is not None:
            return
        kept.attempts.append(self.new_attempt(row, Billing.BILLED, chunk))
        status: Status = "ok" if ok else "failed"
        result = new_result(row, custom_id=custom_id, status=status)
        kept.chunks[chunk] = SettledChunk(len(kept.attempts), result, chunk)
        self.pending.append(EndedChunk(kept.chunks[chunk], kept.attempts[-1]))

    @rule(data=st.data())
    def settle_document(self, data: st.DataObject) -> None:
        """A row settles by its chunks; it is ok if they all are."""
        row = data.draw(st.integers(0, len(self.rows) - 1))
        kept = self.kept(row)
        if kept.settled is not None or not kept.chunks:
            return
        ok = all(chunk.result.status == "ok" for chunk in kept.chunks.values())
        kept.settled = Settled(self.result(row, ok=ok), None)
        if ok:
            kept.chunks = {}
        self.pending.append(kept.settled)

    def new_attempt(self, row: int, billing: Billing, chunk: int | None = None) -> Attempt:
        custom_id = self.rows[row][0]
        number = sum(one.chunk == chunk for one in self.kept(row).attempts) + 1
        return new_attempt(
            row,
            custom_id=custom_id,
            attempt=number,
            model=model_of(custom_id),
            started_at=NOON + number,
            billing=billing,
            usage=Usage(number, 0, 1) if billing is Billing.BILLED else Usage(),
            cost=number if billing is Billing.BILLED else 0,
            bound=7 if billing is Billing.UNKNOWN else 0,
            chunk=chunk,
        )

    def settle_row(self, row: int, *, ok: bool) -> None:
        kept = self.kept(row)
        kept.attempts.append(self.new_attempt(row, Billing.BILLED))
        kept.settled = Settled(self.result(row, ok=ok), kept.attempts[-1])
        self.pending.append(kept.settled)

    def result(self, row: int, *, ok: bool) -> Result:
        kept, custom_id = self.kept(row), self.rows[row][0]
        return new_result(
            row,
            custom_id=custom_id,
            model=model_of(custom_id),
            status="ok" if ok else "failed",
            error_kind=None if ok else ErrorKind.TIMEOUT,
            content=f"answer to {self.rows[row]}",
            attempts=len(kept.attempts),
            cost=sum(one.cost for one in kept.attempts),
            finished_at=NOON + len(kept.attempts),
        )

    @rule()
    def commit(self) -> None:
        for record in self.pending:
            attempt = record if isinstance(record, Attempt) else record.attempt
            if attempt is not None:
                self.tally.of(attempt.model, "CNY").add_attempt(attempt)
            if isinstance(record, Settled):
                self.tally.of(record.result.model, "CNY").add_result(record.result)
        settled = [record for record in self.pending if isinstance(record, Settled)]
        attempts = [record for record in self.pending if isinstance(record, Attempt)]
        chunks = [record for record in self.pending if isinstance(record, EndedChunk)]
        self.journal.commit(settled, attempts, encode_tally(self.tally), chunks=chunks)
        for one in settled:
            self.opened.settled.add(one.result.row)
        self.durable = msgspec.msgpack.decode(
            msgspec.msgpack.encode(self.draft), type=dict[str, Kept]
        )
        self.pending = []

    @rule(data=st.data(), recorded=st.booleans())
    def seal(self, data: st.DataObject, *, recorded: bool) -> None:
        """A complete part gets its name; a crash may come before it is recorded."""
        self.commit()
        sealed = {part.part for part in self.journal.parts()}
        complete = [
            number
            for number in range(self.opened.settled.parts)
            if self.opened.settled.is_complete(number) and number not in sealed
        ]
        if not complete:
            return
        number = data.draw(st.sampled_from(complete))
        rows = self.opened.settled.part(number)
        part = seal(
            self.layout,
            number,
            self.journal.settled(rows.start, rows.stop),
            self.journal.attempts(rows.start, rows.stop),
        )
        if recorded:
            self.journal.record_part(part, rows.start, rows.stop)
        else:
            self.crash()

    @rule(cut=st.integers(0, 500))
    def leave_unfinished(self, cut: int) -> None:
        """A seal that a crash broke off leaves a file without its name."""
        for path in (self.folder.results, self.folder.attempts):
            if path.is_dir():
                (path / "part-00000.arrow.tmp").write_bytes(b"ARROW1" * cut)

    # -- what a later start does -------------------------------------------------------------------

    @rule()
    def crash(self) -> None:
        """Nothing is closed; the files as they are go on elsewhere."""
        self.crashes += 1
        old, self.folder = self.folder, RunFolder(self.home / str(self.crashes))
        ignored = shutil.ignore_patterns("*-shm")
        shutil.copytree(old.path, self.folder.path, ignore=ignored)
        self.journal.close()
        shutil.rmtree(old.path)
        self.check()
        self.journal = Journal.open(self.folder.journal)
        clear_remains(self.folder, self.journal, self.plan)
        self.take_up()

    @rule()
    def take_failed_rows_back(self) -> None:
        self.commit()
        for part in self.journal.parts():
            records = list(read_part(self.layout, part.part, lambda _content: None))
            with self.journal.revising():
                self.journal.take_back(part, records)
                self.journal.keep("tally", encode_tally(self.tally))
        with self.journal.revising():
            self.journal.drop_failed_chunks()
            for one in list(self.journal.settled(0, len(self.rows))):
                if one.result.status == "failed":
                    self.journal.unsettle(one)
                    self.tally.forget_result(one.result)
            self.journal.keep("tally", encode_tally(self.tally))
        for kept in self.durable.values():
            answered = (one for one in kept.chunks.values() if one.result.status == "ok")
            kept.chunks = {one.chunk: one for one in answered}
            if kept.settled is not None and kept.settled.result.status == "failed":
                kept.settled = None
        self.take_up()

    @rule(data=st.data(), changed=st.integers(0, 3), new=st.integers(0, 3))
    def change_the_input(self, data: st.DataObject, changed: int, new: int) -> None:
        """Rows go, come, move and ask something else."""
        self.commit()
        rows = data.draw(st.permutations(self.rows))
        rows = rows[: data.draw(st.integers(1, len(rows)))]
        rows = [(i, q + 1) if n < changed else (i, q) for n, (i, q) in enumerate(rows)]
        rows += [(str(self.fresh + n), 0) for n in range(new)]
        self.fresh += new
        revision = Revision(self.journal, self.plan)
        now = planned(revision, rows)
        difference = revision.compare(now)
        if not difference.is_none:
            revision.apply(
                now,
                self.tally,
                invalid=[],
                read_part=lambda part: read_part(self.layout, part, lambda _content: None),
                values={"plan": encode_plan(now)},
            )
            before = dict(self.rows)
            stay = dict(rows)
            self.durable = {i: kept for i, kept in self.durable.items() if i in stay}
            for custom_id, kept in self.durable.items():
                if stay[custom_id] != before[custom_id]:
                    kept.settled = None
            self.plan, self.rows = now, rows
        revision.close()
        self.take_up()

    # -- what must hold ----------------------------------------------------------------------------

    def check(self) -> None:
        ledger = take_ledger(self.folder.path)
        assert ledger is not None
        places = {custom_id: row for row, (custom_id, _) in enumerate(self.rows)}
        results = {}
        attempts = {}
        chunks = {}
        for custom_id, kept in self.durable.items():
            row = places[custom_id]
            if kept.settled is not None:
                results[row] = msgspec.structs.replace(kept.settled.result, row=row)
            for attempt in kept.attempts:
                key = (row, attempt.chunk or 0, attempt.attempt)
                attempts[key] = msgspec.structs.replace(attempt, row=row)
            for chunk in kept.chunks.values():
                result = msgspec.structs.replace(chunk.result, row=row)
                chunks[row, chunk.chunk] = msgspec.structs.replace(chunk, result=result)
        assert ledger.results == results
        assert ledger.attempts == attempts
        assert ledger.chunks == chunks

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.commit()
            self.crash()
            self.journal.close()
        shutil.rmtree(self.home)


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=30)
