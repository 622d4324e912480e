"""Results are durable before they are counted, and a failing disk loses none of them."""

from __future__ import annotations

import errno
import sqlite3

import anyio
import pytest

from batchkit import recorder as module
from batchkit.errors import ErrorKind
from batchkit.journal import Planned, Settled
from batchkit.recorder import GROUP_MOST
from batchkit.stopping import Cause, StopReason
from batchkit.tally import Tally, decode_tally
from tests.fakes import FOR_EVER, FULL_DISK, SQLITE_FULL, RecorderBench, until
from tests.samples import new_attempt, new_result, new_settled

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes run in threads, so time is the world's here: a short one."""
    monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.001)


async def test_a_group_is_committed_with_its_tally_and_then_counted() -> None:
    bench = RecorderBench(tally=decode_tally(b'{"wall_s": 7.0}'))
    refused = new_attempt(0, 1, error_kind=ErrorKind.RATE, error_code="1303")
    await bench.run(refused, new_settled(0), Settled(new_result(3, status="failed"), None))
    assert bench.journal.attempts == [refused]
    assert [one.result.row for one in bench.journal.settled] == [0, 3]
    assert bench.recorder.tally == bench.journal.tally
    assert (bench.counted, bench.recorder.tally.wall_s) == ((2, 2, 2), 7.0)
    assert bench.recorder.tally.models["glm-4-plus"].failed == 1


async def test_nothing_is_counted_before_it_is_durable() -> None:
    bench = RecorderBench()
    bench.journal.trouble["commit"] = [FULL_DISK] * FOR_EVER
    async with anyio.create_task_group() as group:
        group.start_soon(bench.recorder.run)
        bench.recorder.put(new_settled(0))
        await until(lambda: len(bench.journal.trouble["commit"]) < FOR_EVER - 3)
        assert (bench.counted, bench.recorder.has_all) == ((0, 0, 0), False)
        bench.journal.trouble["commit"].clear()
        await until(lambda: bench.recorder.has_all)
        assert bench.counted == (1, 1, 1)
        bench.recorder.close()


@pytest.mark.parametrize("trouble", [FULL_DISK, SQLITE_FULL])
async def test_a_full_disk_stops_sending_and_loses_nothing(trouble: Exception) -> None:
    bench = RecorderBench()
    bench.journal.trouble["commit"] = [trouble] * 5
    await bench.run(*(new_settled(row) for row in range(5)))
    words = "no space left on device" if trouble is FULL_DISK else "database or disk is full"
    assert bench.stopper.reason == StopReason(
        Cause.DISK, f"the run's folder cannot be written: {words}; make room and run again"
    )
    assert [one.result.row for one in bench.journal.settled] == list(range(5))
    assert bench.counted == (5, 5, 5)
    assert bench.journal.tally.total().cost == 5 * 65_000_000


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("of some kind")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk quota exceeded; make room"),
        (OSError(errno.EROFS, "Read-only"), "read-only; make it writable"),
        (PermissionError(errno.EACCES, "Denied"), "denied; make it writable"),
        (OSError(errno.EIO, "Input/output error"), "input/output error; see to the disk"),
        (OSError("of some kind"), "of some kind; see to the disk"),
        (sqlite_error(sqlite3.SQLITE_FULL), "of some kind; make room"),
        (sqlite_error(sqlite3.SQLITE_READONLY_DIRECTORY), "of some kind; make it writable"),
        (sqlite_error(sqlite3.SQLITE_IOERR_WRITE), "of some kind; see to the disk"),
        (sqlite3.OperationalError("of no code"), "of no code; see to the disk"),
    ],
    ids=repr,
)
def test_a_write_that_failed_is_told_with_its_remedy(error: Exception, said: str) -> None:
    expected = f"the run's folder cannot be written: {said} and run again"
    assert module.disk_trouble(error) == expected


async def test_a_disk_that_recovers_takes_everything_that_came_meanwhile() -> None:
    bench = RecorderBench()
    bench.journal.trouble["commit"] = [FULL_DISK] * FOR_EVER
    async with anyio.create_task_group() as group:
        group.start_soon(bench.recorder.run)
        bench.recorder.put(new_settled(4))
        await until(lambda: bench.stopper.is_stopping)
        for row in range(3):
            bench.recorder.put(new_settled(row))
        bench.journal.trouble["commit"].clear()
        bench.recorder.close()
    assert [one.result.row for one in bench.journal.settled] == [4, 0, 1, 2]
    assert bench.counted == (4, 4, 4)


async def test_a_fault_of_ours_is_not_taken_for_the_disks() -> None:
    """A second result of a row can be tried again for ever."""
    bench = RecorderBench()
    bench.journal.trouble["commit"] = [sqlite3.IntegrityError("UNIQUE constraint failed")]
    with pytest.raises(ExceptionGroup) as caught:
        await bench.run(new_settled(0))
    assert caught.group_contains(sqlite3.IntegrityError)
    assert not bench.stopper.is_stopping


async def test_workers_wait_for_room_and_all_of_them_go_on() -> None:
    bench = RecorderBench(backlog=2)
    bench.recorder.put(new_settled(0))
    await bench.recorder.wait_room()
    bench.recorder.put(new_settled(1))
    went_on: list[int] = []

    async def work(number: int) -> None:
        await bench.recorder.wait_room()
        went_on.append(number)

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(work, number)
        await anyio.wait_all_tasks_blocked()
        assert went_on == []
        bench.recorder.close()
        group.start_soon(bench.recorder.run)
    assert sorted(went_on) == [0, 1, 2, 3]


