"""Numbers, durations and untrusted texts as a reader sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.report.words import duration, number, plain


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.00123, "0.00123 s"),
        (0.83, "0.83 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (245.0, "4 min 5 s"),
        (7200.0, "2 h"),
        (7830.0, "2 h 10 min"),
        (86_400.0 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (1234567, "1,234,567"), (12.34567, "12.3"), (0.012345, "0.0123"), (1234.5, "1,234")],
)
def test_numbers(value: float, words: str) -> None:
    assert number(value) == words


@given(st.text(st.characters(codec=None)))
def test_no_text_acts_or_breaks_the_file(text: str) -> None:
    shown = plain(text)
    assert shown.encode("utf-8").decode("utf-8") == shown
    acting = {*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F),
              *range(0x2066, 0x206A)}  # fmt: skip
    assert not acting & set(map(ord, shown))


def test_acting_characters_are_spelled_out_and_others_kept() -> None:
    assert (
        plain("a\x00b\u202ec\td\r\ne 中 👩‍🚀 \ud83d") == "a[U+0000]b[U+202E]c\td\ne 中 👩‍🚀 \ufffd"
    )
