"""What worker processes bring, and what binds then.

    python -m benchmarks.processes [--rows 30000] [--rounds 3] [--quick]

Runs `batchkit run` from a request file to sealed parts against `benchmarks.instant_server`, with
0, 1, 2 and 3 worker processes at 300, 1,000 and 3,000 requests in flight, each in a process of its
own. The server is pinned to the last core, but has it for itself only when nobody else wants it:
workers may use every core. Beside it, the same run with an endpoint that costs nothing (`engine`:
no HTTP, no JSON of answers, no workers), and the recorder alone (`recorder`: commits and seals what
is ready, 1.2 KB answers).

`main` is the CPU time of the process that keeps the journal, per row, threads included; `workers`
that of all workers; `rows/s` what the wall clock saw; `ceiling` the rows per second at which the
main process has used up one core, which is what binds once there are cores enough.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any
from unittest import mock

import anyio
import anyio.abc
import anyio.lowlevel

from batchkit import execution, launch
from batchkit.attempts import Exchange
from batchkit.clock import SystemClock
from batchkit.endpoints import Endpoint
from batchkit.errors import Billing
from batchkit.folder import RunFolder
from batchkit.journal import Journal, SealedPart, Settled
from batchkit.models import Model
from batchkit.opening import PART_ROWS
from batchkit.options import Options
from batchkit.originals import Originals
from batchkit.parts import Layout, seal
from batchkit.progress import Progress
from batchkit.providers.codec import Dialect, encode
from batchkit.recorder import Recorder
from batchkit.records import Attempt, Completion, Outcome, Request, Result, Usage
from batchkit.rows import SettledRows
from batchkit.sending import Elsewhere, Here, Sending
from batchkit.spec import Format, TransportName, load_spec
from batchkit.stopping import Stopper
from batchkit.tally import Tally
from batchkit.workers.remote import Busy

MODEL = "glm-4-flash-250414"
TEXT = "word " * 240
IN_FLIGHT = (300, 1000, 3000)
WORKERS = (0, 1, 2, 3)
Notice = Callable[[str], None]


def make_input(path: Path, rows: int) -> None:
    """A request file of about 800 bytes a row."""
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            messages = [{"role": "user", "content": f"Question {row}: " + "why and how? " * 50}]
            line = {"custom_id": f"q-{row}", "model": MODEL, "messages": messages}
            file.write(json.dumps(line | {"max_tokens": 300}) + "\n")


class _Free:
    """An endpoint that costs nothing."""

    def provider(self, endpoint: Endpoint, schema: dict[str, Any] | None) -> Exchange:
        return self

    def busy(self) -> Busy:
        return Busy()

    def prepare(self, request: Request, model: Model) -> bytes:
        return encode(request, model, Dialect.GLM)

    async def exchange(self, body: bytes, timeout_s: float) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return Completion(TEXT, "stop", Usage(500, 0, 350), response_id="0" * 26)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        task_status.started()

    async def aclose(self) -> None: ...


def run(here: Path, url: str, in_flight: int, workers: int | None) -> dict[str, float]:
    """One run with so many workers; None: with an endpoint that costs nothing."""

    def sending(
        endpoints: Iterable[Endpoint],
        _processes: int,
        *,
        transport: TransportName,
        clock: SystemClock,
        notice: Notice,
    ) -> Sending:
        if workers is None:
            return _Free()
        if workers == 0:
            return Here(clock, transport, trust_env=False)
        return Elsewhere(list(endpoints), workers, notice, transport=transport, trust_env=False)

    options = Options(endpoint=url, tier="V3", concurrency=in_flight, out=here / "out")
    console = execution.Console(
        say=lambda _line: None, tell=None, progress=lambda a, b: Progress(a, b, quiet=True)
    )
    spec = load_spec(here / "q.jsonl", options)
    with (
        mock.patch.object(execution, "new_sending", sending),
        launch.prepared(spec, console) as prepared,
    ):
        began, began_cpu = time.perf_counter(), time.process_time()
        ending = anyio.run(prepared.run, backend_options={"use_uvloop": True})
        cpu, wall = time.process_time() - began_cpu, time.perf_counter() - began
    rows = ending.summary.ok
    assert ending.summary.complete
    children = getrusage(RUSAGE_CHILDREN)
    return {
        "rows_per_s": rows / wall,
        "main_us": cpu / rows * 1e6,
        "workers_us": (children.ru_utime + children.ru_stime) / rows * 1e6,
        "ceiling": rows / cpu,
    }


def record(here: Path, rows: int) -> dict[str, float]:
    """The recorder alone: `rows` results that are ready, in groups as the engine makes them."""
    folder = RunFolder(here / "out")
    folder.path.mkdir()
    folder.results.mkdir()
    folder.attempts.mkdir()
    journal = Journal.create(folder.journal)
    layout = Layout(folder.path, Format.ARROW, None, (), {})
    settled = SettledRows(rows, PART_ROWS)
    reader = journal.reader()

    def seal_part(number: int) -> SealedPart:
        part = settled.part(number)
        return seal(layout, number, reader.settled(part.start, part.stop), [])

    async def main() -> None:
        recorder = Recorder(
            journal,
            Tally(),
            settled,
            seal=seal_part,
            currency=lambda _model: "CNY",
            stopper=Stopper(),
            backlog=3000,
            originals=Originals(),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(recorder.run)
            for row in range(rows):
                recorder.put(_settled(row))
                await recorder.wait_room()
            recorder.close()
        assert recorder.tally.settled == rows

    with closing(journal), closing(reader):
        began, began_cpu = time.perf_counter(), time.process_time()
        anyio.run(main, backend_options={"use_uvloop": True})
        cpu, wall = time.process_time() - began_cpu, time.perf_counter() - began
    return {"rows_per_s": rows / wall, "main_us": cpu / rows * 1e6, "ceiling": rows / cpu}


def _settled(row: int) -> Settled:
    usage = Usage(500, 0, 350)
    attempt = Attempt(
        row, f"q-{row}", 1, MODEL, 1.79e9, 0.5, 300, 300, 200, usage=usage, billing=Billing.BILLED
    )
    result = Result(
        row, f"q-{row}", MODEL, "ok", TEXT, "stop", None, None, usage, 0, "CNY", 1, 0.5, 0.5, 1.79e9
    )
    return Settled(result, attempt)


@contextmanager
def instant_server(core: int) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.instant_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(server.pid, {core})
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def measured(words: list[str], rows: int, rounds: int) -> dict[str, float]:
    """The case that `words` name, each round in a fresh process; of each figure the best."""
    found: list[dict[str, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            make_input(Path(name) / "q.jsonl", rows)
            command = [sys.executable, "-m", "benchmarks.processes", "--rows", str(rows)]
            done = subprocess.run(
                [*command, "--here", name, "--case", *words], check=True, stdout=subprocess.PIPE
            )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    best = {key: min(one[key] for one in found) for key in found[0] if key.endswith("_us")}
    return best | {key: max(one[key] for one in found) for key in ("rows_per_s", "ceiling")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="only show that it still works")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(_case(given.case, given.here, given.rows)))
        return
    rows, rounds = (2_000, 1) if given.quick else (given.rows, given.rounds)
    print("case              rows/s   main µs  workers µs  ceiling rows/s")
    _show("recorder", measured(["recorder"], rows, rounds))
    with instant_server(max(os.sched_getaffinity(0))) as url:
        for in_flight in IN_FLIGHT[:1] if given.quick else IN_FLIGHT:
            _show(f"engine {in_flight}", measured(["engine", url, str(in_flight)], rows, rounds))
            for workers in WORKERS:
                words = ["run", url, str(in_flight), str(workers)]
                _show(f"{workers} workers {in_flight}", measured(words, rows, rounds))


def _case(words: list[str], here: Path, rows: int) -> dict[str, float]:
    if words[0] == "recorder":
        return record(here, rows)
    return run(here, words[1], int(words[2]), int(words[3]) if words[0] == "run" else None)


def _show(case: str, found: dict[str, float]) -> None:
    workers_us = f"{found['workers_us']:10.0f}" if found.get("workers_us") else " " * 9 + "–"
    print(
        f"{case:16} {found['rows_per_s']:7,.0f} {found['main_us']:9.0f} {workers_us} "
        f"{found['ceiling']:12,.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
