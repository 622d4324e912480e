"""How long going on takes: opening a run that is nearly done, against reading its input once.

    python -m benchmarks.resume [--rows 1000000] [--done 0.99]

Makes an input and the folder of a run in which most rows are answered: sealed in parts, but for the
last part, whose rows stand in the journal. Then measures, each in a process of its own and best of
three, reading the input (every line decoded and checked, as `batchkit check` does) and opening the
run (up to the moment at which the first request could be sent). Prints seconds, their ratio and the
peak memory. It does not show what a slow disk adds: the files were written a moment ago.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

from batchkit.folder import RunFolder
from batchkit.inputs import Input, open_input
from batchkit.journal import Journal, Settled
from batchkit.opening import new_plan
from batchkit.options import Options
from batchkit.parts import seal
from batchkit.prepare import scan
from batchkit.resume import Resumption
from batchkit.spec import load_spec
from batchkit.tally import Tally, encode_tally
from benchmarks.records import MODEL, answer, settled_row


class Blocks(dict[int, bytes]):
    """A plan's blocks in memory."""

    def write_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        self.update(blocks)

    def block(self, number: int) -> bytes:
        return self[number]


def make_input(path: Path, rows: int) -> None:
    """A request file of about 250 bytes a row."""
    words = "Which of these is meant, and why is it not one of the others? " * 2
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            messages = [{"role": "user", "content": f"Question {row}: {words}"}]
            line = {"custom_id": f"q-{row}", "model": MODEL, "messages": messages}
            file.write(json.dumps(line) + "\n")


def given_input(here: Path) -> Input:
    return open_input(load_spec(here / "q.jsonl", Options(out=here / "out")))


def make_run(here: Path, done: float) -> None:
    """A folder in which the first rows are answered."""
    given, folder = given_input(here), RunFolder(here / "out")
    folder.path.mkdir()
    with closing(Journal.create(folder.journal)) as journal:
        plan = new_plan(journal, given, lambda _rows: None)
        answered, tally = int(plan.rows * done), Tally()
        layout = given.layout(folder, plan, "benchmark")
        for first in range(0, answered, plan.part_rows):
            rows = range(first, min(first + plan.part_rows, answered))
            is_last = first + plan.part_rows >= answered
            settled = [
                settled_row(row, answer(row, 160)) for row in rows[: -1 if is_last else None]
            ]
            _count(tally, settled)
            if not is_last:
                part = seal(layout, first // plan.part_rows, settled, [])
                journal.record_part(part, rows.start, rows.stop)
                journal.put_all({"tally": encode_tally(tally)})
            else:
                journal.commit(settled, [], encode_tally(tally))


def _count(tally: Tally, settled: list[Settled]) -> None:
    model = tally.of(MODEL, "CNY")
    for one in settled:
        assert one.attempt is not None
        model.add_attempt(one.attempt)
        model.add_result(one.result)


def read(here: Path) -> int:
    """Read and check the input once; how many rows it has."""
    given = given_input(here)
    return scan(given.source, given.rendering(), Blocks()).rows


def reopen(here: Path) -> int:
    """Open the run up to the first request; how many rows are left."""
    given, folder = given_input(here), RunFolder(here / "out")
    with folder.locked():
        opened = Resumption(folder, given, say=print, report=lambda _rows: None).open()
        opened.journal.close()
    return opened.plan.rows - opened.settled.count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--done", type=float, default=0.99, help="share of the rows")
    parser.add_argument("--case", choices=["read", "reopen"], help=argparse.SUPPRESS)
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        began = time.perf_counter()
        rows = (read if options.case == "read" else reopen)(options.here)
        seconds = time.perf_counter() - began
        peak = getrusage(RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rows": rows, "seconds": seconds, "peak_mib": peak}))
        return
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        make_input(here / "q.jsonl", options.rows)
        make_run(here, options.done)
        cases = {case: measured(case, here) for case in ("read", "reopen")}
    cases["ratio"] = {"reopen/read": cases["reopen"]["seconds"] / cases["read"]["seconds"]}
    for case, found in cases.items():
        print(case, *(f"{name} {value:,.4g}" for name, value in found.items()))


def measured(case: str, here: Path) -> dict[str, float]:
    """The best of three, each in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.resume", "--case", case, "--here", str(here)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for _ in range(3)
    ]
    best: dict[str, float] = min(runs, key=lambda one: one["seconds"])
    return best


if __name__ == "__main__":
    main()
