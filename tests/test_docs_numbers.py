"""The numbers that the README tells are those of the code."""

from __future__ import annotations

import pytest

from batchkit import examples, glossary, labels, tuning
from batchkit.journal import FORMAT
from batchkit.leases import LOAN_S
from batchkit.log import FILE_MOST, FILES_KEPT
from batchkit.onward import OVERLOADED_FOR_S
from batchkit.opening import PART_ROWS
from batchkit.plan import BLOCK_ROWS, SHOWN_FAULTS, Entry, pack_entries
from batchkit.pool import NOBODY_ANSWERED_S
from batchkit.report.counting import EXAMPLES
from batchkit.report.sample import SAMPLE_MOST
from batchkit.retry import LONGEST_PAUSE_S
from batchkit.sending import ONE_PROCESS
from batchkit.sources.grouped import ROWS_MOST
from batchkit.spec import DEFAULT_DRAIN_S, DEFAULT_MAX_ATTEMPTS, DEFAULT_TIMEOUT_S
from batchkit.workers.frames import WorkerConfig
from batchkit.workers.link import SILENT_LOOKS
from batchkit.workers.worker import QUIET_LOOKS
from tests.test_docs import README

LOOK_S = WorkerConfig([], trust_env=False).look_s
COUNTED = {3: "three", 4: "four"}
ENTRY = pack_entries([Entry(0, 0, 0, 0, 0, 1)])


@pytest.mark.parametrize(
    "words",
    [
        f"= 120                # seconds, one attempt; default {DEFAULT_TIMEOUT_S:.0f}",
        f"max_attempts = 5                  # default {DEFAULT_MAX_ATTEMPTS}",
        f"the first {SHOWN_FAULTS} are named with their lines",
        f"With `--eager` the first {BLOCK_ROWS:,} rows are",
        f"there are at most {labels.MOST:,}",
        f"at most {glossary.MOST} a prompt",
        f"{examples.MOST:,} are the most",
        f"A group has at most {ROWS_MOST:,} rows",
        f"may take after a stop; default {DEFAULT_DRAIN_S:.0f} |",
        f"One process is good for some {ONE_PROCESS:,.0f} rows a second",
        f"was overloaded (1305, 1312, 503, 529) for {OVERLOADED_FOR_S:.0f} s",
        f"loses its slots {LOAN_S:.0f} s later",
        f"has not taken it within {tuning.WAIT_S:.0f} s",
        f"part k holds rows {PART_ROWS:,}·k to {PART_ROWS:,}·(k+1)-1",
        f"At {FILE_MOST >> 20} MiB it becomes `log.jsonl.1`; {COUNTED[FILES_KEPT]} of these",
        f"with {COUNTED[EXAMPLES]} examples each",
        f"and at most {SAMPLE_MOST} rows",
        f"`PRAGMA user_version` is the format, now {FORMAT}.",
        f"requests in flight have {DEFAULT_DRAIN_S:.0f} s to end (`--drain`)",
        f"killed or silent for {SILENT_LOOKS * LOOK_S:.0f} s",
        f"when the run is silent for {QUIET_LOOKS * LOOK_S:.0f} s",
        f"uses up one of the row's {DEFAULT_MAX_ATTEMPTS} attempts",
        f"doubles per failure up to {LONGEST_PAUSE_S:.0f} s",
        f"A model that refuses everybody for {NOBODY_ANSWERED_S:.0f} s is given up",
        f"writes the plan, {len(ENTRY)} bytes a row",
    ],
)
def test_a_number_is_that_of_the_code(words: str) -> None:
    assert words in README
