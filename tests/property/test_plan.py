"""The plan finds exactly the ids that occur twice, and gives back what it was given."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.plan import BLOCK_ROWS, Entry, PlanWriter, RepeatedIds, read_entries, read_id_digests
from batchkit.records import Request
from tests.fakes import Blocks

WORD = st.integers(0, 2**64 - 1)
# Few buckets and few ids, so that both kinds of company occur.
CROWDED = st.builds(lambda high, low: high << 32 | low, st.integers(0, 3), st.integers(0, 5))
Row = tuple[int, int, int, int, int]  # both digests, the offset, tokens, the model
ROWS = st.none() | st.tuples(WORD, WORD, WORD, st.integers(0, 2**32 - 1), st.integers(0, 2))
NEAR_A_BORDER = [BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1]


@given(st.lists(CROWDED | WORD, max_size=60), st.integers(0, 10_000))
def test_exactly_the_repeated_ids_are_found(digests: list[int], input_bytes: int) -> None:
    repeated = RepeatedIds(input_bytes)
    for digest in digests:
        repeated.add(digest)
    found = repeated.rows(digests)
    twice = {digest for digest, count in Counter(digests).items() if count > 1}
    assert found == {
        digest: [row for row, other in enumerate(digests) if other == digest] for digest in twice
    }


@settings(max_examples=15)
@given(st.lists(ROWS, min_size=1, max_size=5), st.sampled_from([1, 7, *NEAR_A_BORDER]), st.data())
def test_any_plan_comes_back_from_any_row_on(
    pattern: list[Row | None], rows: int, draw: st.DataObject
) -> None:
    store = Blocks()
    given_rows = [pattern[row % len(pattern)] for row in range(rows)]
    digests = {row: (one[0], one[1]) for row, one in enumerate(given_rows) if one}
    writer = PlanWriter(store, digests=lambda request: digests[request.row])
    for row, one in enumerate(given_rows):
        if one:
            writer.add(Request(row, "", "abc"[one[4]], [], {}, one[3]), one[2])
        else:
            writer.add_invalid(0)
    writer.finish()
    names = {name: number for number, name in enumerate(writer.models)}
    expected = [
        Entry(*one[:4], names["abc"[one[4]]], 1) if one else Entry(0, 0, 0, 0, 0, 0)
        for one in given_rows
    ]
    start = draw.draw(st.integers(0, rows))
    assert list(read_entries(store, rows, start)) == expected[start:]
    assert list(read_id_digests(store, rows)) == [one.id_digest for one in expected]
    assert sum(share.rows for share in writer.shares) + writer.invalid == rows
    assert sum(share.prompt_tokens for share in writer.shares) == sum(e[3] for e in expected)
