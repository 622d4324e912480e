"""What the commands do, once their words are understood."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import msgspec

from batchkit import __version__
from batchkit.errors import InterruptedByError, StoppedError, UsageError
from batchkit.execution import Console, Ending, Execution, prepared
from batchkit.explain import explain
from batchkit.export import To, export
from batchkit.folder import RunFolder
from batchkit.inputs import open_input
from batchkit.journal import Journal
from batchkit.prepare import scan
from batchkit.progress import Progress
from batchkit.spec import Options, load_spec
from batchkit.status import as_text, read_status
from batchkit.stopping import Cause, StopReason
from batchkit.summary import as_table

_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


def run(namespace: argparse.Namespace) -> int:
    """`batchkit run`: the exit code of the contract."""
    spec = load_spec(namespace.spec, run_options(namespace))
    quiet = namespace.quiet
    console = Console(
        say=lambda line: None if quiet else say(line),
        tell=say if namespace.verbose else None,
        progress=lambda total, done: Progress(total, done, quiet=quiet),
    )
    if namespace.dry_run:
        print(explain(RunFolder(spec.out), open_input(spec)))
        return 0
    with _raising_signals(), prepared(spec, console) as execution:
        done = execution.opened.settled.count
        if done:
            console.say(
                f"going on in {spec.out}: {done:,} of {execution.opened.plan.rows:,} rows are done"
            )
        ending = anyio.run(_run, execution, backend_options={"use_uvloop": True})
    if namespace.json:
        with suppress(OSError):  # who read it is gone; the exit code still says how it ended
            print(msgspec.json.encode(ending.summary).decode(), flush=True)
    elif not quiet:
        say(as_table(ending.summary))
    return _exit_code(ending)


@contextmanager
def _raising_signals() -> Iterator[None]:
    """A signal unwinds the preparations; a second one does not disturb that."""

    def interrupt(number: int, _frame: object) -> None:
        for one in before:
            signal.signal(one, signal.SIG_IGN)
        word = signal.Signals(number)
        raise InterruptedByError(
            f"stopped by {word.name}, nothing was in flight; run the same command again to go on",
            _SIGNALS[word],
        )

    before = {number: signal.signal(number, interrupt) for number in _heard_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heard_signals() -> list[signal.Signals]:
    """What stops a run; not a signal that whoever started it wants ignored, as `nohup` does."""
    return [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


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


def _exit_code(ending: Ending) -> int:
    summary = ending.summary
    if summary.complete and not ending.reasons:
        return summary.exit_code
    settled = summary.ok + summary.failed
    for reason in ending.reasons:
        safe = f": {settled:,} of {summary.rows:,} rows are safe in {summary.out}"
        say(reason.message + (safe if reason.cause is not Cause.DAMAGE else ""))
    for reason in ending.reasons:
        if reason.signal is not None:
            say("run the same command again to go on")
            return _SIGNALS[signal.Signals(reason.signal)]
    return StoppedError.exit_code


def run_options(namespace: argparse.Namespace) -> Options:
    """The options of a `run` or `check` command line."""
    given = {
        name: value
        for name, value in vars(namespace).items()
        if name in Options.__struct_fields__ and value is not None
    }
    if "retry_failed" in given:
        given["retry_failed"] = [kind for kind in given["retry_failed"].split(",") if kind]
    if "concurrency" in given:
        given["concurrency"] = _concurrency(given["concurrency"])
    return Options(**given)


def _concurrency(words: list[str]) -> Mapping[str, int]:
    ceilings: dict[str, int] = {}
    for word in words:
        model, _, number = word.rpartition("=")
        if not number.isdecimal():
            raise UsageError(f"--concurrency: expected N or MODEL=N, got {word!r}")
        ceilings[model] = int(number)
    return ceilings


def check(namespace: argparse.Namespace) -> int:
    """`batchkit check`: validates every row and sends nothing."""
    spec = load_spec(namespace.spec, run_options(namespace))
    given = open_input(spec)
    keeping = given.keeping()
    with (
        tempfile.TemporaryDirectory(prefix="batchkit-check-") as folder,
        closing(Journal.create(Path(folder) / "journal.db")) as journal,
    ):
        writer = scan(
            given.source, given.rendering(), journal, limit=spec.limit, observe=keeping.observe
        )
    if writer.rows == 0:
        raise UsageError(f"{given.source.path}: holds no rows; expected at least one")
    keeping.types()
    tokens = sum(share.prompt_tokens for share in writer.shares)
    say(f"{writer.rows:,} rows are good, about {tokens:,} prompt tokens")
    for name, share in zip(writer.models, writer.shares, strict=True):
        say(f"  {name}: {share.rows:,} rows, about {share.prompt_tokens:,} prompt tokens")
    return 0


def status(namespace: argparse.Namespace) -> int:
    """`batchkit status`."""
    found = read_status(namespace.folder, __version__)
    if namespace.json:
        print(msgspec.json.encode(found).decode())
    else:
        print(as_text(found))
    return 0


def export_results(namespace: argparse.Namespace) -> int:
    """`batchkit export`: a file appears under its name when it is whole."""
    if namespace.to not in set(To):
        raise UsageError(f"--to: expected one of {', '.join(To)}, got {namespace.to!r}")
    columns = [name for name in namespace.columns.split(",") if name]
    words = {"columns": columns, "only": namespace.only}
    if namespace.output is None:
        done = export(namespace.folder, To(namespace.to), sys.stdout.buffer, **words)
    else:
        unfinished = namespace.output.with_name(f"{namespace.output.name}.tmp")
        try:
            with unfinished.open("wb") as file:
                done = export(namespace.folder, To(namespace.to), file, **words)
            unfinished.replace(namespace.output)
        except OSError as error:
            raise UsageError(f"{namespace.output}: {(error.strerror or '').lower()}") from error
        finally:
            unfinished.unlink(missing_ok=True)
    missing = f"; {done.missing:,} rows have not settled yet" if done.missing else ""
    say(f"{done.rows:,} rows{missing}")
    return 0


def say(line: str) -> None:
    """Talk goes to stderr; a stream that is gone never stops a run."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return
