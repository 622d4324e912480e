"""How long exports take, and how much memory, against the number of rows.

    python -m benchmarks.export [--rows 1000000]

Makes the folder of a run over a JSONL file, then exports it in each format to a file, and once more
joined to its input, each in a process of its own. Prints seconds and peak memory, the latter also
for a tenth of the rows: it must hardly grow. It does not show what a slow disk adds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from batchkit.writers import To
from benchmarks.command import measure
from benchmarks.folders import make_run

WORDS = "An answer of a few words, as long as most of them are. " * 4


def make_input(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            file.write(json.dumps({"id": row, "text": f"Question {row}: {WORDS}"}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        for rows in (options.rows // 10, options.rows):
            data, folder = here / f"docs-{rows}.jsonl", here / f"run-{rows}"
            make_input(data, rows)
            make_run(folder, rows, lambda row: (f"{row}: {WORDS}", "gold"), data=data)
            for to in To:
                out = ["-O", str(here / f"out.{to}")]
                measure(to, rows, "export", str(folder), "--to", to, *out)
            out = ["-O", str(here / "joined"), "--with-input"]
            measure("joined", rows, "export", str(folder), "--to", "arrow", *out)


if __name__ == "__main__":
    main()
