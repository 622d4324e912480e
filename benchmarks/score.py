"""How long scoring takes, and how much memory, against the number of rows.

    python -m benchmarks.score [--rows 1000000] [--translations 20000]

Makes the folders of two runs with 50 labels, of which one is right in 80 % and one in 82 % of the
rows, and of one run with short Chinese translations. Then scores one, compares the two, and scores
the translations, each in a process of its own. Prints seconds and peak memory, the latter also for
a tenth of the rows: it must hardly grow. It does not show what a slow disk adds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from random import Random

from benchmarks.command import measure
from benchmarks.folders import make_run

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--translations", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        for rows in (options.rows // 10, options.rows):
            one, two = str(here / f"one-{rows}"), str(here / f"two-{rows}")
            make_run(Path(one), rows, lambda row: label(0.80, row))
            make_run(Path(two), rows, lambda row: label(0.82, row))
            measure("score", rows, "score", one)
            measure("compare", rows, "score", one, two)
        for rows in (options.translations // 10, options.translations):
            folder = str(here / f"translations-{rows}")
            make_run(Path(folder), rows, translation)
            measure("translations", rows, "score", folder, "--kind", "translation")


if __name__ == "__main__":
    main()
