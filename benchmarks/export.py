"""How long exports take, and how much memory, against the number of rows.

    python -m benchmarks.export [--rows 1000000]

Makes the folder of a run over a JSONL file, then exports it in each format to a file, and once more
joined to its input, each in a process of its own. Prints seconds and peak memory, the latter also
for a tenth of the rows: it must hardly grow. It does not show what a slow disk adds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batchkit.cli import main as batchkit
from batchkit.writers import To
from benchmarks.folders import make_run
from benchmarks.memory import peak_mib

WORDS = "An answer of a few words, as long as most of them are. " * 4


def measured(*words: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.export", "--case", json.dumps(words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_input(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            file.write(json.dumps({"id": row, "text": f"Question {row}: {WORDS}"}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        began = time.perf_counter()
        assert batchkit(options.case) == 0
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}))
        return
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        for rows in (options.rows // 10, options.rows):
            data, folder = here / f"docs-{rows}.jsonl", here / f"run-{rows}"
            make_input(data, rows)
            make_run(folder, rows, lambda row: (f"{row}: {WORDS}", "gold"), data=data)
            for to in To:
                out = ["-O", str(here / f"out.{to}")]
                show(to, rows, measured("export", str(folder), "--to", to, *out))
            out = ["-O", str(here / "joined"), "--with-input"]
            show("joined", rows, measured("export", str(folder), "--to", "arrow", *out))


def show(case: str, rows: int, found: dict[str, float]) -> None:
    figures = [f"{name} {value:,.1f}" for name, value in found.items()]
    print(f"{case} rows {rows:,}", *figures, flush=True)


if __name__ == "__main__":
    main()
