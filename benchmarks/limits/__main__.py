"""Every candidate in every scenario, as tables in Markdown: `python -m benchmarks.limits`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from benchmarks.limits.candidates import CANDIDATES
from benchmarks.limits.meter import Report
from benchmarks.limits.play import play
from benchmarks.limits.scenarios import SCENARIOS, Scenario

OURS = "batchkit"
_QUICK = 0.05  # of the rows


def main() -> None:
    """Play them all in as many processes as there are cores, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows: whether it still works")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios named like this")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    if options.quick:
        chosen = [scenario.shorter(_QUICK) for scenario in chosen]
    pairs = [(scenario, candidate) for scenario in chosen for candidate in CANDIDATES]
    with ProcessPoolExecutor() as executor:
        reports = executor.map(play, *zip(*pairs, strict=True), [options.seed] * len(pairs))
        table = {
            (scenario.name, candidate): done
            for (scenario, candidate), done in zip(pairs, reports, strict=True)
        }
    for line in _lines(chosen, table):
        print(line)


def _lines(chosen: list[Scenario], table: dict[tuple[str, str], list[Report]]) -> Iterator[str]:
    yield from _head("makespan / bound · refusals per 100 answers", list(CANDIDATES))
    for scenario in chosen:
        cells = (_brief(table[scenario.name, candidate]) for candidate in CANDIDATES)
        yield f"| {scenario.name} | {' | '.join(cells)} |"
    yield ""
    yield from _head(
        f"{OURS} alone",
        ["utilization", "refused", "later, per 100", "1305, 5xx", "found", "full again", "learned"],
    )
    for scenario in chosen:
        for report in table[scenario.name, OURS]:
            yield f"| {scenario.name} | {' | '.join(_whole(report))} |"


def _head(title: str, columns: list[str]) -> Iterator[str]:
    yield f"| {title} | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"


def _brief(reports: list[Report]) -> str:
    worst = max(reports, key=lambda report: report.stretch)
    return f"{worst.stretch:.2f} · {_number(100 * worst.refused_share, 2)}"


def _whole(report: Report) -> list[str]:
    return [
        _number(report.utilization, 3),
        f"{report.refused:,}",
        _number(100 * report.steady_share, 2),
        f"{report.busy:,}",
        _number(report.found, 0),
        _number(report.recovered, 0),
        f"{report.learned:,}",
    ]


def _number(value: float, digits: int) -> str:
    """Three significant digits at most; a dash for what does not apply or never happened."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
