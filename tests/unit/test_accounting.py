"""Money in whole units: what an answer costs, and how an amount is written."""

from __future__ import annotations

from decimal import Decimal

import pytest

from batchkit.accounting import PICO, Rates, from_decimal, to_decimal, to_text
from batchkit.models import Price
from batchkit.records import Usage


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (125 * PICO // 10_000, "0.0125"),
        (100 * PICO, "100"),
        (PICO + 5 * PICO // 10, "1.5"),
        (10**33 + 1, "1000000000000000000000.000000000001"),  # more digits than a Decimal's default
    ],
)
def test_an_amount_is_written_in_full_and_no_longer_than_needed(amount: int, text: str) -> None:
    assert to_text(amount) == text
    assert from_decimal(Decimal(text)) == amount


def test_a_decimal_amount_has_twelve_places() -> None:
    assert str(to_decimal(65_000_000)) == "0.000065000000"


def test_an_amount_below_the_unit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.0000000000001 has more than twelve decimals"):
        from_decimal(Decimal("0.0000000000001"))


def test_a_cached_token_costs_its_own_price() -> None:
    rates = Rates.of(Price(Decimal(5), Decimal(6), Decimal("2.5")))
    assert rates == Rates(5_000_000, 2_500_000, 6_000_000, "CNY")
    assert rates.cost(Usage(10, 4, 5)) == 6 * 5_000_000 + 4 * 2_500_000 + 5 * 6_000_000


def test_without_a_cached_price_a_cached_token_costs_what_any_other_does() -> None:
    rates = Rates.of(Price(Decimal(5), Decimal(6), currency="USD"))
    assert rates.cost(Usage(10, 4, 0)) == rates.cost(Usage(10, 0, 0)) == 50_000_000
    assert rates.currency == "USD"


def test_the_bound_holds_whatever_is_cached() -> None:
    dear = Rates.of(Price(Decimal(1), Decimal(2), Decimal(3)))  # a cache that costs more
    assert dear.bound(10, 5) == 10 * 3_000_000 + 5 * 2_000_000 >= dear.cost(Usage(10, 10, 5))
