"""Whatever a text holds, its chunks are the text, and none is larger than asked."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from batchkit.splitting import By, Span, split_rows, split_text
from batchkit.tokens import estimate

WORDS = st.sampled_from(
    ["a", "word", "Mr.", "e.g.", "其", "中文句子", "3.14", "x" * 60, "字" * 30, "\U0001f600"]
)
ENDS = st.sampled_from(
    [" ", ". ", "! ", '." ', "。", "！”", "…", "\n", "\n\n", "\r\n \r\n", "\u3000"]
)
PROSE = st.lists(WORDS | ENDS, max_size=80).map("".join)
LINES = st.lists(
    st.sampled_from(["# A\n", "  Section 2 B\n", "第三章\n", "text\n", "\n"]), max_size=30
)
TEXTS = PROSE | LINES.map("".join) | st.text(max_size=200)
SIZES = st.integers(1, 30)


@given(TEXTS, st.sampled_from(By), SIZES)
@example("." * 3000, By.SENTENCE, 5)
@example("\n" * 3000, By.PARAGRAPH, 5)
@example(" " * 3000 + "x", By.HEADING, 1)
@example("aaaaaa \r\n \r\n", By.HEADING, 1)
@example("a\n" + " " * 16 + "1.1 Bbbbbb", By.HEADING, 1)
def test_the_chunks_joined_are_the_text_and_each_fits(text: str, by: By, size: int) -> None:
    spans = split_text(text, by, size)
    assert "".join(text[span.start : span.end] for span in spans) == text
    assert all(estimate(text[span.start : span.end].strip()) <= size for span in spans)
    assert len(spans) == 1 or all(text[span.start : span.end].strip() for span in spans)


@given(
    TEXTS,
    st.sampled_from(By),
    SIZES.flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))),
)
def test_an_overlap_repeats_the_end_of_the_chunk_before(
    text: str, by: By, sizes: tuple[int, int]
) -> None:
    size, overlap = sizes
    spans = split_text(text, by, size, overlap)
    assert "".join(text[span.start : span.end] for span in spans) == text
    before = Span(0, 0, 0)
    for span in spans:
        assert before.start <= span.lead <= span.start == before.end
        assert estimate(text[span.lead : span.start]) <= overlap
        assert estimate(text[span.lead : span.end].strip()) <= size
        before = span


@given(st.lists(TEXTS, min_size=1, max_size=12), st.sampled_from(By), SIZES, st.integers(0, 5))
def test_the_pieces_of_a_group_are_its_rows_in_order(
    texts: list[str], by: By, size: int, overlap: int
) -> None:
    chunks = split_rows(texts, by, size + overlap, overlap)
    new = [
        chunks[0],
        *([p for p in after if p not in before] for before, after in pairwise(chunks)),
    ]
    seen = [piece for chunk in new for piece in chunk]
    rows = [""] * len(texts)
    for piece in seen:
        rows[piece.row] += texts[piece.row][piece.start : piece.end]
    assert rows == texts
    assert [piece.row for piece in seen] == sorted(piece.row for piece in seen)
    assert all(new)
