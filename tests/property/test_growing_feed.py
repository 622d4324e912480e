"""A feeder over a plan that grows hands out each of its rows once."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit import plan as plan_module
from batchkit import planned_rows
from batchkit.feeder import Feeder
from batchkit.growth import Growth
from batchkit.plan import ModelShare, Plan, PlanWriter
from batchkit.planned_rows import PlannedRows
from batchkit.records import Request
from batchkit.rows import SettledRows
from batchkit.sources.base import Raw
from tests.fakes import Unchunked

BLOCK = 4  # rows


class Lines:
    """A cursor over rows whose value is their number."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take(self, wanted: Sequence[tuple[int, int]]) -> list[Raw]:
        rows = [row for row, _ in wanted]
        assert sorted(self.taken + rows) == self.taken + rows, "cursors only go forward"
        self.taken += rows
        return [Raw(row, 0, 0, {}) for row in rows]

    def close(self) -> None:
        pass


class Building:
    rows_before = 0

    def __init__(self, models: list[str]) -> None:
        self._models = models

    def build(self, raw: Raw) -> Request:
        return Request(raw.row, f"row-{raw.row}", self._models[raw.row], [], {}, 1 + raw.row % 7)

    def identify(self, raw: Raw) -> str:
        return f"row-{raw.row}"


def blocks_of(models: list[str]) -> Unchunked:
    store = Unchunked()
    writer = PlanWriter(store, digests=lambda request: (request.row, request.prompt_tokens))
    builder = Building(models)
    for row in range(len(models)):
        writer.add(builder.build(Raw(row, 0, 0, {})), 0)
    writer.finish()
    return store


def plan_of(models: list[str], rows: int, *, is_whole: bool) -> Plan:
    """The plan of the first rows; its models are those that they name, in order."""
    names = list(dict.fromkeys(models[:rows]))
    shares = [ModelShare(models[:rows].count(name)) for name in names]
    return Plan(rows, 0, names, shares, {}, {"path": "a"}, None, 10, "arrow", "", is_whole=is_whole)


def feeder_of(
    growth: Growth, models: list[str], model: str, store: Unchunked, done: set[int]
) -> Feeder:
    settled = SettledRows(len(models), 10)
    for row in done:
        settled.add(row)
    rows = PlannedRows(
        growth.plan,
        store=store,
        cursor=Lines,
        builder=Building(models),
        digest=lambda asked: asked.prompt_tokens,
        settled=settled,
        is_over=lambda: growth.is_over,
    )
    return Feeder(
        rows=rows,
        model=model,
        store=store,
        prior={},
        batch_requests=3,
        first_requests=0,
        last_requests=5,
        takes=lambda _tokens: True,
        bounds={},
    )


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from("mn"), min_size=1, max_size=40),
    st.sets(st.integers(0, 39)),
    st.lists(st.integers(0, 3), max_size=30),
)
def test_every_row_of_the_lane_comes_once_while_the_plan_grows(
    models: list[str], done: set[int], growths: list[int]
) -> None:
    """In input order until the plan is whole; between two batches it grows by so many blocks."""
    done = {row for row in done if row < len(models)}
    wanted = [row for row, model in enumerate(models) if model == "n" and row not in done]
    before: list[int] = []  # the plan was whole
    after: list[int] = []
    with (
        mock.patch.object(plan_module, "BLOCK_ROWS", BLOCK),
        mock.patch.object(planned_rows, "BLOCK_ROWS", BLOCK),
    ):
        growth = Growth(plan_of(models, 0, is_whole=False), ["m", "n"])
        feeder = feeder_of(growth, models, "n", blocks_of(models), done)
        for blocks in [*growths, *[1] * (1 + len(models))]:
            grow(growth, models, growth.plan.rows + BLOCK * blocks)
            batch = [fed.request.row for fed in feeder.batch()]
            assert batch or not growth.is_over or feeder.is_over
            assert growth.is_over or len(batch) <= 3, "nothing is kept to be the last"
            (after if growth.is_over else before).extend(batch)
    assert feeder.is_over
    assert sorted(before + after) == wanted
    assert sorted(before) == wanted[: len(before)]


def grow(growth: Growth, models: list[str], rows: int) -> None:
    if not growth.is_over:
        growth.grow(plan_of(models, min(rows, len(models)), is_whole=rows >= len(models)))