async def test_a_record_is_waited_for_until_it_is_durable_and_no_longer() -> None:
    bench = RecorderBench()
    bench.journal.trouble["commit"] = [FULL_DISK] * FOR_EVER
    durable: list[int] = []

    async def wait(number: int) -> None:
        await bench.recorder.wait_durable(number)
        durable.append(number)

    async with anyio.create_task_group() as group:
        numbers = [bench.recorder.put(new_settled(row)) for row in range(3)]
        for number in numbers:
            group.start_soon(wait, number)
        group.start_soon(bench.recorder.run)
        await until(lambda: len(bench.journal.trouble["commit"]) < FOR_EVER - 3)
        assert (numbers, durable) == ([1, 2, 3], [])
        bench.journal.trouble["commit"].clear()
        await until(lambda: sorted(durable) == [1, 2, 3])
        await bench.recorder.wait_durable(numbers[-1])
        bench.recorder.close()


async def test_an_attempt_is_counted_with_the_model_that_was_asked() -> None:
    """A row may have gone on to another model; its result stays with the one it named."""
    bench = RecorderBench()
    settled = Settled(new_result(0), new_attempt(0, 2, model="glm-4-air-250414"))
    await bench.run(settled)
    models = bench.recorder.tally.models
    assert {name: (one.ok, one.attempts) for name, one in models.items()} == {
        "glm-4-plus": (1, 0),
        "glm-4-air-250414": (0, 1),
    }


async def test_a_group_is_bounded() -> None:
    bench = RecorderBench()
    await bench.run(*(new_attempt(0, number) for number in range(1, GROUP_MOST + 11)))
    assert bench.journal.done == ["commit []"] * 2
    assert len(bench.journal.attempts) == GROUP_MOST + 10


async def test_a_group_waits_a_moment_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.03)
    bench = RecorderBench()
    async with anyio.create_task_group() as group:
        group.start_soon(bench.recorder.run)
        bench.recorder.put(new_settled(0))
        await anyio.sleep(0.001)
        bench.recorder.put(new_settled(1))
        bench.recorder.put(new_settled(4))
        await until(lambda: bench.recorder.has_all)
        bench.recorder.close()
    assert bench.journal.done[0] == "commit [0, 1, 4]"


async def test_nothing_to_record_ends_at_once() -> None:
    bench = RecorderBench()
    async with anyio.create_task_group() as group:
        group.start_soon(bench.recorder.run)
        await anyio.sleep(0.001)
        bench.recorder.close()
        await bench.recorder.wait_done()
    assert (bench.journal.done, bench.recorder.is_complete) == ([], True)


async def test_a_tally_is_completed_right_before_its_commit() -> None:
    bench = RecorderBench()

    def complete(tally: Tally) -> None:
        tally.wall_s += 1.5

    bench.recorder.before_commit = complete
    await bench.run(new_settled(0))
    assert bench.journal.tally.wall_s == bench.recorder.tally.wall_s == 1.5


async def test_more_of_the_plan_is_durable_with_its_bad_rows_before_it_is_known() -> None:
    bench = RecorderBench()
    bench.rows.is_whole = False
    heard: list[tuple[bytes, int, int]] = []
    bench.recorder.on_planned = lambda planned: heard.append(
        (bench.journal.values["plan"], planned.rows, bench.rows.rows)
    )
    bad = Settled(new_result(6, model="", status="failed"), None)
    await bench.run(new_settled(0), Planned(b"plan", 7, is_whole=False, invalid=[bad]))
    assert heard == [(b"plan", 7, 7)]
    assert [one.result.row for one in bench.journal.settled] == [0, 6]
    assert bench.counted == (2, 1, 2)
    assert bench.journal.tally.models[""].failed == 1


async def test_the_end_of_the_plan_completes_its_last_part() -> None:
    bench = RecorderBench()
    bench.rows.is_whole = False
    bench.rows.grow(7, is_whole=False)
    bench.rows.add(6)
    await bench.run(Planned(b"plan", 7, is_whole=True, invalid=[]))
    assert bench.journal.done == ["commit []", "seal 3", "record 3 [6, 7)"]


async def test_blocks_are_saved_or_the_run_stops() -> None:
    bench = RecorderBench()
    assert await bench.recorder.save_blocks([(3, b"x")])
    bench.journal.trouble["blocks"] = [SQLITE_FULL]
    assert not await bench.recorder.save_blocks([(4, b"y")])
    assert bench.journal.blocks == {3: b"x"}
    assert bench.stopper.reason is not None


async def test_values_are_saved_or_the_run_stops() -> None:
    bench = RecorderBench()
    assert await bench.recorder.save({"live": b"x"})
    assert not bench.stopper.is_stopping
    bench.journal.trouble["put"] = [SQLITE_FULL]
    assert not await bench.recorder.save({"live": b"y"})
    assert bench.journal.values == {"live": b"x"}
    assert bench.stopper.reason is not None
    assert bench.stopper.reason.cause is Cause.DISK
