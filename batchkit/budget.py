"""What a run may spend: one currency, and of its budget what earlier starts have left."""

from __future__ import annotations

from collections.abc import Iterable

from batchkit.accounting import from_decimal
from batchkit.errors import UsageError
from batchkit.opening import OpenRun
from batchkit.purse import Purse
from batchkit.spec import Spec


def check_currencies(spec: Spec, models: Iterable[str]) -> None:
    """Raise `UsageError` where one budget, or one row's cost, would need two currencies."""
    models = list(models)
    currencies = {name: spec.table[name].price.currency for name in [*models, *spec.fallback]}
    if len(set(currencies.values())) == 1:
        return
    if spec.budget is not None:
        raise UsageError(
            f"--budget: the models cost {' and '.join(sorted(set(currencies.values())))}; "
            "a budget has one currency"
        )
    for name in spec.fallback:
        for other in models:
            if currencies[name] != currencies[other]:
                raise UsageError(
                    f"fallback: {name} costs {currencies[name]}, {other} {currencies[other]}; "
                    "what a row costs has one currency"
                )


def open_purse(spec: Spec, opened: OpenRun) -> Purse | None:
    """The budget, less what was spent or may have been."""
    if spec.budget is None:
        return None
    models = [*opened.tally.models.values(), *opened.tally.retired.values()]
    spent = sum(m.cost + m.unknown_bound + m.killed_bound for m in models)
    return Purse(from_decimal(spec.budget), spent)
