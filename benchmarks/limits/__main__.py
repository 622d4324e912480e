"""`python -m benchmarks.limits`: every candidate in every scenario, as tables in Markdown."""

from __future__ import annotations

import argparse
import time

from benchmarks.limits.candidates import CANDIDATES
from benchmarks.limits.meter import Report
from benchmarks.limits.scenarios import Scenario, play, scenarios

def _cells(r):
    return f"{r.utilization:.3f} | {r.refused} | {100*r.refused_share:.2f} | {100*r.steady_share:.2f} | {r.busy} | {r.stretch:.3f} | {r.found:.0f} | {r.recovered:.0f} | {r.learned}"

def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--candidates", default=",".join(CANDIDATES))
    a = parser.parse_args()
    for s in scenarios(0.1 if a.quick else a.scale):
        if a.only not in s.name: continue
        for c in a.candidates.split(","):
            t=time.time()
            for r in play(s, c):
                print(f"{s.name:32s} | {c:12s} | {_cells(r)} | {time.time()-t:.1f}s", flush=True)

main()
