"""The journal and the parts alone: what making rows durable costs, by the size of the groups.

    python -m benchmarks.storage [--rows 30000] [--keep]

Rows of 1.2 KB answers, in the order in which 300 requests in flight would settle, are committed in
groups of one size, then sealed. Each size is a process of its own on one core. CPU is that of the
process, the kernel's work for it included; rows a second are those of the disk under the folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

from batchkit.journal import Journal, Settled
from batchkit.opening import PART_ROWS
from batchkit.parts import Layout, seal
from batchkit.spec import Format
from batchkit.tally import Tally, encode_tally
from benchmarks.measuring import keep, run_pinned, table
from benchmarks.records import settled_row

GROUPS = (1, 16, 64, 256, 1024)
IN_FLIGHT = 300


class Watch:
    """Wall and processor time per row."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def per_row(self, rows: int) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"rows_per_s": rows / wall, "cpu_us": cpu / rows * 1e6}


def settling(rows: int) -> list[Settled]:
    """Rows in the order in which they settle: each within `IN_FLIGHT` of its place."""
    rng = Random(5)
    return sorted(
        map(settled_row, range(rows)), key=lambda s: s.result.row + IN_FLIGHT * rng.random()
    )


def groups_of(settled: list[Settled], size: int) -> Iterator[list[Settled]]:
    return (settled[at : at + size] for at in range(0, len(settled), size))


def measure(rows: int, size: int) -> dict[str, dict[str, float]]:
    """Commit and seal `rows` rows in groups of `size`."""
    tally = Tally()
    tally.of("glm-4-plus", "CNY")
    blob = encode_tally(tally)
    settled = settling(rows)
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder), Format.ARROW, None, (), {})
        with closing(Journal.create(Path(folder) / "journal.db")) as journal:
            watch = Watch()
            for group in groups_of(settled, size):
                journal.commit(group, [], blob)
            figures = {"commit": watch.per_row(rows)}
            with closing(journal.reader()) as reader:
                watch = Watch()
                for part in range(rows // PART_ROWS):
                    first, last = part * PART_ROWS, (part + 1) * PART_ROWS
                    sealed = seal(layout, part, reader.settled(first, last), [])
                    journal.record_part(sealed, first, last)
                figures["seal"] = watch.per_row(rows)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3 * PART_ROWS)
    parser.add_argument("--group", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    if options.group:
        print(json.dumps(measure(options.rows, options.group)))
        return
    lines = [["rows a commit", "commit, rows/s", "CPU µs a row", "seal, rows/s", "CPU µs a row"]]
    figures = {}
    for size in GROUPS:
        words = ["--rows", str(options.rows), "--group", str(size)]
        used = run_pinned([sys.executable, "-m", "benchmarks.storage", *words])
        figures[size] = found = json.loads(used.output)
        cells = [found[step][key] for step in found for key in ("rows_per_s", "cpu_us")]
        lines.append([f"{size:,}", *(f"{cell:,.{at % 2}f}" for at, cell in enumerate(cells))])
    text = table(lines)
    print(text)
    if options.keep:
        keep("storage", text, figures)


if __name__ == "__main__":
    main()
