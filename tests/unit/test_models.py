"""The model table: the published figures, and how rows are added and overridden."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import UsageError
from batchkit.models import (
    FREE,
    LongPrompt,
    Model,
    ModelTable,
    Price,
    Tier,
    builtin_models,
    read_models,
)

PLUS, AIR, FLASH = "glm-4-plus", "glm-4-air-250414", "glm-4-flash-250414"

# context, largest answer, price of input and output, of cached input, of a batch, slots V0 to V3
PUBLISHED: dict[str, tuple[int, int, str, str | None, str | None, list[int]]] = {
    "glm-4-plus": (131072, 4095, "5", "2.5", "2.5", [50, 100, 300, 500]),
    "glm-4-air-250414": (131072, 16384, "0.5", "0.25", "0.25", [30, 40, 50, 60]),
    "glm-4-airx": (8192, 4095, "10", None, None, [5, 30, 40, 50]),
    "glm-4-flashx-250414": (131072, 16384, "0.1", "0.05", "0.05", [100, 150, 200, 300]),
    "glm-4-flash-250414": (131072, 16384, "0", None, None, [200, 1000, 2000, 3000]),
}


@pytest.fixture
def table() -> ModelTable:
    return builtin_models()


def refusal(rows: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        builtin_models().extended(rows, "m.toml")
    return str(caught.value)


def amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def test_the_builtin_table_holds_the_published_figures(table: ModelTable) -> None:
    assert list(table) == list(PUBLISHED)
    for name, (context, max_output, price, cached, batch, slots) in PUBLISHED.items():
        assert table[name] == Model(
            name=name,
            spelling=name,
            context=context,
            max_output=max_output,
            concurrency=dict(zip(Tier, slots, strict=True)),
            price=Price(Decimal(price), Decimal(price), amount(cached), amount(batch), "CNY"),
            long_prompt=LongPrompt(above=8192, share=Decimal("0.01")) if name == FLASH else None,
        )


def test_slots_follow_the_tier(table: ModelTable) -> None:
    assert [table[PLUS].slots(tier) for tier in Tier] == [50, 100, 300, 500]
    assert [Model(name="m", concurrency=7).slots(tier) for tier in Tier] == [7, 7, 7, 7]


def test_a_tier_without_a_number_is_refused() -> None:
    model = Model(name="m", concurrency={Tier.V0: 5, Tier.V2: 9})
    with pytest.raises(UsageError, match=r"^m: no concurrency for tier V1; the table has V0, V2$"):
        model.slots(Tier.V1)


def test_long_prompts_have_a_share_of_the_slots_or_a_number(table: ModelTable) -> None:
    assert [table[FLASH].long_slots(tier) for tier in Tier] == [2, 10, 20, 30]
    assert table[PLUS].long_slots(Tier.V0) is None
    rule = {"above": 4096, "concurrency": {"V0": 3}}
    extended = table.extended({FLASH: {"long_prompt": rule}}, "m.toml")
    assert extended[FLASH].long_slots(Tier.V0) == 3
    assert extended[FLASH].long_prompt == LongPrompt(above=4096, concurrency={Tier.V0: 3})
    assert Model(name="m", concurrency=7, long_prompt=LongPrompt()).long_slots(Tier.V0) == 1


def test_the_rule_for_long_prompts_can_be_switched_off(table: ModelTable) -> None:
    extended = table.extended({FLASH: {"long_prompt": False}}, "m.toml")
    assert extended[FLASH].long_slots(Tier.V0) is None
    assert extended.extended(extended.as_rows([FLASH]), "again")[FLASH] == extended[FLASH]


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (True, "expected a table or false, got True"),
        ({"share": "0.1", "concurrency": 2}, "has share and concurrency; give one of them"),
        ({"share": "1.5"}, "share: expected between 0 and 1, got 1.5"),
        ({"share": 0}, "share: expected between 0 and 1, got 0"),
        ({"share": "many"}, "share: expected a decimal amount, got 'many'"),
        ({"above": 0}, "above: expected int >= 1"),
        ({"over": 9}, "object contains unknown field over"),
    ],
)
def test_a_rule_for_long_prompts_that_makes_no_sense_is_refused(rule: Any, fault: str) -> None:
    said = refusal({"m": {"concurrency": 5, "long_prompt": rule}})
    place, _, words = said.partition("long_prompt")
    assert place == 'm.toml: models."m": '
    assert words.removeprefix(".").removeprefix(": ") == fault


def test_a_single_key_is_overridden_and_the_rest_stays(table: ModelTable) -> None:
    extended = table.extended({PLUS: {"concurrency": {"V0": 20}}}, "m.toml")
    assert [extended[PLUS].slots(tier) for tier in Tier] == [20, 100, 300, 500]
    assert (extended[PLUS].max_output, extended[PLUS].price) == (4095, table[PLUS].price)
    assert extended[AIR] == table[AIR]


def test_a_single_price_is_overridden_and_the_rest_stays(table: ModelTable) -> None:
    price = table.extended({PLUS: {"price": {"output": "7.25"}}}, "m.toml")[PLUS].price
    assert price == Price(Decimal(5), Decimal("7.25"), Decimal("2.5"), Decimal("2.5"), "CNY")


def test_extending_leaves_the_table_as_it_was(table: ModelTable) -> None:
    table.extended({PLUS: {"max_output": 1}, "new": {"concurrency": 1}}, "m.toml")
    assert table.as_rows() == builtin_models().as_rows()
    assert "new" not in table


def test_names_are_lower_case(table: ModelTable) -> None:
    extended = table.extended({"GLM-4-Plus": {"max_output": 100}, "New": {"concurrency": 1}}, "m")
    assert extended[PLUS].max_output == 100
    assert list(extended) == [*PUBLISHED, "new"]


def test_a_new_row_has_defaults(table: ModelTable) -> None:
    extended = table.extended({"new": {"concurrency": 3}}, "m.toml")
    assert extended["new"] == Model(
        name="new", spelling="new", context=131072, concurrency=3, price=FREE
    )


def test_rows_are_given_back_as_they_were_written(table: ModelTable) -> None:
    row = {
        "context": 4096,
        "concurrency": {"V0": 2},
        "price": {"input": "1", "output": Decimal("0.5")},
        "requests_per_minute": 600,
        "tokens_per_minute": 1_000_000,
        "endpoint": "https://api.example.com/v1",
        "api_key_env": "EXAMPLE_API_KEY",
    }
    extended = table.extended({"new": row}, "m.toml")
    assert extended.as_rows(["new"]) == {"new": row}
    assert table.extended(extended.as_rows(["new"]), "again")["new"] == extended["new"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (5, "expected a table, got 5"),
        ({}, "concurrency is missing; give the requests in flight it allows"),
        ({"concurrency": 0}, "concurrency: expected int >= 1"),
        ({"concurrency": {"V0": 0}}, "concurrency[...]: expected int >= 1"),
        ({"concurrency": {"V9": 1}}, "concurrency: invalid enum value 'V9'"),
        ({"concurrency": "many"}, "concurrency: expected int | object, got str"),
        ({"concurrency": True}, "concurrency: expected int | object, got bool"),
        ({"concurrency": 1, "context": "128K"}, "context: expected int, got str"),
        ({"concurrency": 1, "context": -1}, "context: expected int >= 1"),
        ({"concurrency": 1, "max_output": 0}, "max_output: expected int >= 1"),
        ({"concurrency": 1, "prise": {}}, "object contains unknown field prise"),
        ({"concurrency": 1, "price": "5"}, "price: expected a table, got '5'"),
        ({"concurrency": 1, "price": {}}, "price: object missing required field input"),
        (
            {"concurrency": 1, "price": {"input": "1", "output": "1", "cache": "1"}},
            "price: object contains unknown field cache",
        ),
        (
            {"concurrency": 1, "price": {"input": "1", "output": "1", "currency": 5}},
            "price: currency: expected str, got int",
        ),
    ],
)
def test_a_bad_row_is_refused_by_its_name_and_key(row: Any, fault: str) -> None:
    assert refusal({"new": row}) == f'm.toml: models."new": {fault}'


@pytest.mark.parametrize(
    "value", ["lots", "", "-1", "NaN", "sNaN", "Infinity", True, None, [], {}, "1e8", "1" * 40]
)
def test_a_price_is_a_decimal_amount(value: Any) -> None:
    place = f'm.toml: models."{PLUS}": price.input'
    assert refusal({PLUS: {"price": {"input": value}}}).startswith(
        f"{place}: expected a decimal amount, got "
    )


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        ("0.000001", "0.000001"),
        ("0.50000000", "0.5"),
        (3, "3"),
        (0.25, "0.25"),
        ("1e-6", "0.000001"),
    ],
)
def test_a_price_has_at_most_six_decimals(table: ModelTable, value: Any, exact: str) -> None:
    extended = table.extended({PLUS: {"price": {"input": value}}}, "m.toml")
    assert extended[PLUS].price.input == Decimal(exact)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.0000005", "0.0000005"),
        ("1e-7", "0.0000001"),
        ("5.00000000000000000000000000000000001", "5.00000000000000000000000000000000001"),
    ],
)
def test_a_finer_price_is_refused(value: str, shown: str) -> None:
    fault = f"price.batch: {shown} has more than 6 decimals"
    assert refusal({PLUS: {"price": {"batch": value}}}) == f'm.toml: models."{PLUS}": {fault}'


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a\x1b[2J"])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    assert "a model's name has no spaces or control characters" in refusal(
        {name: {"concurrency": 1}}
    )


def test_a_file_of_rows_is_read_with_exact_prices(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text('\ufeff[models."x"]\nconcurrency = 2\nprice.input = 0.1\n', "utf-8")
    assert read_models(path) == {"x": {"concurrency": 2, "price": {"input": Decimal("0.1")}}}
    path.write_text("", "utf-8")
    assert read_models(path) == {}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: no such file or directory"),
        (b"\xff", "cannot be read: not UTF-8"),
        (b"models", "not TOML: "),
        (b"[glm]\n", "expected tables [models.\"name\"] only, got 'glm'"),
        (b"models = 5\n", "expected tables [models.\"name\"] only, got 'models'"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "m.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_models(path)
    assert str(caught.value).startswith(f"{path}: {fault}")
