"""Where a text is cut: the coarsest boundary that the size allows, in English and in Chinese."""

from __future__ import annotations

import pytest

from batchkit.splitting import By, Piece, split_rows, split_text


def chunks(text: str, by: By, size: int, overlap: int = 0) -> list[str]:
    return [text[span.lead : span.end] for span in split_text(text, by, size, overlap)]


def test_a_text_that_fits_is_not_cut() -> None:
    assert chunks("One.\n\nTwo.", By.PARAGRAPH, 10) == ["One.\n\nTwo."]


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_text_is_one_chunk(text: str) -> None:
    assert chunks(text, By.SENTENCE, 1) == [text]


def test_paragraphs_fill_a_chunk_up_to_its_size() -> None:
    text = "aaaa bbbb cccc.\n\ndddd eeee.\n\nffff gggg hhhh iiii.\n\njjjj."
    assert chunks(text, By.PARAGRAPH, 9) == [
        "aaaa bbbb cccc.\n\ndddd eeee.\n\n",
        "ffff gggg hhhh iiii.\n\njjjj.",
    ]


def test_a_heading_begins_a_chunk() -> None:
    text = "Intro.\n# One\naaaa bbbb\n\ncccc\n## Two\ndddd eeee\nSection 3 Three\nffff gggg hhhh\n"
    assert chunks(text, By.HEADING, 11) == [
        "Intro.\n# One\naaaa bbbb\n\ncccc\n",
        "## Two\ndddd eeee\n",
        "Section 3 Three\nffff gggg hhhh\n",
    ]


@pytest.mark.parametrize(
    ("line", "is_heading"),
    [
        ("# Title", True),
        ("ARTICLE IV", True),
        ("Section 2.1 Term", True),
        ("12.3 Governing Law", True),
        ("1. Definitions", True),
        ("     1.1  Exclusivity", True),
        ("第十二条 违约责任", True),
        ("第 3 章", True),
        ("#hashtag", False),
        ("Section heads met.", False),
        ("1.5 million people", False),
        ("第一次见面", False),
    ],
)
def test_headings_are_those_of_markdown_reports_and_contracts(
    line: str, *, is_heading: bool
) -> None:
    before = "aaaa bbbb cccc dddd.\n"
    first, *_ = chunks(f"{before}{line}\n{'x ' * 40}", By.HEADING, 20)
    assert (first.rstrip() == before.rstrip()) is is_heading


def test_a_paragraph_longer_than_a_chunk_is_cut_at_sentences() -> None:
    text = "Short.\n\nOne sentence is here. Another is here! 第三句在这里。第四句。\n\nEnd."
    assert chunks(text, By.PARAGRAPH, 8) == [
        "Short.\n\n",
        "One sentence is here. ",
        "Another is here! ",
        "第三句在这里。",
        "第四句。\n\nEnd.",
    ]


def test_a_sentence_longer_than_a_chunk_is_cut_at_words_and_a_word_at_characters() -> None:
    assert chunks("one two three four", By.SENTENCE, 3) == ["one two ", "three four"]
    assert chunks("x" * 25, By.SENTENCE, 3) == ["x" * 10, "x" * 10, "x" * 5]
    assert chunks("长" * 8, By.SENTENCE, 4) == ["长" * 5, "长" * 3]


def test_a_chinese_sentence_ends_at_its_mark_with_the_quotes_behind_it() -> None:
    text = "他说：“走吧！”她问：“去哪？”没人回答。"
    assert chunks(text, By.SENTENCE, 7) == ["他说：“走吧！”", "她问：“去哪？”", "没人回答。"]


def test_an_abbreviation_or_a_number_ends_no_sentence() -> None:
    text = "Mr. A. Smith paid 3.50 to Acme Inc. of the U.S. today. He left."
    assert (
        chunks(text, By.SENTENCE, 17)[0]
        == "Mr. A. Smith paid 3.50 to Acme Inc. of the U.S. today. "
    )


def test_an_overlap_begins_at_a_word() -> None:
    text = "alpha beta gamma. delta epsilon zeta. eta theta iota."
    assert chunks(text, By.SENTENCE, 11, 5) == [
        "alpha beta gamma. ",
        "beta gamma. delta epsilon zeta. ",
        "epsilon zeta. eta theta iota.",
    ]


def test_rows_of_a_group_are_packed_and_only_a_long_one_is_cut() -> None:
    texts = ["aaaa bbbb", "cccc dddd", "One is long. Two is long too. Three.", "", "eeee"]
    assert split_rows(texts, By.PARAGRAPH, 15) == [
        [Piece(0, 0, 9), Piece(1, 0, 9)],
        [Piece(2, 0, 36)],
        [Piece(3, 0, 0), Piece(4, 0, 4)],
    ]
    assert split_rows(texts, By.PARAGRAPH, 10)[2:5] == [
        [Piece(2, 0, 13)],
        [Piece(2, 13, 30)],
        [Piece(2, 30, 36), Piece(3, 0, 0)],
    ]


def test_a_group_that_fits_is_one_chunk() -> None:
    assert split_rows(["a", "b"], By.PARAGRAPH, 100) == [[Piece(0, 0, 1), Piece(1, 0, 1)]]


def test_a_chunk_of_rows_repeats_whole_rows() -> None:
    assert split_rows(["aaaa", "bbbb", "cccc"], By.PARAGRAPH, 13, 6) == [
        [Piece(0, 0, 4)],
        [Piece(0, 0, 4), Piece(1, 0, 4)],
        [Piece(1, 0, 4), Piece(2, 0, 4)],
    ]
