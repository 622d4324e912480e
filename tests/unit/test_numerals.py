"""Numbers as two languages write them have the same significant digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.numerals import numbers_in, significant

MILLIONS = [
    "1,234,000",
    "1.234.000",
    "1'234'000",
    "1 234 000",
    "1\u202f234\u202f000",
    "1.234 million",
    "123.4万",
    "123.4 萬",
    "123万4000",
    "123만 4,000",
    "一百二十三万四千",
    "１２３４０００",
    "١٢٣٤٠٠٠",
    "0.1234千万",
]


@pytest.mark.parametrize("text", MILLIONS)
def test_separators_units_widths_and_scripts_do_not_count(text: str) -> None:
    assert "1234" in numbers_in(f"约 {text} 人")


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("二〇一八年", "2018"),
        ("2018年12月25日", "2018"),
        ("百分之三十七点五", "375"),
        ("三点二十五分", "25"),
        ("十亿零五百万", "1005"),
        ("12亿3400万", "1234"),
        ("一点二三四亿", "1234"),
        ("一万二千三百亿", "123"),
        ("两百五十六", "256"),
        ("1억 4천 2백만", "142"),
        ("100、200、3001", "3001"),
        ("3.14%", "314"),
    ],
)
def test_numbers_in_chinese_and_mixed_forms_are_read(text: str, digits: str) -> None:
    assert digits in numbers_in(text)


def test_what_is_no_number_has_no_digits() -> None:
    assert numbers_in("万一，千万不要 … no digits, 点") <= {"", "1"}


@pytest.mark.parametrize("count", [2_000_000])
def test_a_text_of_2_mb_is_read_in_time_that_grows_with_its_length(count: int) -> None:
    for part in ("1", "1,", "一", "万", "1 ", "点一"):
        assert numbers_in(part * (count // len(part) // 40)) is not None


@given(st.integers(1, 10**15))
def test_an_integer_is_found_however_it_is_grouped(number: int) -> None:
    digits = significant(str(number))
    myriad, rest = divmod(number, 10**4)
    for text in (f"{number}", f"{number:,}", f"{number:_}".replace("_", "."), f"{myriad}万{rest}"):
        assert digits in numbers_in(f"共{text}元")
