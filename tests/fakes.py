"""Stand-ins for what does I/O, and the benches that are built of them."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping

import anyio

from batchkit.errors import Signal
from batchkit.journal import EndedChunk, KeptAnswer, Planned, SealedPart, Settled, SettledChunk
from batchkit.originals import Originals
from batchkit.recorder import Recorder
from batchkit.records import Attempt
from batchkit.rows import SettledRows
from batchkit.stopping import Stopper
from batchkit.tally import Tally, decode_tally

FULL_DISK = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
SQLITE_FULL = sqlite3.OperationalError("database or disk is full")
SQLITE_FULL.sqlite_errorcode = sqlite3.SQLITE_FULL
FOR_EVER = 1_000_000  # times


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that happens by way of a thread."""
    with anyio.fail_after(30):
        while not holds():  # noqa: ASYNC110  # threads tell no event
            await anyio.sleep(0.0005)


class Settable:
    """A limit that is set from outside."""

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def on_end(self, signal: Signal, *, started_at: float, now: float, in_flight: int) -> None:
        pass


class Strict:
    """Keeps the slot of every refused attempt shut for two seconds."""

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def on_end(
        self, signal: Signal, *, started_at: float, now: float, in_flight: int
    ) -> float | None:
        return 2.0 if signal is Signal.REFUSED else None


class Blocks:
    """A block store in memory."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}

    def write_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        self.blocks.update(blocks)

    def block(self, number: int) -> bytes:
        return self.blocks[number]


class Unchunked(Blocks):
    """What a feeder reads of a journal that has no settled chunks."""

    def chunks(self, first: int, last: int) -> Iterator[SettledChunk]:
        return iter(())


class FakeJournal:
    """A journal in memory on a disk that fails as told."""

    def __init__(self) -> None:
        self.trouble: dict[str, list[Exception]] = {}
        self.done: list[str] = []
        self.settled: list[Settled] = []
        self.answers: list[KeptAnswer] = []
        self.attempts: list[Attempt] = []
        self.chunks: list[EndedChunk] = []
        self.tally = Tally()
        self.values: dict[str, bytes] = {}
        self.blocks: dict[int, bytes] = {}

    def fail(self, name: str) -> None:
        if self.trouble.get(name):
            raise self.trouble[name].pop(0)

    def commit(
        self,
        settled: list[Settled],
        attempts: list[Attempt],
        tally: bytes,
        *,
        chunks: list[EndedChunk],
        answers: list[KeptAnswer],
        plan: bytes | None = None,
    ) -> None:
        self.fail("commit")
        if plan is not None:
            self.values["plan"] = plan
        self.settled += settled
        self.attempts += [*attempts, *(chunk.attempt for chunk in chunks)]
        self.chunks += chunks
        self.answers += answers
        self.tally = decode_tally(tally)
        self.done.append(f"commit {[one.result.row for one in settled]}")

    def record_part(self, part: SealedPart, first: int, last: int) -> None:
        self.fail("record")
        self.done.append(f"record {part.part} [{first}, {last})")

    def write_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        self.fail("blocks")
        self.blocks |= dict(blocks)

    def put_all(self, values: Mapping[str, bytes]) -> None:
        self.fail("put")
        self.values |= values


class RecorderBench:
    """One recorder with everything around it, for an input of five rows in parts of two."""

    def __init__(self, *, backlog: int = 100, tally: Tally | None = None) -> None:
        self.journal = FakeJournal()
        self.stopper = Stopper()
        self.rows = SettledRows(5, 2)
        self.originals = Originals()
        self.recorder = Recorder(
            self.journal,  # type: ignore[arg-type]  # a fake with the methods that count
            tally or Tally(),
            self.rows,
            seal=self.seal,
            currency=lambda _model: "CNY",
            stopper=self.stopper,
            backlog=backlog,
            originals=self.originals,
        )

    def seal(self, number: int) -> SealedPart:
        self.journal.fail("seal")
        self.journal.done.append(f"seal {number}")
        return SealedPart(number, len(self.rows.part(number)), 0, 1, "", 1, "")

    async def run(self, *records: Settled | Attempt | Planned) -> None:
        """Record `records` to the end."""
        for record in records:
            self.recorder.put(record)
        self.recorder.close()
        await self.recorder.run()

    @property
    def counted(self) -> tuple[int, int, int]:
        """Rows and attempts in the tally, and settled rows."""
        tally = self.recorder.tally
        return tally.settled, tally.total().attempts, self.rows.count
