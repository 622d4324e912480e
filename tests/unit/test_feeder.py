"""A lane's rows in the order in which its workers get them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from batchkit import feeder as module
from batchkit.feeder import Feeder
from batchkit.plan import Plan, PlanWriter
from batchkit.planned_rows import PlannedRows
from batchkit.prefix_order import PrefixOrder
from batchkit.records import Prior, Request
from batchkit.rows import SettledRows
from batchkit.sources.base import Raw
from tests.fakes import Unchunked


class Lines:
    """A cursor over rows whose value is their number of prompt tokens."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._at = -1

    def take(self, wanted: Sequence[tuple[int, int]]) -> list[Raw]:
        rows = [row for row, _ in wanted]
        assert rows == sorted(rows)
        assert rows[0] > self._at, "cursors only go forward"
        self._at = rows[-1]
        return [Raw(row, 0, 0, {"tokens": self._tokens[row]}) for row in rows]

    def close(self) -> None:
        pass


class Building:
    """Makes the requests of `Lines`."""

    def build(self, raw: Raw) -> Request:
        assert raw.values is not None
        return asks(raw.row, raw.values["tokens"])

    def identify(self, raw: Raw) -> str:
        return f"row-{raw.row}"


def asks(row: int, tokens: int) -> Request:
    return Request(row, f"row-{row}", "m", [], {}, tokens)


def feeder(tokens: Sequence[int], **options: Any) -> Feeder:
    blocks = Unchunked()
    writer = PlanWriter(blocks, digests=lambda request: (request.row, request.prompt_tokens))
    for row, count in enumerate(tokens):
        writer.add(asks(row, count), 0)
    writer.finish()
    plan = Plan(
        writer.rows, 0, writer.models, writer.shares, {}, {"path": "a"}, None, 100, "arrow", ""
    )
    given: dict[str, Any] = {
        "model": "m",
        "prior": {},
        "batch_requests": 4,
        "first_requests": 0,
        "last_requests": 6,
        "takes": lambda _tokens: True,
        "bounds": {"m": lambda request: request.prompt_tokens},
    }
    given |= options
    rows = PlannedRows(
        plan,
        store=blocks,
        cursor=lambda: Lines(tokens),
        builder=given.pop("builder", Building()),
        digest=lambda request: request.prompt_tokens,
        settled=given.pop("settled", SettledRows(len(tokens), 100)),
    )
    return Feeder(rows=rows, store=blocks, **given)


def chunks(one: Feeder) -> list[list[int]]:
    """The rows of every chunk."""
    found = []
    while chunk := one.batch():
        found.append([fed.request.row for fed in chunk])
    return found


def test_rows_come_in_input_order_and_the_last_of_them_longest_first() -> None:
    tokens = [10 * n for n in range(20)]
    *before, last = chunks(feeder(tokens))
    assert before == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert last == [19, 18, 17, 16, 15, 14, 13, 12]


def test_rows_that_begin_alike_are_found_among_many_and_the_first_batch_is_soon_there() -> None:
    class Alternating(Building):
        def build(self, raw: Raw) -> Request:
            messages = [{"role": "user", "content": "xy"[raw.row % 2] * 2000}]
            return msgspec.structs.replace(super().build(raw), messages=messages)

    options = {"builder": Alternating(), "near": PrefixOrder(lead=0), "last_requests": 0}
    assert chunks(feeder([1] * 12, **options)) == [[0, 2, 1, 3], [4, 6, 8, 10, 5, 7, 9, 11]]


def test_a_small_input_comes_longest_first_and_equals_in_input_order() -> None:
    assert chunks(feeder([5, 9, 5, 7, 9])) == [[1, 4, 3, 0, 2]]


def test_the_answer_that_is_allowed_counts_as_well_as_the_prompt() -> None:
    class Allowing(Building):
        def build(self, raw: Raw) -> Request:
            request = super().build(raw)
            request.params["max_tokens"] = 1000 - 100 * raw.row
            return request

    assert chunks(feeder([1, 50, 3], builder=Allowing())) == [[0, 1, 2]]


def test_prompts_too_long_to_be_held_together_stay_in_input_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TOKENS_MOST", 100)
    assert chunks(feeder([10, 20, 30, 40, 50, 60, 1])) == [[0, 1, 2, 3], [4, 5], [6]]


def test_the_longest_of_all_come_first_where_the_file_can_be_read_anywhere() -> None:
    tokens = [50, 1, 1, 1, 1, 70, *range(2, 16)]
    head, *before, last = chunks(feeder(tokens, first_requests=2))
    assert head == [5, 0]
    assert before == [[1, 2, 3, 4], [6, 7, 8, 9], [10, 11, 12, 13]]
    assert last == [19, 18, 17, 16, 15, 14]


def test_of_the_longest_only_those_come_first_that_can_be_held_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TOKENS_MOST", 100)
    tokens = [1] * 18 + [60, 50, 40, 30]
    assert chunks(feeder(tokens, first_requests=4))[0] == [18]


def test_a_few_rows_are_ordered_at_once_without_a_look_at_the_longest() -> None:
    assert chunks(feeder([1, 2, 3], first_requests=2)) == [[2, 1, 0]]


@pytest.mark.parametrize("first_requests", [0, 1, 3, 40])
@pytest.mark.parametrize("rows", [1, 9, 10, 11, 50])
def test_every_row_comes_once_whatever_the_order(rows: int, first_requests: int) -> None:
    tokens = [(n * 7919) % 97 for n in range(rows)]
    taken = [
        row for chunk in chunks(feeder(tokens, first_requests=first_requests)) for row in chunk
    ]
    assert sorted(taken) == list(range(rows))


def test_each_lane_gets_its_own_rows() -> None:
    tokens = [1, 9000, 2, 9001, 3]
    assert chunks(feeder(tokens, takes=lambda n: n > 8192)) == [[3, 1]]
    assert chunks(feeder(tokens, takes=lambda n: n <= 8192)) == [[4, 2, 0]]


def test_a_model_without_rows_has_none() -> None:
    assert chunks(feeder([1, 2], model="n")) == []


def test_settled_rows_are_left_out_and_what_was_spent_comes_along() -> None:
    settled = SettledRows(4, 100)
    settled.add(1)
    prior = {2: Prior(attempts=3)}
    (chunk,) = [feeder([1, 1, 1, 1], settled=settled, prior=prior).batch()]
    assert [(fed.request.row, fed.prior) for fed in chunk] == [(0, None), (2, prior[2]), (3, None)]


def test_the_last_row_and_the_dearest_attempt_so_far_are_known() -> None:
    twice = {"m": lambda r: r.prompt_tokens, "n": lambda r: 2 * r.prompt_tokens}
    one = feeder([10 * n for n in range(20)], bounds=twice)
    one.batch()
    assert (one.last_row, one.bounds) == (3, {"m": 30, "n": 60})
    chunks(one)
    assert (one.last_row, one.bounds) == (19, {"m": 190, "n": 380})
