"""Running totals of a run, per model: what was counted, kept with the rows that were counted.

A tally is changed by adding attempts and results, each exactly once, in the group in which they
become durable; it is written to the journal in the same transaction.
"""

from __future__ import annotations

import msgspec

from batchkit.errors import REFUSALS, Billing
from batchkit.records import Attempt, Result, Usage

_CODES_MOST = 50  # codes counted one by one per kind: they come from outside
_OTHER = "other"

Counts = dict[str, dict[str, int]]  # error kind -> provider code ("" if none) -> count


class ModelTally(msgspec.Struct):
    """Totals of one model."""

    currency: str = "CNY"
    ok: int = 0
    failed: int = 0
    truncated: int = 0  # ok rows whose answer was cut at max_tokens
    deduplicated: int = 0  # rows, ok or failed, that have the answer of an equal one
    attempts: int = 0
    answered: int = 0  # attempts that brought an answer, wanted or not
    refused: int = 0  # attempts refused for load
    usage: Usage = Usage()
    cost: int = 0  # PICO
    unknown_attempts: int = 0  # sent, no answer: may have been billed
    unknown_bound: int = 0  # PICO; the most they may have cost
    killed_attempts: int = 0  # at most; in flight when the process was killed, never recorded
    killed_bound: int = 0  # PICO; the most they may have cost
    latency_s: float = 0.0  # summed over answered attempts
    errors: Counts = {}  # failed exchanges
    failed_rows: Counts = {}
    used_slot_s: float = 0.0  # slot-seconds in flight while work was pending
    offered_slot_s: float = 0.0

    @property
    def settled(self) -> int:
        return self.ok + self.failed

    def add_attempt(self, attempt: Attempt) -> None:
        self.attempts += 1
        self.usage += attempt.usage
        self.cost += attempt.cost
        self.refused += attempt.error_kind in REFUSALS
        if attempt.billing is Billing.UNKNOWN:
            self.unknown_attempts += 1
            self.unknown_bound += attempt.bound
        if attempt.billing is Billing.BILLED:
            self.answered += 1
            self.latency_s += attempt.latency_s
        if attempt.error_kind is not None:
            _count(self.errors, attempt.error_kind, attempt.error_code)

    def add_result(self, result: Result) -> None:
        self.deduplicated += result.deduplicated
        if result.status == "ok":
            self.ok += 1
            self.truncated += result.finish_reason == "length"
        else:
            self.failed += 1
            _count(self.failed_rows, result.error_kind or "unknown", result.error_code)

    def forget_result(self, result: Result) -> None:
        """The inverse of `add_result`."""
        self.deduplicated -= result.deduplicated
        if result.status == "ok":
            self.ok -= 1
            self.truncated -= result.finish_reason == "length"
        else:
            self.failed -= 1
            _discount(self.failed_rows, result.error_kind or "unknown", result.error_code)

    def forget_attempt(self, attempt: Attempt) -> None:
        """The inverse of `add_attempt`."""
        self.attempts -= 1
        self.usage -= attempt.usage
        self.cost -= attempt.cost
        self.refused -= attempt.error_kind in REFUSALS
        if attempt.billing is Billing.UNKNOWN:
            self.unknown_attempts -= 1
            self.unknown_bound -= attempt.bound
        if attempt.billing is Billing.BILLED:
            self.answered -= 1
            self.latency_s -= attempt.latency_s
        if attempt.error_kind is not None:
            _discount(self.errors, attempt.error_kind, attempt.error_code)


class Tally(msgspec.Struct):
    """Totals of a run over all its starts."""

    models: dict[str, ModelTally] = {}
    retired: dict[str, ModelTally] = {}  # spent on rows that the results do not have any more
    looks: dict[str, int] = {}  # how often each word told what held the run back
    wall_s: float = 0.0  # time in which a process worked on it

    def of(self, model: str, currency: str) -> ModelTally:
        found = self.models.get(model)
        if found is None:
            found = self.models[model] = ModelTally(currency=currency)
        return found

    def forget_result(self, result: Result) -> None:
        """Count a result no longer; what it cost stays."""
        self.models[result.model].forget_result(result)

    def retire(self, attempt: Attempt) -> None:
        """Count an attempt apart: its row is not in the results any more."""
        model = self.models[attempt.model]
        model.forget_attempt(attempt)
        retired = self.retired.setdefault(attempt.model, ModelTally(currency=model.currency))
        retired.add_attempt(attempt)

    def retire_rest(self, name: str, before: ModelTally) -> None:
        """Keep apart what `before` had counted of a model and this tally has not."""
        now = self.of(name, before.currency)
        lost = self.retired.setdefault(name, ModelTally(currency=before.currency))
        lost.attempts += before.attempts - now.attempts
        lost.cost += before.cost - now.cost
        lost.usage += before.usage - now.usage
        now.used_slot_s, now.offered_slot_s = before.used_slot_s, before.offered_slot_s
        now.killed_attempts, now.killed_bound = before.killed_attempts, before.killed_bound

    @property
    def settled(self) -> int:
        return sum(model.settled for model in self.models.values())

    def total(self) -> ModelTally:
        """All models together; money only adds up where the currency is one, see `costs`."""
        total = ModelTally()
        for model in self.models.values():
            total.currency = model.currency
            for name in _SUMMED:
                setattr(total, name, getattr(total, name) + getattr(model, name))
            _merge(total.errors, model.errors)
            _merge(total.failed_rows, model.failed_rows)
        return total

    def costs(self) -> dict[str, int]:
        """PICO per currency."""
        return _costs(self.models)

    def retired_costs(self) -> dict[str, int]:
        """PICO per currency that were spent on rows which are gone."""
        return _costs(self.retired)


_SUMMED = [
    name
    for name in ModelTally.__struct_fields__
    if name not in {"currency", "errors", "failed_rows"}
]


def _costs(models: dict[str, ModelTally]) -> dict[str, int]:
    costs: dict[str, int] = {}
    for model in models.values():
        costs[model.currency] = costs.get(model.currency, 0) + model.cost
    return costs


def _count(counts: Counts, kind: str, code: str | None) -> None:
    by_code = counts.setdefault(str(kind), {})
    name = code or ""
    if name not in by_code and len(by_code) >= _CODES_MOST:
        name = _OTHER
    by_code[name] = by_code.get(name, 0) + 1


def _discount(counts: Counts, kind: str, code: str | None) -> None:
    by_code = counts[str(kind)]
    name = code or "" if (code or "") in by_code else _OTHER
    by_code[name] -= 1
    if not by_code[name]:
        del by_code[name]
    if not by_code:
        del counts[str(kind)]


def _merge(into: Counts, counts: Counts) -> None:
    for kind, by_code in counts.items():
        merged = into.setdefault(kind, {})
        for code, count in by_code.items():
            merged[code] = merged.get(code, 0) + count


# JSON, since a sum of money can pass the 64 bits to which msgpack holds an integer.
encode_tally = msgspec.json.Encoder().encode
decode_tally = msgspec.json.Decoder(Tally).decode
