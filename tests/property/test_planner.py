"""A plan that grows is the plan that is made at once, however it is cut and often begun."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit import plan as plan_module
from batchkit import planned_rows, planner, prepare
from batchkit.inputs import Input, open_input
from batchkit.journal import Planned, Settled
from batchkit.opening import blank_plan, scan_input
from batchkit.options import Options
from batchkit.plan import (
    SHOWN_FAULTS,
    Entry,
    Fault,
    InvalidInputError,
    Plan,
    decode_plan,
    read_entries,
)
from batchkit.planner import Planner
from batchkit.spec import load_spec
from tests.fakes import Blocks

GOOD, OTHER, REPEATED, NOT_JSON, NO_PROMPT = range(5)
KINDS = st.sampled_from([GOOD, GOOD, GOOD, GOOD, OTHER, REPEATED, NOT_JSON, NO_PROMPT])
MODELS = {GOOD: "glm-4-plus", OTHER: "glm-4-air-250414", REPEATED: "glm-4-plus"}


def line(row: int, kind: int) -> str:
    if kind == NOT_JSON:
        return "{"
    known_by = "q-0" if kind == REPEATED else f"q-{row}"
    asks = {} if kind == NO_PROMPT else {"prompt": f"Question {row}?"}
    return json.dumps({"custom_id": known_by, "model": MODELS.get(kind, "glm-4-plus"), **asks})


@contextmanager
def input_of(
    kinds: list[int], *, block_rows: int, held_most: int, **options: bool
) -> Iterator[Input]:
    """A request file with rows of `kinds`, read in blocks of `block_rows`."""
    modules = (plan_module, prepare, planned_rows)
    patches = [mock.patch.object(module, "BLOCK_ROWS", block_rows) for module in modules]
    patches.append(mock.patch.object(planner, "_HELD_MOST", held_most))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.jsonl"
        path.write_text("".join(f"{line(row, kind)}\n" for row, kind in enumerate(kinds)), "utf-8")
        for patch in patches:
            patch.start()
        try:
            yield open_input(load_spec(path, Options(**options)))  # type: ignore[arg-type]
        finally:
            for patch in patches:
                patch.stop()


def new(job: Input) -> Plan:
    return blank_plan(job, job.keeping().types())


def told(settled: list[Settled]) -> list[tuple[int, str, str | None]]:
    return [(one.result.row, one.result.custom_id, one.result.error_message) for one in settled]


def entries_of(store: Blocks, found: Plan) -> list[Entry]:
    return list(read_entries(store, found.rows))[: found.rows]


@settings(max_examples=120)
@given(
    st.lists(KINDS, min_size=1, max_size=40),
    st.integers(1, 9),
    st.integers(1, 6),
    st.lists(st.integers(1, 12), max_size=4),
)
def test_it_is_the_plan_of_one_pass(
    kinds: list[int], block_rows: int, held_most: int, kills: list[int]
) -> None:
    """Of what was planned at a kill the next start takes up what was handed over, and no more."""
    with input_of(kinds, block_rows=block_rows, held_most=held_most, skip_invalid=True) as job:
        whole_store, faults = Blocks(), list[Fault]()
        whole = scan_input(job, whole_store, faults.append, lambda _rows: None)
        store, grown, invalid = Blocks(), new(job), list[Settled]()
        while not grown.is_whole:
            planning = Planner(job, grown, store)
            steps = kills.pop() if kills else 1000
            for planned in taken(planning, steps):
                invalid += planned.invalid
                grown = decode_plan(planned.plan)
                assert (planned.rows, planned.is_whole) == (grown.rows, grown.is_whole)
                assert grown.is_whole or grown.rows % block_rows == 0
                assert entries_of(store, grown) == entries_of(whole_store, whole)[: grown.rows]
    assert grown == whole
    assert store.blocks == whole_store.blocks
    expected = [(one.row, one.custom_id, f"{one.place}: {one.reason}") for one in sorted(faults)]
    assert told(invalid) == expected


def taken(planning: Planner, steps: int) -> Iterator[Planned]:
    """What so many steps hand over, or all."""
    for _ in range(steps):
        if planning.is_ended:
            return
        planned = planning.step()
        if planned is not None:
            yield planned


@settings(max_examples=80)
@given(st.lists(KINDS, min_size=1, max_size=40), st.integers(1, 9))
def test_no_row_behind_a_bad_one_is_handed_over(kinds: list[int], block_rows: int) -> None:
    with input_of(kinds, block_rows=block_rows, held_most=3) as job:
        faults = list[Fault]()
        scan_input(job, Blocks(), faults.append, lambda _rows: None)
        handed_over, error = 0, None
        try:
            for planned in taken(Planner(job, new(job), Blocks()), 1000):
                handed_over = planned.rows
        except InvalidInputError as raised:
            error = raised
    if not faults:
        assert (handed_over, error) == (len(kinds), None)
        return
    assert handed_over <= min(fault.row for fault in faults)
    assert error is not None
    if len(faults) < SHOWN_FAULTS:
        lines = [f"{fault.place}: {fault.reason}" for fault in sorted(faults)]
        assert (str(error).splitlines()[:-1], error.count) == (lines, len(faults))


def test_ids_are_looked_at_as_often_as_rows_wait_for_it() -> None:
    """A quarter more rows wait for a look at suspects: the looks take a time linear in the rows."""
    with input_of([GOOD] * 400, block_rows=2, held_most=10**6) as job:
        planning = Planner(job, new(job), Blocks())
        with mock.patch.object(plan_module.RepeatedIds, "suspects", 1):
            handed_over = [planned.rows for planned in taken(planning, 1000)]
    assert handed_over[:8] == [2, 4, 6, 8, 10, 14, 18, 24]
    assert handed_over[-1] == 400
    assert sum(handed_over) < 6 * 400
