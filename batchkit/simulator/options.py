"""Everything about the simulated service that can be chosen."""

from __future__ import annotations

import msgspec

from batchkit.errors import UsageError
from batchkit.models import Tier
from batchkit.simulator.faults import FaultPlan, Latency, check_fault


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The service's behaviour; raises `UsageError` when made with a value that makes no sense.

    The defaults: an account of tier V0, every answer at once, no faults, no key asked for.
    """

    seed: int = 0  # of answers, faults and latencies

    tier: Tier = Tier.V0
    limits: dict[str, int] = {}  # requests in flight per model, instead of the tier's
    softness: float = (
        0.0  # refusals begin at (1 - softness) and are certain at (1 + softness) limits
    )
    long_prompt_pool: bool = False  # flash prompts over 8K tokens get 1 % of the limit, apart
    arrivals: int | None = None  # more than these per model within the window are refused
    arrival_window_s: float = 1.0
    arrival_code: str = "1303"  # or 1302

    latency: str = "0"  # seconds, or lognormal:MEDIAN,SIGMA
    seconds_per_token: float = 0.0  # on top, per token of the answer
    faults: dict[str, float] = {}  # probability by name, see `faults.FAULTS`
    marks: dict[str, str] = {}  # a last message that holds the key always gets the fault
    slow_s: float = 30.0  # how long the fault `slow` holds
    huge_mb: int = 64  # how big the fault `huge` is
    arrears_after: int | None = None  # every request after the first N is refused with 1113

    answer_chars: int | None = None  # every free text is this long
    cache: bool = False  # what a prompt begins with counts as cached tokens once it was answered
    cache_prefixes: int = 4096  # that it remembers, those that were used last
    token_details: bool = False  # usage has prompt_tokens_details even without a cache
    int_codes: bool = False  # codes as JSON integers instead of strings

    check_key: bool = False  # refuse what is not a well-formed key; GLM path only
    keys: tuple[str, ...] = ()  # the only accepted ones; implies check_key

    record: bool = False  # count answers per last message, see `Service.seen`
    keepalive_s: float = 3600.0  # an idle connection is closed after this
    requests_per_connection: int | None = None  # a connection is closed after these

    def __post_init__(self) -> None:
        FaultPlan(self.faults)
        Latency.parse(self.latency)
        for fault in self.marks.values():
            check_fault(fault, "marks")
        if "" in self.marks:
            raise UsageError("marks: an empty marker stands in every text; give some text")
        if self.arrival_code not in {"1302", "1303"}:
            raise UsageError(f"arrival_code: expected 1302 or 1303, got {self.arrival_code!r}")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed: expected 0 to 2^64 - 1, got {self.seed}")
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise UsageError(f"{name}: expected at least {least}, got {value}")
        for model, limit in self.limits.items():
            if limit < 0:
                raise UsageError(f"limits: {model}: expected at least 0, got {limit}")


_AT_LEAST = {
    "softness": 0,
    "arrivals": 1,
    "arrival_window_s": 0,
    "seconds_per_token": 0,
    "slow_s": 0,
    "huge_mb": 1,
    "arrears_after": 0,
    "answer_chars": 1,
    "cache_prefixes": 1,
    "keepalive_s": 0,
    "requests_per_connection": 1,
}
