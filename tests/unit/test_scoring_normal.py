"""Common forms: what is the same written differently, and what is not the same."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.job import DateOrder
from batchkit.scoring.normal import amount_form, date_form, label_form, text_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Card Arrival", " card\u3000 arrival\n"),
        ("ＡＢＣ１", "abc1"),
        ("Straße", "STRASSE"),
        ("ﾃﾞｰﾀ", "データ"),
    ],
)
def test_labels_are_equal_but_for_case_width_and_space(one: str, other: str) -> None:
    assert label_form(one) == label_form(other)


@pytest.mark.parametrize(
    ("one", "other"), [("工学", "理学"), ("card arrival", "card_arrival"), ("工学", "工学。")]
)
def test_labels_are_not_equal_by_similarity(one: str, other: str) -> None:
    assert label_form(one) != label_form(other)


def test_space_beside_punctuation_makes_no_other_text() -> None:
    assert text_form("12, JALAN TAMPOI 7/4 ,Johor") == text_form("12,Jalan  Tampoi 7 / 4, JOHOR")
    assert text_form("Jalan Tampoi") != text_form("JalanTampoi")


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("$8.20", "8.20"),
        ("RM 1,234.50", "1234.50"),
        ("1.234,56 €", "1234.56"),
        ("1,234", "1234"),
        ("1,234,567", "1234567"),
        ("1.234.567", "1234567"),
        ("12,5", "12.5"),
        ("1'000'000 CHF", "1000000"),
        ("1 000", "1000"),
        ("(45.00)", "-45.00"),
        ("45.00-", "-45.00"),
        ("-3", "-3"),
        ("−3", "-3"),
        ("￥１２３", "123"),
        (".5", "0.5"),
        ("9.", "9"),
        (8.2, "8.2"),
        (7, "7"),
    ],
)
def test_an_amount_is_read_in_many_forms(written: str | float, amount: str) -> None:
    assert amount_form(written) == Decimal(amount)


@pytest.mark.parametrize(
    "written", ["", "free", "12 of 30", "2018-04-02", True, None, float("nan"), float("inf"), "-"]
)
def test_what_is_not_one_amount_is_none(written: object) -> None:
    assert amount_form(written) is None


@pytest.mark.parametrize(
    "written",
    [
        "2018-04-02",
        "2018-04-02T10:00:00Z",
        "2018/4/2",
        "20180402",
        "2018年4月2日",
        "02 APR 2018",
        "2-Apr-18",
        "2 April 2018 18:31",
        "Monday, April 2nd, 2018",
        "02/04/2018",
        "2.4.18",
        "２０１８－０４－０２",
        date(2018, 4, 2),
        datetime(2018, 4, 2, 23, 59, tzinfo=UTC),
    ],
)
def test_a_day_is_read_in_many_forms(written: object) -> None:
    assert date_form(written) == date(2018, 4, 2)


def test_the_order_of_day_and_month_is_told() -> None:
    assert date_form("02/04/2018", DateOrder.MDY) == date(2018, 2, 4)
    assert date_form("2018-04-02", DateOrder.MDY) == date(2018, 4, 2)


@pytest.mark.parametrize(
    "written", ["", "31/02/2018", "13/13/2018", "April 2018", "2018", "1/2/3/4", "Apr May 2018", 7]
)
def test_what_is_no_day_is_none(written: object) -> None:
    assert date_form(written) is None


def test_two_digit_years_are_those_of_posix() -> None:
    assert [date_form(f"1/1/{year}") for year in ("68", "69", "00")] == [
        date(2068, 1, 1),
        date(1969, 1, 1),
        date(2000, 1, 1),
    ]


@given(st.dates(min_value=date(1000, 1, 1)))
def test_a_day_comes_back_from_each_of_its_forms(day: date) -> None:
    forms = (day.isoformat(), f"{day:%d/%m/%Y}", f"{day:%d %B %Y}", f"{day:%b %d, %Y}")
    assert {date_form(form) for form in forms} == {day}


@given(st.text())
def test_no_text_is_too_strange_for_a_form(text: str) -> None:
    assert text_form(f" {text} ") == text_form(text)
    assert isinstance(amount_form(text), Decimal | None)
    assert isinstance(date_form(text), date | None)
