"""Which numbers a text holds, as far as two languages agree on how they are written.

A number is known by its significant digits: 1,234,000, 1.234 million, 123.4万 and 一百二十三万四千
have the same, 1234, whatever the separators and units. Digits of other scripts and widths count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal

_DIGITS = {c: n for n, run in enumerate(
    ("零〇○", "一壹", "二两兩贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖")
) for c in run}  # fmt: skip
_SMALL = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000, "백": 100, "천": 1000}
_LARGE = {
    **dict.fromkeys("万萬만", 10**4),
    **dict.fromkeys("亿億억", 10**8),
    **dict.fromkeys("兆조", 10**12),
}
_HAN = "".join([*_DIGITS, *_SMALL, *_LARGE])

_SEPARATED = r"\d+(?:[.,'’·\u00a0\u2009\u202f]\d+)*"  # 1,234.5 and 1'234 and 12.34.56
_SPACED = r"\d{1,3}(?: \d{3})+(?!\d)"  # 1 234 567
WRITTEN = re.compile(rf"{_SPACED}|{_SEPARATED}", re.ASCII)
_MIXED = re.compile(rf"(?:\d[\d,]*(?:\.\d+)?|[{_HAN}]|(?<=[{_HAN}\d])[点點](?=[{_HAN}\d]))+")
_PIECE = re.compile(
    rf"(?P<number>\d[\d,]*(?:\.\d+)?)|(?P<digits>[{''.join(_DIGITS)}]+)|(?P<unit>.)"
)
_UNITS = "".join([*_SMALL, *_LARGE])
_SPACE_IN_NUMBER = re.compile(rf"(?<=\d)\s+(?=[{_UNITS}])|(?<=\d[{_UNITS}])\s+(?=\d)")


def plain(text: str) -> str:
    """`text` with every decimal digit an ASCII one, and full-width punctuation half as wide."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() else _ascii(c) for c in text)


def significant(written: str) -> str:
    """The digits of a written number without the zeros at both ends."""
    return "".join(filter(str.isdigit, written)).strip("0")


def pieces(written: str) -> list[str]:
    """The significant digits of each run of digits: a list may look like one number."""
    return [run.strip("0") for run in re.findall(r"\d+", written)]


def numbers_in(text: str) -> set[str]:
    """The significant digits of every number in `text`, in every way that it can be read."""
    text = _SPACE_IN_NUMBER.sub("", plain(text))
    found: set[str] = set()
    for match in WRITTEN.finditer(text):
        found.add(significant(match[0]))
        found.update(pieces(match[0]))
    for match in _MIXED.finditer(text):
        found.update(_readings(match[0]))
    return found


def _readings(run: str) -> Iterator[str]:
    whole, _, fraction = run.replace("點", "点").partition("点")
    if fraction and all(c in _DIGITS for c in fraction.rstrip("".join(_LARGE))):
        digits = "".join(str(_DIGITS[c]) for c in fraction if c in _DIGITS)
        yield (_value(whole) + digits).strip("0")
        return
    for part in run.replace("點", "点").split("点"):
        yield _value(part).strip("0")


def _value(run: str) -> str:
    """The digits of a number in Chinese, or mixed: 一亿二千万, 123万4567, 二〇一八."""
    total = section = Decimal(0)
    number: Decimal | None = None
    for match in _PIECE.finditer(run):
        if match["number"] is not None:
            number = Decimal(match["number"].replace(",", ""))
        elif match["digits"] is not None:
            number = Decimal("".join(str(_DIGITS[c]) for c in match["digits"]))
        elif match["unit"] in _SMALL:
            section += (Decimal(1) if number is None else number) * _SMALL[match["unit"]]
            number = None
        elif match["unit"] in _LARGE:
            unit = _LARGE[match["unit"]]
            section += number or 0
            total = total + section * unit if total >= unit else (total + section) * unit
            section, number = Decimal(0), None
    return "".join(filter(str.isdigit, f"{total + section + (number or 0):f}"))


def _ascii(char: str) -> str:
    if "\uff01" <= char <= "\uff5e":
        return chr(ord(char) - 0xFEE0)
    return str(unicodedata.decimal(char)) if char.isdecimal() else char
