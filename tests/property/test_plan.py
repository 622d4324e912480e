"""The plan finds exactly the ids that occur twice, and gives back what it was given."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from batchkit.plan import BLOCK_ROWS, Entry, RepeatedIds, read_entries
from tests.unit.test_plan import Blocks

WORD = st.integers(0, 2**64 - 1)
# Few buckets and few ids, so that both kinds of company occur.
CROWDED = st.builds(lambda high, low: high << 32 | low, st.integers(0, 3), st.integers(0, 5))
ENTRIES = st.builds(
    Entry, WORD, WORD, WORD, st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), st.integers(0, 1)
)


@given(st.lists(CROWDED | WORD, max_size=60), st.integers(0, 10_000))
def test_exactly_the_repeated_ids_are_found(digests: list[int], input_bytes: int) -> None:
    repeated = RepeatedIds(input_bytes)
    for digest in digests:
        repeated.add(digest)
    found = repeated.rows(Entry(digest, 0, 0, 0, 0, 0) for digest in digests)
    twice = {digest for digest, count in Counter(digests).items() if count > 1}
    assert found == {
        digest: [row for row, other in enumerate(digests) if other == digest] for digest in twice
    }


@given(st.lists(ENTRIES, min_size=1, max_size=5), st.integers(1, BLOCK_ROWS + 3), st.data())
def test_any_entries_come_back_from_any_row_on(
    pattern: list[Entry], rows: int, draw: st.DataObject
) -> None:
    entries = [pattern[row % len(pattern)] for row in range(rows)]
    store = Blocks()
    for number in range(-(-rows // BLOCK_ROWS)):
        block = entries[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
        store.write_blocks([(number, b"".join(_PACK(*entry) for entry in block))])
    start = draw.draw(st.integers(0, rows))
    assert list(read_entries(store, rows, start)) == entries[start:]
