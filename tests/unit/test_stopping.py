"""A stop reaches everything below it, once, with its first reason."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batchkit.stopping import Cause, Stopper, StopReason

ARREARS = StopReason(Cause.FATAL, "the account is in arrears")
BUDGET = StopReason(Cause.BUDGET, "the budget is used up")


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


def test_the_first_reason_wins() -> None:
    stopper = Stopper()
    assert (stopper.is_stopping, stopper.reason) == (False, None)
    stopper.stop(ARREARS)
    stopper.stop(BUDGET)
    assert (stopper.is_stopping, stopper.reason) == (True, ARREARS)


def test_a_run_stops_its_models_and_a_model_stops_nothing_else() -> None:
    run = Stopper()
    first, second = run.child(), run.child()
    first.stop(ARREARS)
    assert [s.is_stopping for s in (run, first, second)] == [False, True, False]
    run.stop(BUDGET)
    assert [s.reason for s in (run, first, second)] == [BUDGET, ARREARS, BUDGET]


def test_a_model_of_a_stopped_run_is_stopped() -> None:
    run = Stopper()
    run.stop(BUDGET)
    assert run.child().reason == BUDGET


@pytest.mark.anyio
async def test_a_stop_wakes_whoever_waits() -> None:
    run = Stopper()
    model = run.child()
    woken: list[str] = []

    async def wait(name: str, stopper: Stopper) -> None:
        await stopper.wait()
        woken.append(name)

    async with anyio.create_task_group() as group:
        for name, stopper in (("run", run), ("model", model), ("model again", model)):
            group.start_soon(wait, name, stopper)
        await anyio.wait_all_tasks_blocked()
        assert woken == []
        run.stop(BUDGET)
    await model.wait()
    assert sorted(woken) == ["model", "model again", "run"]
