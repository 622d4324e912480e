"""CSV cells that a spreadsheet would run, and those that it would not."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.writers import To, writer_of


def cells(*values: Any, defuse: bool, name: str = "a") -> list[str]:
    """The head and the cells of a column, read back."""
    batch = pa.RecordBatch.from_arrays([pa.array(values)], names=[name])
    out = io.BytesIO()
    assert writer_of(To.CSV, defuse=defuse)(iter([batch]), batch.schema, out) == len(values)
    rows = csv.reader(io.StringIO(out.getvalue().decode(), newline=""))
    return [cell for row in rows for cell in row or [""]]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_no_text_begins_as_a_formula(text: str) -> None:
    assert cells(text, defuse=True) == ["a", f"'{text}"]
    assert cells(text, defuse=False) == ["a", text]
    assert cells("x", defuse=True, name=text) == [f"'{text}", "x"]


@pytest.mark.parametrize("text", ["", "x", " =1", "1-1", "'=1", "答案"])
def test_what_is_no_formula_stays(text: str) -> None:
    assert cells(text, "z", defuse=True) == ["a", text, "z"]


@pytest.mark.parametrize("value", [-1, -1.5, Decimal("-1.25")])
def test_a_number_is_no_formula(value: float | Decimal) -> None:
    assert cells(value, defuse=True) == ["a", str(value)]


def test_money_is_text_that_is_no_formula() -> None:
    assert cells(Decimal("0.000000000001"), defuse=True) == ["a", "0.000000000001"]


@given(st.lists(st.text(), min_size=1))
def test_defused_text_is_the_text_behind_an_apostrophe(texts: list[str]) -> None:
    plain = [text.encode("utf-8", "replace").decode() for text in texts]
    found = cells(*plain, "end", defuse=True)[1:-1]
    assert [one.removeprefix("'") for one in found] == [one.removeprefix("'") for one in plain]
    assert not any(one.startswith(("=", "+", "-", "@", "\t", "\r")) for one in found)
