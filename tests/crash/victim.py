"""`batchkit run` as a process of its own, to be killed, signalled, traced and starved."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import batchkit
from batchkit.plan import BLOCK_ROWS

PART_ROWS = 50
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
    "PYTHONPATH": str(Path(batchkit.__file__).parents[1]),
}
_LAUNCH = f"""
import sys
from batchkit import opening, plan, planned_rows, prepare, revision
opening.PART_ROWS = {PART_ROWS}
block_rows = int(sys.argv.pop(1))
for module in (plan, planned_rows, prepare, revision):
    module.BLOCK_ROWS = block_rows
from batchkit.cli import main
sys.exit(main())
"""
_RUN = ("run", "--no-report")  # which would only be drawn when everything is over


_started: list[subprocess.Popen[bytes]] = []


class Ended(NamedTuple):
    """How a victim ended; the code is negative for a signal that it did not handle."""

    code: int
    out: str
    err: str


class Victim:
    """A running `batchkit run`; its words are collected in files beside its folder."""

    def __init__(self, process: subprocess.Popen[bytes], words: Path) -> None:
        self._process = process
        self._words = words

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        """What is on stderr so far."""
        return self._words.with_suffix(".err").read_text("utf-8")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 50) -> Ended:
        code = self._process.wait(timeout_s)
        words = (self._words.with_suffix(suffix).read_text("utf-8") for suffix in (".out", ".err"))
        ended = Ended(code, *words)
        assert "Traceback" not in ended.err, ended.err
        return ended

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self._process.kill()
        self._process.wait()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 40) -> None:
        """Wait for something that the victim brings about; its end will do too."""
        deadline = time.monotonic() + timeout_s
        while self.is_running and not condition():
            assert time.monotonic() < deadline, "the victim never came this far"
            time.sleep(0.002)


def start(
    here: Path,
    *words: str | Path,
    tracer: Sequence[str] = (),
    state: Path | None = None,
    block_rows: int = BLOCK_ROWS,
    **popen: Any,
) -> Victim:
    """`batchkit run` with `words` in the folder `here`; parts have `PART_ROWS` rows.

    Victims of one `state` folder know of each other; by default it is in `here`. Those of one run
    have the same `block_rows`.
    """
    launch = [sys.executable, "-c", _LAUNCH, str(block_rows)]
    command = [*tracer, *launch, *_RUN, *map(str, words)]
    said = here / "said"
    with said.with_suffix(".out").open("wb") as out, said.with_suffix(".err").open("wb") as err:
        streams = {"stdout": out, "stderr": err, "stdin": subprocess.DEVNULL, **popen}
        environment = {**ENVIRONMENT, "XDG_STATE_HOME": str(state or here / "state")}
        process = subprocess.Popen(command, cwd=here, env=environment, **streams)
    _started.append(process)
    return Victim(process, said)


def run(here: Path, *words: str | Path, tracer: Sequence[str] = (), **popen: Any) -> Ended:
    """`start`, to its end."""
    return start(here, *words, tracer=tracer, **popen).wait()


def kill_survivors() -> None:
    """End every victim that still runs."""
    while _started:
        process = _started.pop()
        process.kill()
        process.wait()


def command(*words: str | Path) -> str:
    """`batchkit run` with `words`, for a shell."""
    launch = [sys.executable, "-c", _LAUNCH, str(BLOCK_ROWS)]
    return shlex.join([*launch, *_RUN, *map(str, words)])
