"""Plans an input block by block, so that its first rows can be sent while the rest is checked.

Rules:

1. A row is handed over when it and every row before it were checked, their ids included, and in
   whole blocks, save the last.
2. The first bad row that is not to be skipped ends that: it and the rows after it are checked on,
   for the message, and never handed over.
3. Ids that may occur twice are looked at together, when a quarter more rows wait for it than were
   handed over, or enough to fill memory. So the looks, each of which goes over the ids so far, take
   together a time that grows linearly with the rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import anyio.from_thread

from batchkit.errors import StoppedError, UsageError
from batchkit.inputs import Input
from batchkit.invalid_rows import invalid_row
from batchkit.journal import Journal, Planned
from batchkit.plan import (
    SHOWN_FAULTS,
    BlockStore,
    Fault,
    InvalidInputError,
    Plan,
    decode_plan,
    encode_plan,
)
from batchkit.prepare import Scan
from batchkit.recorder import Recorder

_HELD_SHARE = 4  # of the rows handed over, the part that may wait for a look at their ids
_HELD_MOST = 20_000  # bad rows and suspect ids in memory; some ten megabytes


def refuse_eager(given: Input) -> None:
    """Raise `UsageError` if the job needs to know all rows before any is sent."""
    spec = given.spec
    needs = {
        "dedupe": spec.dedupe and "which rows ask the same",
        "--confirm-above": spec.confirm_above is not None and "what all rows cost",
        "--max-failed": spec.max_failed is not None
        and spec.max_failed.share is not None
        and "how many rows there are; give a number of them",
        "keep": bool(spec.keep)
        and given.source.keep_columns is None
        and f"the columns' types, which {given.source.path} does not tell; make it Parquet",
    }
    for name, need in needs.items():
        if need:
            raise UsageError(f"--eager: {name} needs to know {need}, or run without --eager")


class BesideSending:
    """Blocks in the journal while the recorder writes there; used by a worker thread alone."""

    def __init__(self, recorder: Recorder, reader: Journal) -> None:
        self._recorder = recorder
        self._reader = reader

    def write_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        """Raises `StoppedError` if the disk refused, for which the run stops anyway."""
        if not anyio.from_thread.run(self._recorder.save_blocks, list(blocks)):
            raise StoppedError("the plan cannot be written")

    def block(self, number: int) -> bytes:
        return self._reader.block(number)


class Planner:
    """Adds to a run's plan the rows that it lacks. Blocks for I/O: call it from a thread."""

    def __init__(self, given: Input, plan: Plan, store: BlockStore) -> None:
        """`plan`, which is not whole, stays as it is; `store` takes and gives blocks."""
        self._given = given
        self._plan = decode_plan(encode_plan(plan))
        self._noted = given.source.fingerprint()
        self._faults: list[Fault] = []  # of rows that were not handed over; to stop for: the first
        self._bad = 0
        self._scan = Scan(
            given.source,
            given.rendering(),
            store,
            on_fault=self._note,
            limit=given.spec.limit,
            after=plan,
        )
        self.is_ended = False

    @property
    def store(self) -> BlockStore:
        return self._scan.plan.store

    @store.setter
    def store(self, store: BlockStore) -> None:
        self._scan.plan.store = store

    @property
    def checked(self) -> int:
        """Rows, some of which may not have been handed over."""
        return self._scan.plan.rows

    def step(self) -> Planned | None:
        """Check another block; what can be handed over now.

        Raises:
            InvalidInputError: the input has ended, or a screenful of bad rows was met after others
                may have been sent.
            UsageError: the input has no rows.
            StoppedError: the input changed while it was read.
        """
        is_passing = self._scan.is_passing
        self.is_ended = not self._scan.next_block()
        if self.is_ended:
            self._check_unchanged(is_passing=self._scan.is_passing)
        elif is_passing:
            return None
        if not self._is_refused:
            if not (self.is_ended or self._is_due):
                return None
            self._scan.check_ids()
        if self._is_refused:
            self._refuse()
            return None
        return self._hand_over()

    def close(self) -> None:
        """Close the input."""
        self._scan.close()

    # -- inside ------------------------------------------------------------------------------------

    @property
    def _is_refused(self) -> bool:
        return bool(self._bad) and not self._given.spec.skip_invalid

    @property
    def _is_due(self) -> bool:
        held = self.checked - self._plan.rows
        memory = self._scan.suspects + len(self._faults)
        is_waited_for = _HELD_SHARE * held >= self._plan.rows
        return not self._scan.suspects or is_waited_for or memory >= _HELD_MOST

    def _note(self, fault: Fault) -> None:
        self._bad += 1
        if self._given.spec.skip_invalid or self._bad <= SHOWN_FAULTS:
            self._faults.append(fault)

    def _refuse(self) -> None:
        """Raise what is wrong once it is known, or go on looking for more."""
        is_begun = self._plan.rows > 0
        if self.is_ended or (is_begun and self._bad >= SHOWN_FAULTS):
            self._scan.check_ids()
            raise InvalidInputError(
                sorted(self._faults), self._bad, self.checked, is_begun=is_begun
            )

    def _check_unchanged(self, *, is_passing: bool) -> None:
        source = self._given.source
        if is_passing or source.fingerprint() != self._noted:
            raise StoppedError(
                f"{source.path}: was changed while it was read; run again, "
                "or begin another run with -o"
            )
        if not self.checked:
            raise UsageError(f"{source.path}: holds no rows; expected at least one")

    def _hand_over(self) -> Planned:
        plan, scanned = self._plan, self._scan.plan
        plan.rows, plan.invalid = scanned.rows, scanned.invalid
        plan.models, plan.shares = scanned.models, scanned.shares
        plan.is_whole = self.is_ended
        if self.is_ended:
            plan.input = plan.input | {"xxh3": self._given.source.content_hash()}
        faults, self._faults, self._bad = self._faults, [], 0
        invalid = [invalid_row(fault, self._given.spec) for fault in sorted(faults)]
        return Planned(encode_plan(plan), plan.rows, plan.is_whole, invalid)
