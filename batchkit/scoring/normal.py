"""What two written forms have in common: labels, text, amounts and dates in one form each.

Nothing is guessed by similarity: forms are equal or they are not.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from batchkit.job import DateOrder
from batchkit.normal import normal

_CACHED = 1 << 16  # gold values and labels come again and again


label_form = lru_cache(_CACHED)(normal)  # also the form in which `[labels]` knows labels


_BESIDE_PUNCTUATION = re.compile(r"\s*([^\w\s])\s*")


def text_form(text: str) -> str:
    """A text without differences of case and width, of white space, and beside punctuation any."""
    return _BESIDE_PUNCTUATION.sub(r"\1", label_form(text))


_AMOUNT = re.compile(r"[-+]?\d[\d.,' ]*|[-+]?[.,]\d+")
_NEGATIVE = re.compile(r"^\(.*\)$|^-|-$")


def amount_form(value: Any) -> Decimal | None:
    """The number in an amount; None if there is not exactly one.

    Currency signs, codes and words are left out; a minus sign anywhere outside the digits and
    parentheses around it make it negative. Of two kinds of separators the last is the decimal one;
    one alone is it unless three digits follow each.
    """
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _decimal(str(value))
    if not isinstance(value, str):
        return None
    text = unicodedata.normalize("NFKC", value).replace("−", "-").strip()
    found = _AMOUNT.findall(text)
    if len(found) != 1:
        return None
    digits = _decimal(_plain_digits(found[0].lstrip("+-").strip(" ',")))
    is_negative = found[0].startswith("-") or _NEGATIVE.search(text) is not None
    return None if digits is None else -digits if is_negative and digits else digits


def _plain_digits(text: str) -> str:
    text = text.rstrip(".").replace(" ", "").replace("'", "")
    marks = [character for character in text if character in ".,"]
    if not marks:
        return text
    last = marks[-1]
    whole, _, rest = text.rpartition(last)
    one_kind = len(set(marks)) == 1
    if one_kind and (len(marks) > 1 or (last == "," and len(rest) == 3)):
        return text.replace(last, "")
    return f"{whole.replace(',', '').replace('.', '')}.{rest}"


def _decimal(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


_MONTHS_SPELT = """
january february march april may june july august september october november december
"""
_MONTHS = {
    form: number
    for number, name in enumerate(_MONTHS_SPELT.split(), start=1)
    for form in {name, name[:3], name[:4] if name == "september" else name}
}
_DATE_PART = re.compile(r"\d+|[a-z]+")
_WEEKDAY = re.compile(r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?")
_ORDINAL = frozenset({"st", "nd", "rd", "th", "of"})
_CLOCK = re.compile(r"(?:(?<=\d)t|\s+)\d{1,2}:\d{2}.*$", re.DOTALL)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")


def date_form(value: Any, order: DateOrder = DateOrder.DMY) -> date | None:
    """The day that a date or a text names; None if it names none. A time of day is left out.

    A year of two digits is between 1969 and 2068 (POSIX, `strptime`, `%y`).
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if not isinstance(value, str):
        return None
    text = _CLOCK.sub("", unicodedata.normalize("NFKC", value).strip().lower())
    if compact := _COMPACT.fullmatch(text):
        return _day(*map(int, compact.groups()))
    parts = [
        part
        for part in _DATE_PART.findall(text)
        if part not in _ORDINAL and not _WEEKDAY.fullmatch(part)
    ]
    return _of_parts(parts, order) if len(parts) == 3 else None


def _of_parts(parts: list[str], order: DateOrder) -> date | None:
    named = [at for at, part in enumerate(parts) if part in _MONTHS]
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(named) + len(numbers) != 3 or len(named) > 1:
        return None
    if named:
        month = _MONTHS[parts[named[0]]]
        rest = [part for part in parts if part.isdecimal()]
        year, day = rest if len(rest[0]) == 4 else reversed(rest)
        return _day(_year(year), month, int(day))
    if len(parts[0]) == 4:
        return _day(*numbers)
    first, second, _ = numbers
    day_of, month_of = (first, second) if order is DateOrder.DMY else (second, first)
    return _day(_year(parts[2]), month_of, day_of)


def _year(text: str) -> int:
    year = int(text)
    return year if len(text) > 2 else year + (1900 if year >= 69 else 2000)


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except (ValueError, OverflowError):
        return None
