"""Estimates of tokens: a floor, a guess and a ceiling, in that order."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit.tokens import at_least, at_most, estimate, estimate_prompt, texts


@pytest.mark.parametrize(
    ("text", "floor", "guess", "ceiling"),
    [
        ("", 0, 0, 0),
        ("a", 0, 1, 1),
        ("ten chars!", 1, 3, 10),
        ("x" * 80, 10, 24, 80),
        ("你好", 1, 2, 6),
        ("你好 world", 1, 4, 12),  # 6 ASCII characters and 2 others
        ("😀", 0, 1, 4),
        ("\ud800", 0, 1, 3),  # half a surrogate pair
    ],
)
def test_floor_guess_and_ceiling_of_a_text(text: str, floor: int, guess: int, ceiling: int) -> None:
    assert (at_least(text), estimate(text), at_most(text)) == (floor, guess, ceiling)


def test_texts_are_contents_parts_and_arguments() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "p"}, {"type": "image_url"}, "x", 5]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}, {"function": 1}, "y"],
        },
        {"role": "assistant", "tool_calls": "z"},
        {"role": "user", "content": {"text": "no"}},
    ]
    assert texts(messages) == ["s", "p", "{}"]


def test_a_chat_costs_the_templates_overhead() -> None:
    """Five tokens around a single message, two for each further one."""
    one = {"role": "user", "content": "a"}
    assert [estimate_prompt([one] * n) for n in (1, 2, 3)] == [6, 9, 12]
