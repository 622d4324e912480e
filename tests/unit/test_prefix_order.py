"""Requests that begin alike are near each other; none is lost, none waits for a later batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchkit.prefix_order import PrefixOrder
from batchkit.records import Request


def asks(row: int, *texts: str) -> Request:
    messages = [{"role": "user", "content": text} for text in texts]
    return Request(row, f"row-{row}", "m", messages, {}, 1)


def order(*texts: str, lead: int = 0, orderer: PrefixOrder | None = None) -> list[int]:
    """The rows of prompts that begin so, each with a question of its own behind it."""
    rows = [asks(row, text + str(row)) for row, text in enumerate(texts)]
    return [asked.row for asked in (orderer or PrefixOrder(lead)).order(rows)]


A, B, C = ("a" * 2000, "b" * 2000, "c" * 2000)


def test_rows_that_begin_alike_follow_each_other_in_input_order() -> None:
    assert order(A, B, A, C, B, A) == [0, 2, 5, 1, 4, 3]


def test_the_first_of_a_group_goes_ahead_of_the_rest() -> None:
    assert order(A, A, A, A, B, B, B, lead=2) == [0, 1, 4, 2, 3, 5, 6]
    assert order(A, B, A, B, lead=99) == [0, 1, 2, 3]


def test_a_prefix_that_is_in_the_cache_needs_no_first() -> None:
    orderer = PrefixOrder(lead=99)
    assert order(A, A, B, B, orderer=orderer) == [0, 2, 1, 3]
    assert order(A, A, B, B, orderer=orderer) == [0, 1, 2, 3]


def test_the_longest_beginning_counts_that_rows_share() -> None:
    shared = "s" * 3000
    assert order(shared + A, shared + B, shared + A, shared + B, A) == [0, 2, 1, 3, 4]


def test_what_is_too_short_to_be_cached_stays_where_it_is() -> None:
    assert order("a" * 1000, "b" * 1000, "a" * 1000) == [0, 1, 2]


def test_a_system_message_and_what_follows_are_one_beginning() -> None:
    rows = [asks(row, "s" * 700, name * 700) for row, name in enumerate("xyxy")]
    assert [asked.row for asked in PrefixOrder(0).order(rows)] == [0, 2, 1, 3]


@given(
    batches=st.lists(st.lists(st.sampled_from([A, B, C, A + B, "short"]), max_size=20), max_size=3),
    lead=st.integers(0, 30),
)
def test_every_batch_comes_back_whole_and_each_kind_in_input_order(
    batches: list[list[str]], lead: int
) -> None:
    orderer, again = PrefixOrder(lead), PrefixOrder(lead)
    for texts in batches:
        found = order(*texts, orderer=orderer)
        assert found == order(*texts, orderer=again)
        assert sorted(found) == list(range(len(texts)))
        for kind in set(texts):
            rows = [row for row in found if texts[row] == kind]
            assert rows == sorted(rows)
