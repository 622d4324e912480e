"""The account allows less than the table says: found, kept, and known to the next run."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import Command, Simulate, prompts, write_rows

FLASH = "glm-4-flash-250414"


def test_the_account_allows_less_than_the_table(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(limits={FLASH: 20}, latency="lognormal:0.05,0.3")
    write_rows(here / "q.jsonl", prompts(1500))
    words = ["run", "q.jsonl", "--endpoint", running.url, "--concurrency", "60", "--json"]
    first = json.loads(batchkit(*words, "-o", "first").out)
    assert first["ok"] == 1500
    assert running.service.stats.models[FLASH].max_in_flight == 20
    assert first["refused"] < 300

    known = batchkit("models").out.splitlines()[-1].split()
    assert known[0] == FLASH
    assert 15 <= int(known[1]) <= 25

    second = json.loads(batchkit(*words, "-o", "second").out)
    assert second["ok"] == 1500
    assert second["refused"] < first["refused"]
    assert batchkit("models", "--forget").out == "1 learned limits forgotten\n"
    assert "learned" not in batchkit("models").out
