"""Parts are sealed once their rows are durable, and giving up ends the recorder."""

from __future__ import annotations

import anyio
import pytest

from batchkit import recorder as module
from batchkit.journal import DamagedError, SealedPart
from batchkit.stopping import Cause, StopReason
from tests.fakes import FOR_EVER, FULL_DISK, RecorderBench, until
from tests.samples import new_settled

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes run in threads, so time is the world's here: a short one."""
    monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.001)


async def test_a_part_is_sealed_after_the_commit_that_completes_it() -> None:
    bench = RecorderBench()
    async with anyio.create_task_group() as group:
        group.start_soon(bench.recorder.run)
        for row in (3, 0, 4, 2, 1):
            bench.recorder.put(new_settled(row))
            await until(lambda: bench.recorder.is_complete)
        bench.recorder.close()
    assert bench.journal.done == [
        "commit [3]",
        "commit [0]",
        "commit [4]",
        "seal 2",
        "record 2 [4, 5)",
        "commit [2]",
        "seal 1",
        "record 1 [2, 4)",
        "commit [1]",
        "seal 0",
        "record 0 [0, 2)",
    ]


async def test_a_part_that_the_last_commit_completes_is_sealed() -> None:
    bench = RecorderBench()
    await bench.run(new_settled(0), new_settled(1))
    assert bench.journal.done == ["commit [0, 1]", "seal 0", "record 0 [0, 2)"]


async def test_no_part_is_sealed_while_its_rows_are_not_durable() -> None:
    bench = RecorderBench()
    bench.journal.trouble["commit"] = [FULL_DISK] * 2
    await bench.run(new_settled(4))
    assert bench.journal.done == ["commit [4]", "seal 2", "record 2 [4, 5)"]


async def test_a_part_that_an_earlier_run_left_unsealed_is_sealed() -> None:
    bench = RecorderBench()
    bench.recorder.seal_later(1)
    await bench.run()
    assert bench.journal.done == ["seal 1", "record 1 [2, 4)"]


@pytest.mark.parametrize("step", ["seal", "record"])
async def test_a_seal_that_the_disk_refuses_is_tried_again(step: str) -> None:
    bench = RecorderBench()
    bench.journal.trouble[step] = [FULL_DISK, FULL_DISK]
    await bench.run(new_settled(4))
    assert bench.journal.done == ["commit [4]", "seal 2", "record 2 [4, 5)"]
    assert bench.stopper.reason is not None
    assert bench.stopper.reason.cause is Cause.DISK


async def test_a_part_of_the_wrong_length_is_not_recorded() -> None:
    bench = RecorderBench()
    bench.rows.part_rows = 3  # so that the part is longer than what is sealed
    bench.recorder._seal = lambda number: SealedPart(number, 2, 0, 1, "", 1, "")
    bench.recorder.seal_later(0)
    with pytest.raises(ExceptionGroup) as caught:
        await bench.run()
    assert caught.group_contains(AssertionError, match="part 0 has 2 of 3 rows")
    assert bench.journal.done == []


async def test_damage_found_while_sealing_stops_the_run_and_commits_go_on() -> None:
    bench = RecorderBench()
    bench.journal.trouble["seal"] = [DamagedError("journal.db: was damaged")]
    await bench.run(*(new_settled(row) for row in range(5)))
    assert bench.stopper.reason == StopReason(
        Cause.DAMAGE, "journal.db: was damaged; run again with --reask-damaged"
    )
    assert (bench.counted, bench.recorder.is_complete) == ((5, 5, 5), False)


@pytest.mark.parametrize("step", ["commit", "seal", "record"])
async def test_giving_up_ends_it_whatever_the_disk_refuses(step: str) -> None:
    bench = RecorderBench()
    bench.journal.trouble[step] = [FULL_DISK] * FOR_EVER
    async with anyio.create_task_group() as group:
        group.start_soon(bench.recorder.run)
        bench.recorder.put(new_settled(4))
        await until(lambda: bench.stopper.is_stopping)
        bench.recorder.put(new_settled(0))
        await until(lambda: len(bench.journal.trouble[step]) < FOR_EVER - 3)
        await until(lambda: step == "commit" or bench.recorder.has_all)
        bench.recorder.give_up = True
        bench.recorder.close()
        await bench.recorder.wait_done()
    assert not bench.recorder.is_complete
    expected = {"commit": [], "seal": [4, 0], "record": [4, 0]}[step]
    assert [one.result.row for one in bench.journal.settled] == expected
    assert bench.counted == (len(expected),) * 3


async def test_giving_up_on_a_sound_disk_gives_up_nothing() -> None:
    bench = RecorderBench()
    bench.recorder.give_up = True
    await bench.run(new_settled(4))
    assert bench.journal.done == ["commit [4]", "seal 2", "record 2 [4, 5)"]
