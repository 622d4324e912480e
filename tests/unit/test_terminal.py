"""Text for a terminal is laid out by its width and cannot act on it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.terminal import aligned, console_on, headline, plain, readable, side_by_side


@given(st.text())
def test_readable_text_has_line_ends_and_printable_characters_alone(text: str) -> None:
    assert all(one == "\n" or one.isprintable() for one in readable(text))


@pytest.mark.parametrize(
    ("text", "lines", "characters", "shown"),
    [
        ("a\nb", None, None, "a\nb"),
        ("a\nb", 2, 3, "a\nb"),
        ("a\nb\nc", 2, None, "a\nb… (5 characters)"),
        ("abcdef", None, 5, "abcde… (6 characters)"),
        ("a\r\nb\tc", None, None, "a\nb   c"),
        ("红\x1b[31m", None, None, "红�[31m"),
    ],
)
def test_long_text_is_cut_and_says_so(
    text: str, lines: int | None, characters: int | None, shown: str
) -> None:
    assert readable(text, lines=lines, characters=characters) == shown


def printed(*what: object) -> list[str]:
    stream = io.StringIO()
    console = console_on(stream)
    for one in what:
        console.print(one)
    return stream.getvalue().splitlines()


def test_columns_stand_where_wide_characters_put_them() -> None:
    title, *lines = printed(side_by_side([("prompt", "论文题目" * 20), ("answer", "工学")]))
    at = title.index("answer")
    assert lines[0].index("工学") + lines[0][:at].count("论") * 4 >= at
    assert "".join(line.split("工学")[0].strip() for line in lines) == "论文题目" * 20


def test_what_looks_like_markup_is_text() -> None:
    assert printed(plain("[red]x[/red] :smile:")) == ["[red]x[/red] :smile:"]
    assert printed(headline("[b]row[/b]"))[0].startswith("[b]row[/b] ──")


def test_a_table_is_aligned_by_the_width_of_its_characters() -> None:
    rows = [("label", "gold"), ("工学", "438"), ("x", "1,000")]
    assert aligned(rows).splitlines() == ["label   gold", "工学     438", "x      1,000"]
    assert aligned([("a", "b"), ("aa", "bbb")], left=2).splitlines() == ["a   b", "aa  bbb"]
