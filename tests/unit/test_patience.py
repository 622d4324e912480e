"""How many rows may fail: a number, or a share of all."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit.errors import UsageError
from batchkit.patience import read_most_failed


@pytest.mark.parametrize(
    ("given", "rows", "most"),
    [
        (10, 5, 10),
        ("0", 99, 0),
        ("5%", 1000, 50),
        ("2.5%", 1000, 25),
        ("1%", 99, 0),
        ("100%", 7, 7),
    ],
)
def test_a_number_or_a_share_of_the_rows_may_fail(given: Any, rows: int, most: int) -> None:
    assert read_most_failed(given, "here").of(rows) == most


@pytest.mark.parametrize("given", ["", "-1", "lots", "101%", "-5%", "%", 1.5, True, "1/0%", "nan%"])
def test_anything_else_is_refused_with_its_place(given: Any) -> None:
    words = r"^here: expected a number of rows or a share like 5%, got "
    with pytest.raises(UsageError, match=words):
        read_most_failed(given, "here")
