"""Folders of runs with given rows, written as a run writes them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from batchkit.folder import RunFolder, write_json
from batchkit.inputs import layout_of
from batchkit.journal import Journal, Settled
from batchkit.models import builtin_models
from batchkit.parts import seal
from batchkit.plan import ModelShare, Plan, encode_plan
from batchkit.records import Attempt
from batchkit.sources.keep import dump_columns
from batchkit.tally import Tally, encode_tally
from tests.samples import NOON

PART_ROWS = 10


def make_run(
    path: Path,
    settled: Sequence[Settled],
    attempts: Sequence[Attempt] = (),
    *,
    rows: int | None = None,
    format_: str = "arrow",
    starts: Sequence[Any] = (NOON,),
) -> Path:
    """A run whose complete parts are sealed and whose other rows stand in the journal.

    `attempts` settled nothing. `rows` are those of the plan; `starts` are when it was started.
    """
    folder = RunFolder(path)
    path.mkdir(parents=True)
    models = sorted({one.result.model for one in settled} | {one.model for one in attempts})
    plan = Plan(
        rows=len(settled) if rows is None else rows,
        invalid=0,
        models=models,
        shares=[ModelShare(sum(s.result.model == name for s in settled)) for name in models],
        asks={},
        input={},
        limit=None,
        part_rows=PART_ROWS,
        format=format_,
        keep=dump_columns(()),
    )
    with closing(Journal.create(folder.journal)) as journal:
        journal.finish_plan(encode_plan(plan), encode_tally(Tally()))
        journal.commit(settled, attempts, encode_tally(tally_of(settled, attempts)))
        layout = layout_of(folder, plan)
        for part in range(len(settled) // PART_ROWS):
            first, last = part * PART_ROWS, (part + 1) * PART_ROWS
            sealed = seal(layout, part, journal.settled(first, last), journal.attempts(first, last))
            journal.record_part(sealed, first, last)
    table = builtin_models()
    known = table.as_rows([name for name in models if name in table])
    notes = [{"at": at, "tier": "V0", "endpoints": {}, "models": known} for at in starts]
    write_json(folder.run_json, {"starts": notes})
    return path


def tally_of(settled: Sequence[Settled], attempts: Sequence[Attempt]) -> Tally:
    tally = Tally(wall_s=60.0)
    for attempt in attempts:
        tally.of(attempt.model, "CNY").add_attempt(attempt)
    for one in settled:
        model = tally.of(one.result.model, one.result.currency)
        if one.attempt is not None:
            model.add_attempt(one.attempt)
        model.add_result(one.result)
    return tally
