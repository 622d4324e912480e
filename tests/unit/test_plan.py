"""The plan: entries come back as they were added, block by block."""

from __future__ import annotations

import pytest

from batchkit.document import Document
from batchkit.plan import (
    BLOCK_ROWS,
    Entry,
    Fault,
    InvalidInputError,
    ModelShare,
    Plan,
    PlanWriter,
    RepeatedIds,
    block_entries,
    read_entries,
)
from batchkit.records import Request
from tests.fakes import Blocks


def digests(request: Request | Document) -> tuple[int, int]:
    return 2**64 - 1 - request.row, 10_000 + request.row


def add(writer: PlanWriter, row: int, model: str = "m", tokens: int = 7) -> tuple[int, int]:
    return writer.add(Request(row, f"id-{row}", model, [], {}, tokens), 100 * row)


def entry(row: int, model: int = 0, tokens: int = 7, requests: int = 1) -> Entry:
    return Entry(2**64 - 1 - row, 10_000 + row, 100 * row, tokens, model, requests)


def test_entries_come_back_as_they_were_added() -> None:
    writer = PlanWriter(Blocks(), digests=digests)
    added = [add(writer, 0), add(writer, 1, "n", 9)]
    writer.add_invalid(200)
    added.append(add(writer, 3))
    assert added == [(2**64 - 1 - row, 10_000 + row) for row in (0, 1, 3)]
    assert (writer.rows, writer.invalid, writer.models) == (4, 1, ["m", "n"])
    assert writer.shares == [ModelShare(2, 14, 2, longest=7), ModelShare(1, 9, 1, longest=9)]


@pytest.mark.parametrize("rows", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1])
def test_a_plan_is_cut_into_blocks(rows: int) -> None:
    store = Blocks()
    writer = PlanWriter(store, digests=digests)
    for row in range(rows):
        add(writer, row)
    writer.finish()
    assert list(store.blocks) == list(range(-(-rows // BLOCK_ROWS)))
    assert list(read_entries(store, rows)) == [entry(row) for row in range(rows)]


@pytest.mark.parametrize(
    "start", [0, 5, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 9, 2 * BLOCK_ROWS]
)
def test_entries_are_read_from_any_row_on(start: int) -> None:
    store, rows = Blocks(), 2 * BLOCK_ROWS + 10
    writer = PlanWriter(store, digests=digests)
    for row in range(rows):
        add(writer, row)
    writer.finish()
    assert list(read_entries(store, rows, start)) == [entry(row) for row in range(start, rows)]


def test_an_invalid_row_has_its_place_and_nothing_to_ask() -> None:
    store = Blocks()
    writer = PlanWriter(store, digests=digests)
    writer.add_invalid(0)
    writer.finish()
    assert list(read_entries(store, 1)) == [Entry(0, 0, 0, 0, 0, 0)]
    assert (writer.models, writer.shares) == ([], [])


def test_a_planned_row_can_still_turn_out_invalid() -> None:
    store, rows = Blocks(), BLOCK_ROWS + 2
    writer = PlanWriter(store, digests=digests)
    for row in range(rows):
        add(writer, row, "mn"[row % 2], tokens=row)
    writer.finish()
    before = list(read_entries(store, rows))
    writer.invalidate(BLOCK_ROWS + 1)
    after = list(read_entries(store, rows))
    assert after == [*before[:-1], before[-1]._replace(requests=0)]
    half = rows // 2
    assert writer.invalid == 1
    assert writer.shares[0].rows == half
    assert writer.shares[1] == ModelShare(
        half - 1,
        sum(range(1, rows, 2)) - (BLOCK_ROWS + 1),
        half - 1,
        longest=BLOCK_ROWS + 1,
    )


def test_the_widest_values_fit_an_entry() -> None:
    store = Blocks()
    writer = PlanWriter(store, digests=lambda _: (2**64 - 1, 2**64 - 1))
    request = Request(0, "x", "m", [], {}, 2**32 - 1)
    writer.add(request, 2**63)
    writer.finish()
    assert block_entries(store.block(0)) == [Entry(2**64 - 1, 2**64 - 1, 2**63, 2**32 - 1, 0, 1)]


def test_a_plan_knows_each_models_share() -> None:
    plan = Plan(
        rows=3,
        invalid=0,
        models=["m", "n"],
        shares=[ModelShare(2, 20), ModelShare(1, 5)],
        asks={},
        input={},
        limit=None,
        part_rows=10,
        format="arrow",
        keep="",
    )
    assert plan.share("n") == ModelShare(1, 5)


def test_a_repeated_id_is_found_with_all_its_rows() -> None:
    repeated = RepeatedIds(0)
    ids = [7, 8, 7, 9, 7, 9]
    for one in ids:
        repeated.add(one)
    assert repeated.rows(ids) == {7: [0, 2, 4], 9: [3, 5]}


def test_ids_are_looked_at_again_only_if_they_come_again() -> None:
    repeated = RepeatedIds(0)
    ids = [7, 8, 7]
    for one in ids:
        repeated.add(one)
    assert (repeated.suspects, repeated.rows(ids), repeated.suspects) == (1, {7: [0, 2]}, 0)
    repeated.add(9)
    assert repeated.rows([*ids, 9]) == {}
    repeated.add(8)
    assert repeated.rows([*ids, 9, 8]) == {8: [1, 4]}


def test_a_plan_of_whole_blocks_goes_on_where_it_was() -> None:
    rows, stores = BLOCK_ROWS + 3, (Blocks(), Blocks())
    writers = [PlanWriter(store, digests=digests) for store in stores]
    for row in range(rows):
        add(writers[0], row, "mn"[row // BLOCK_ROWS])
    for row in range(BLOCK_ROWS):
        add(writers[1], row)
    begun = Plan(BLOCK_ROWS, 0, ["m"], writers[1].shares, {}, {}, None, 10, "arrow", "")
    after = PlanWriter(stores[1], digests=digests, after=begun)
    for row in range(BLOCK_ROWS, rows):
        add(after, row, "n")
    for writer in (writers[0], after):
        writer.finish()
    assert (after.rows, after.models, after.shares) == (rows, ["m", "n"], writers[0].shares)
    assert stores[0].blocks == stores[1].blocks
    assert begun.shares == [ModelShare(BLOCK_ROWS, 7 * BLOCK_ROWS, BLOCK_ROWS, longest=7)]


def test_ids_that_only_share_a_bucket_are_not_repeated() -> None:
    repeated = RepeatedIds(0)
    ids = [digest << 40 for digest in range(1, 50)]
    for one in ids:
        repeated.add(one)
    assert repeated.rows(ids) == {}


def test_bad_rows_are_listed_up_to_a_screenful_and_counted() -> None:
    faults = [Fault(n, f"id-{n}", f"a.jsonl:{n + 1}", "is bad") for n in range(2)]
    error = InvalidInputError(faults, 1_002, 5_000)
    assert str(error).splitlines() == [
        "a.jsonl:1: is bad",
        "a.jsonl:2: is bad",
        "… and 1,000 more",
        "1,002 of 5,000 rows cannot be sent; mend them, or run with --skip-invalid",
    ]
    assert error.count == 1_002
    begun = InvalidInputError(faults, 2, 5_000, is_begun=True)
    assert str(begun).splitlines()[-1] == (
        "2 of 5,000 rows cannot be sent; mend them and go on with --update, "
        "or go on with --skip-invalid"
    )
    assert "more" not in str(InvalidInputError(faults, 2, 5_000))
