"""Whether a connection for each request in flight fits the limit on open files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from batchkit.descriptors import RESERVED, raise_descriptor_limit
from batchkit.lane_plan import LanePlan


def fit_connections(plans: list[LanePlan], say: Callable[[str], None]) -> list[LanePlan]:
    """`plans` with as many slots as connections can be opened; says so if those are fewer."""
    wanted = sum(plan.slots for plan in plans)
    fit = raise_descriptor_limit(wanted)
    if fit >= wanted:
        return plans
    say(_unfit(fit, wanted))
    return [
        msgspec.structs.replace(plan, slots=max(1, plan.slots * fit // wanted)) for plan in plans
    ]


def refusal_of(slots: Mapping[str, int]) -> str | None:
    """Why not so many requests can be in flight; None if they can."""
    wanted = sum(slots.values())
    fit = raise_descriptor_limit(wanted)
    return None if fit >= wanted else _unfit(fit, wanted)


def _unfit(fit: int, wanted: int) -> str:
    return (
        f"only {fit:,} of {wanted:,} connections fit the limit on open files; "
        f"raise it (ulimit -n {wanted + RESERVED}) or give --concurrency {fit}"
    )
