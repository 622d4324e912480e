"""How time, processor time and memory of a whole run grow with its rows and with its slots.

    python -m benchmarks.growth [--rows 1000 … ] [--slots 10 … ] [--keep]

`batchkit run` on one core against an instant server on another, 0.2 KB prompts, 1.5 KB answers.
Against rows at 1,000 in flight; against slots at 20,000 rows. `--with-sizes` adds the larger files
that `benchmarks.sizes` has kept of the same transport. With `--keep` the table and, if matplotlib
is installed (`pip install --group bench`), a plot go into `benchmarks/results`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.measuring import RESULTS, keep, make_rows, serving, table
from benchmarks.sizes import PROMPT_CHARS, command, run_once

ROWS, SLOTS = (1_000, 3_000, 10_000, 30_000, 100_000), (10, 30, 100, 300, 1_000, 3_000)
SLOTS_OF_ROWS, ROWS_OF_SLOTS = 1_000, 20_000
MEASURES = {"seconds": "seconds", "cpu_s": "CPU seconds", "peak_mib": "peak MiB"}


def measure(rows: int, slots: int, transport: str, address: str) -> dict[str, Any]:
    """One run."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        file = make_rows(here / "q.jsonl", rows, PROMPT_CHARS)
        used, _, _ = run_once(command(file, address, here / "out", slots, transport), address)
        assert used.code == 0, used
    found = {"rows": rows, "slots": slots, "seconds": used.seconds}
    return {**found, "cpu_s": used.cpu_s, "peak_mib": used.peak_mib}


def kept_sizes(transport: str, above: int) -> list[dict[str, Any]]:
    """What `benchmarks.sizes` has kept of larger files."""
    found = json.loads((RESULTS / "sizes.json").read_text(encoding="utf-8"))
    return [
        {"slots": one["in_flight"], **{key: one[key] for key in ("rows", *MEASURES)}}
        for one in found
        if one["transport"] == transport
        and one["in_flight"] == SLOTS_OF_ROWS
        and one["rows"] > above
    ]


def as_text(found: list[dict[str, Any]]) -> str:
    lines = [["rows", "slots", "seconds", "CPU s", "CPU µs a row", "peak MiB"]]
    lines += [
        [
            f"{one['rows']:,}",
            f"{one['slots']:,}",
            f"{one['seconds']:.1f}",
            f"{one['cpu_s']:.1f}",
            f"{one['cpu_s'] / one['rows'] * 1e6:.0f}",
            f"{one['peak_mib']:.0f}",
        ]
        for one in found
    ]
    return table(lines)


def plot(by_rows: list[dict[str, Any]], by_slots: list[dict[str, Any]], path: Path) -> None:
    """Each measure against rows and against slots, on logarithmic axes."""
    import matplotlib as mpl  # noqa: PLC0415  # in the group `bench` only

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
    for line, (found, against) in zip(axes, ((by_rows, "rows"), (by_slots, "slots")), strict=True):
        for axis, (key, label) in zip(line, MEASURES.items(), strict=True):
            axis.plot([one[against] for one in found], [one[key] for one in found], "o-")
            axis.set(xscale="log", xlabel=against, ylabel=label)
            axis.set(yscale="log" if against == "rows" and key != "peak_mib" else "linear")
            axis.set_ylim(bottom=None if axis.get_yscale() == "log" else 0)
            axis.grid(visible=True, alpha=0.3)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--slots", type=int, nargs="*", default=SLOTS)
    parser.add_argument("--rows-by-slots", type=int, default=ROWS_OF_SLOTS)
    parser.add_argument("--transport", default="aiohttp")
    parser.add_argument("--with-sizes", action="store_true", help="add what `sizes` has kept")
    parser.add_argument("--keep", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    by_rows: list[dict[str, Any]] = []
    by_slots: list[dict[str, Any]] = []
    with serving() as address:
        for rows in options.rows:
            by_rows.append(measure(rows, SLOTS_OF_ROWS, options.transport, address))
            print(by_rows[-1], file=sys.stderr)
        for slots in options.slots:
            by_slots.append(measure(options.rows_by_slots, slots, options.transport, address))
            print(by_slots[-1], file=sys.stderr)
    if options.with_sizes:
        by_rows += kept_sizes(options.transport, above=max(options.rows))
    text = f"{as_text(by_rows)}\n\n{as_text(by_slots)}"
    print(text)
    if options.keep:
        keep("growth", text, {"rows": by_rows, "slots": by_slots})
        if find_spec("matplotlib") is not None:
            plot(by_rows, by_slots, RESULTS / "growth.svg")


if __name__ == "__main__":
    main()
