"""`batchkit tune` where there is nothing to tune; on a process that runs, see `tests/crash`."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Command, Done

NOT_BOTH = "batchkit tune: argument --resume: not allowed with argument --pause"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "tune: nothing to change; give --concurrency, --pause or --resume\n"),
        (["--concurrency", "0"], "--concurrency: expected at least 1, got 0\n"),
        (["--concurrency", "x"], "--concurrency: expected N or MODEL=N, got 'x'\n"),
        (["--pause"], "out: nothing is running here; start it with batchkit run\n"),
        (
            ["--pause", "--resume"],
            f"{NOT_BOTH}; see batchkit tune --help\n",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], fault: str, batchkit: Command) -> None:
    assert batchkit("tune", "out", *words) == Done(2, "", fault)
