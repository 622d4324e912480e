"""The model table: what each model can take, what it costs, and how many requests may be in flight.

Built in for the GLM-4 family (`models.toml`); a file (`--models`) and a job's `[models]` add rows
or override single keys of a row. Rows are decoded one by one, so that a fault names its row.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import msgspec

from batchkit.errors import UsageError
from batchkit.wording import reason, shown

PRICE_DECIMALS = 6  # so that one token's price is a whole number of PICO units (10^-12)
_PRICE_MOST = 10**7  # so that what a row costs fits decimal128(24, 12), whatever usage it reports

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Tier(StrEnum):
    """An account's level at the provider; it decides how many requests may be in flight."""

    V0 = "V0"
    V1 = "V1"
    V2 = "V2"
    V3 = "V3"


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None  # None: as `input`
    batch: Decimal | None = None  # through the provider's batch service; None: not offered
    currency: str = "CNY"


FREE = Price(Decimal(0), Decimal(0))


class LongPrompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule that limits long prompts apart from the others, and more."""

    above: Positive = 8192  # prompt tokens
    share: Decimal = Decimal("0.01")  # of the model's requests in flight, rounded down, at least 1
    concurrency: Positive | dict[Tier, Positive] | None = None  # instead of `share`


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the table."""

    name: str
    spelling: str = ""  # as the table has it: some services tell capitals apart
    context: Positive = 131072  # tokens, prompt and answer together
    max_output: Positive | None = None  # tokens; None: whatever the service allows
    concurrency: Positive | dict[Tier, Positive]  # requests in flight
    long_prompt: LongPrompt | None = None  # None: long prompts are limited like the others
    price: Price = FREE
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    json_schema: bool = False  # its endpoint can hold answers to a schema while they are made
    endpoint: str | None = None  # this model lives elsewhere
    api_key_env: str | None = None

    def has_slots(self, tier: Tier) -> bool:
        """Whether the table knows the model's limit at `tier`."""
        return isinstance(self.concurrency, int) or tier in self.concurrency

    def slots(self, tier: Tier) -> int:
        """Requests that may be in flight at `tier`."""
        return self._at(tier, self.concurrency, "concurrency")

    def long_slots(self, tier: Tier) -> int | None:
        """Of long prompts at `tier`; None if they are not limited apart."""
        rule = self.long_prompt
        if rule is None:
            return None
        if rule.concurrency is not None:
            return self._at(tier, rule.concurrency, "long_prompt.concurrency")
        return max(1, int(self.slots(tier) * rule.share))

    def _at(self, tier: Tier, given: int | dict[Tier, int], key: str) -> int:
        if isinstance(given, int):
            return given
        if tier not in given:
            raise UsageError(
                f"{self.name}: no {key} for tier {tier}; the table has {', '.join(given)}"
            )
        return given[tier]


class ModelTable(Mapping[str, Model]):
    """Models by their lower-case names."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self._rows: dict[str, dict[str, Any]] = {name: dict(row) for name, row in rows.items()}
        self._models: dict[str, Model] = {}

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def extended(self, rows: Mapping[str, Any], place: str) -> ModelTable:
        """This table with `rows` added; a row that is already there is overridden key by key."""
        table = ModelTable(self._rows)
        table._models = dict(self._models)
        for given, row in rows.items():
            name = given.lower()
            if not isinstance(row, Mapping):
                raise UsageError(f'{place}: models."{given}": expected a table, got {shown(row)}')
            merged = table._rows.get(name, {}) | dict(row)
            for key in ("price", "concurrency"):
                before = self._rows.get(name, {}).get(key)
                if isinstance(before, Mapping) and isinstance(merged.get(key), Mapping):
                    merged[key] = dict(before) | dict(merged[key])
            table._rows[name] = merged
            model = _model(name, merged, f'{place}: models."{given}"')
            table._models[name] = msgspec.structs.replace(model, spelling=given)
        return table

    def as_rows(self, names: Iterator[str] | list[str] | None = None) -> dict[str, Any]:
        """Plain values, as they stand in a TOML file: what `run.json` keeps."""
        return {name: self._rows[name] for name in (names if names is not None else self._rows)}


def _model(name: str, row: Mapping[str, Any], place: str) -> Model:
    values = dict(row)
    price = values.pop("price", None)
    if price is not None:
        values["price"] = _price(price, place)
    long_prompt = values.pop("long_prompt", False)
    if long_prompt is not False:  # which switches off a rule that an earlier row has
        values["long_prompt"] = _long_prompt(long_prompt, place)
    if "concurrency" not in values:
        raise UsageError(f"{place}: concurrency is missing; give the requests in flight it allows")
    if not name or any(c.isspace() or not c.isprintable() for c in name):
        raise UsageError(f"{place}: a model's name has no spaces or control characters")
    try:
        return msgspec.convert(values | {"name": name}, Model)
    except msgspec.ValidationError as error:
        raise UsageError(f"{place}: {in_words(error)}") from error


def _long_prompt(rule: Any, place: str) -> LongPrompt:
    if not isinstance(rule, Mapping):
        raise UsageError(f"{place}: long_prompt: expected a table or false, got {shown(rule)}")
    if {"share", "concurrency"} <= rule.keys():
        raise UsageError(f"{place}: long_prompt: has share and concurrency; give one of them")
    values = dict(rule)
    if "share" in values:
        values["share"] = share = _amount(values["share"], f"{place}: long_prompt.share")
        if not 0 < share < 1:
            raise UsageError(f"{place}: long_prompt.share: expected between 0 and 1, got {share}")
    try:
        return msgspec.convert(values, LongPrompt)
    except msgspec.ValidationError as error:
        raise UsageError(f"{place}: long_prompt: {in_words(error)}") from error


def _price(price: Any, place: str) -> Price:
    if not isinstance(price, Mapping):
        raise UsageError(f"{place}: price: expected a table, got {shown(price)}")
    values: dict[str, Any] = {}
    for key, value in price.items():
        values[key] = value if key == "currency" else _amount(value, f"{place}: price.{key}")
    try:
        return msgspec.convert(values, Price)
    except msgspec.ValidationError as error:
        raise UsageError(f"{place}: price: {in_words(error)}") from error


def _amount(value: Any, place: str) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or not 0 <= amount <= _PRICE_MOST:
        raise UsageError(f"{place}: expected a decimal amount, got {shown(value)}")
    if amount != round(amount, PRICE_DECIMALS):
        raise UsageError(f"{place}: {amount:f} has more than {PRICE_DECIMALS} decimals")
    return amount


def in_words(error: msgspec.ValidationError) -> str:
    """msgspec's `Expected X, got Y - at $.a.b` as `a.b: expected X, got Y`."""
    message, _, at = str(error).replace("`", "").partition(" - at ")
    message = message[:1].lower() + message[1:]
    at = at.removeprefix("key in ").removeprefix("$").removeprefix(".")
    return f"{at}: {message}" if at else message


def read_models(path: Path) -> dict[str, Any]:
    """The `[models]` rows of a TOML file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{path}: cannot be read: {reason(why)}") from error
    try:
        tables = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    rows = tables.pop("models", {})
    if tables or not isinstance(rows, dict):
        raise UsageError(
            f'{path}: expected tables [models."name"] only, got {next(iter(tables), "models")!r}'
        )
    return rows


def builtin_models() -> ModelTable:
    """The table that ships with the package."""
    text = (files("batchkit") / "models.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text, parse_float=Decimal)["models"]
    return ModelTable({}).extended(rows, "models.toml")
