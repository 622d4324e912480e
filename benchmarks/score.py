"""How long scoring takes, and how much memory, against the number of rows.

    python -m benchmarks.score [--rows 1000000] [--translations 20000]

Makes the folders of two runs with 50 labels, of which one is right in 80 % and one in 82 % of the
rows, and of one run with short Chinese translations. Then scores one, compares the two, and scores
the translations, each in a process of its own. Prints seconds and peak memory, the latter also for
a tenth of the rows: it must hardly grow. It does not show what a slow disk adds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from batchkit.cli import main as batchkit
from benchmarks.folders import make_run
from benchmarks.memory import peak_mib

LABELS = [f"label {number}" for number in range(50)]
CHARACTERS = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学"
)


def label(right: float, row: int) -> tuple[str, str]:
    rng = Random(row)
    gold, other = rng.choice(LABELS), rng.choice(LABELS)
    return gold if Random(f"{right} {row}").random() < right else other, gold


def translation(row: int) -> tuple[str, str]:
    rng = Random(row)
    gold = rng.choices(CHARACTERS, k=30)
    answer = [one if rng.random() < 0.7 else rng.choice(CHARACTERS) for one in gold]
    return "".join(answer), "".join(gold)


def measured(*words: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.score", "--case", json.dumps(["score", *words])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--translations", type=int, default=20_000)
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
            one, two = str(here / f"one-{rows}"), str(here / f"two-{rows}")
            make_run(Path(one), rows, lambda row: label(0.80, row))
            make_run(Path(two), rows, lambda row: label(0.82, row))
            show("score", rows, measured(one))
            show("compare", rows, measured(one, two))
        for rows in (options.translations // 10, options.translations):
            folder = str(here / f"translations-{rows}")
            make_run(Path(folder), rows, translation)
            show("translations", rows, measured(folder, "--kind", "translation"))


def show(case: str, rows: int, found: dict[str, float]) -> None:
    figures = [f"{name} {value:,.1f}" for name, value in found.items()]
    print(f"{case} rows {rows:,}", *figures, flush=True)


if __name__ == "__main__":
    main()
