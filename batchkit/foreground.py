"""Runs in the foreground: signals stop them, and their ending becomes an exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import anyio.abc

from batchkit.errors import InterruptedByError, StoppedError
from batchkit.execution import Console, Ending, Execution
from batchkit.launch import going_on, prepared
from batchkit.spec import Spec
from batchkit.stopping import Cause, StopReason
from batchkit.wording import shown_names

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}  # and their exit codes


def run_in_foreground(
    spec: Spec, console: Console, *, before: Callable[[Execution], None] = lambda _execution: None
) -> Ending:
    """See a run through; a first signal lets what is in flight finish, a second breaks it off.

    `before` is called with the run before anything is sent. A run whose plan grew starts again for
    models that no lane was for.
    """
    ending = _start(spec, console, before)
    if not ending.goes_on:
        return ending
    console.say(f"going on with {shown_names(ending.strangers)}: the first rows named other models")
    with going_on():
        return _start(spec.going_on(), console, before)


def _start(spec: Spec, console: Console, before: Callable[[Execution], None]) -> Ending:
    with _raising_signals(), prepared(spec, console) as execution:
        before(execution)
        done, plan = execution.opened.settled.count, execution.opened.plan
        if done:
            so_far = "" if plan.is_whole else " checked so far"
            console.say(f"going on in {spec.out}: {done:,} of {plan.rows:,} rows{so_far} are done")
        return anyio.run(_run, execution, backend_options={"use_uvloop": True})


@contextmanager
def _raising_signals() -> Iterator[None]:
    """A signal unwinds the preparations; a second one does not disturb that."""

    def interrupt(number: int, _frame: object) -> None:
        for one in before:
            signal.signal(one, signal.SIG_IGN)
        word = signal.Signals(number)
        raise InterruptedByError(
            f"stopped by {word.name}, nothing was in flight; run the same command again to go on",
            SIGNALS[word],
        )

    before = {number: signal.signal(number, interrupt) for number in _heard_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heard_signals() -> list[signal.Signals]:
    """What stops a run; not a signal that whoever started it wants ignored, as `nohup` does."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


async def _run(execution: Execution) -> Ending:
    try:
        async with anyio.create_task_group() as group:
            await group.start(_listen, execution)
            ending = await execution.run()
            group.cancel_scope.cancel()
    except BaseExceptionGroup as error:
        raise _first(error) from error
    return ending


def _first(error: BaseException) -> BaseException:
    """What went wrong, out of the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _listen(execution: Execution, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(*_heard_signals()) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if not execution.is_stopping:
                execution.console.say(
                    f"{name}: what is in flight has {execution.spec.drain_s:g} s to finish; "
                    "a second signal breaks it off"
                )
            execution.stop(StopReason(Cause.SIGNAL, f"stopped by {name}", signal=number))


def exit_code(ending: Ending) -> int:
    """The exit code of the contract."""
    summary = ending.summary
    if summary.complete and not ending.reasons:
        return summary.exit_code
    for reason in ending.reasons:
        if reason.signal is not None:
            return SIGNALS[signal.Signals(reason.signal)]
    return StoppedError.exit_code


def last_words(ending: Ending) -> Iterator[str]:
    """Why it stopped early and what to do, in lines; none if it did not."""
    summary = ending.summary
    settled = summary.ok + summary.failed
    for reason in ending.reasons:
        so_far = "" if summary.all_rows else " checked so far"
        safe = f": {settled:,} of {summary.rows:,} rows{so_far} are safe in {summary.out}"
        yield reason.message + (safe if reason.cause is not Cause.DAMAGE else "")
    if ending.was_interrupted:
        yield "run the same command again to go on"
