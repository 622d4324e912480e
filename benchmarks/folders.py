"""Folders of finished runs of any size, made without running anything."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from batchkit.folder import RunFolder, write_json
from batchkit.inputs import layout_of
from batchkit.journal import Journal, Settled
from batchkit.parts import seal
from batchkit.plan import ModelShare, Plan, encode_plan
from batchkit.sources import open_source
from batchkit.sources.keep import KeepColumn, dump_columns
from batchkit.tally import Tally, encode_tally
from benchmarks.records import MODEL, settled_row

PART_ROWS = 10_000


def make_run(
    path: Path, rows: int, answer: Callable[[int], tuple[str, str]], *, data: Path | None = None
) -> None:
    """A run over `data` whose row n has the answer and the kept value `gold` of `answer(n)`."""
    path.mkdir()
    folder = RunFolder(path)
    plan = Plan(
        rows=rows,
        invalid=0,
        models=[MODEL],
        shares=[ModelShare(rows, 0)],
        asks={},
        input={} if data is None else {"path": str(data), **open_source(data).fingerprint()},
        limit=None,
        part_rows=PART_ROWS,
        format="arrow",
        keep=dump_columns([KeepColumn.of("gold", pa.string())]),
    )
    layout = layout_of(folder, plan)
    with closing(Journal.create(folder.journal)) as journal:
        tally = Tally()
        journal.finish_plan(encode_plan(plan), encode_tally(tally))
        for number in range(-(-rows // PART_ROWS)):
            first, last = number * PART_ROWS, min((number + 1) * PART_ROWS, rows)
            settled = [_settled(row, *answer(row)) for row in range(first, last)]
            model = tally.of(MODEL, "CNY")
            for one in settled:
                assert one.attempt is not None
                model.add_attempt(one.attempt)
                model.add_result(one.result)
            journal.record_part(seal(layout, number, settled, []), first, last)
            journal.put_all({"tally": encode_tally(tally)})
    write_json(folder.run_json, {"score": {"gold": "gold"}})


def _settled(row: int, content: str, gold: str) -> Settled:
    return settled_row(row, content, [gold])
