"""Which rows have settled and which parts are complete."""

from __future__ import annotations

import pytest

from batchkit.rows import SettledRows


def test_the_last_row_of_a_part_completes_it() -> None:
    rows = SettledRows(5, 2)
    assert [rows.add(row) for row in (4, 1, 2, 0, 3)] == [2, None, None, 0, 1]
    assert (rows.count, list(rows.missing())) == (5, [])


def test_the_last_part_has_what_is_left() -> None:
    rows = SettledRows(5, 2)
    assert [rows.part(n) for n in range(rows.parts)] == [range(2), range(2, 4), range(4, 5)]


def test_an_input_without_rows_has_no_parts() -> None:
    rows = SettledRows(0, 10)
    assert (rows.parts, rows.count, list(rows.missing())) == (0, 0, [])
    assert rows.has_all(range(0))


def test_the_last_part_of_an_input_that_grows_waits_for_its_last_row() -> None:
    rows = SettledRows(3, 2, is_whole=False)
    assert [rows.add(row) for row in (0, 1, 2)] == [None, 0, None]
    assert rows.grow(5, is_whole=False) is None
    assert [rows.add(row) for row in (3, 4)] == [1, None]
    assert rows.grow(5, is_whole=True) == 2
    assert (rows.count, rows.parts, rows.part(2)) == (5, 3, range(4, 5))


def test_a_row_settles_once() -> None:
    rows = SettledRows(9, 4)
    rows.add(3)
    with pytest.raises(AssertionError, match="row 3 settled twice"):
        rows.add(3)


def test_a_part_with_settled_rows_is_not_added_as_a_whole() -> None:
    rows = SettledRows(9, 4)
    rows.add(5)
    with pytest.raises(AssertionError, match="part 1 has settled rows"):
        rows.add_part(1)


def test_ten_million_rows_fit_in_a_little_over_a_megabyte() -> None:
    rows = SettledRows(10_000_000, 10_000)
    assert len(rows._bits) == 1_250_000
    rows.add_part(999)
    assert rows.has_all(range(9_990_000, 10_000_000))
    assert not rows.has_all(range(9_989_999, 10_000_000))
