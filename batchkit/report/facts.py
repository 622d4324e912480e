"""What a report tells, as values: everything is counted or cut, nothing grows with the rows."""

from __future__ import annotations

import msgspec

from batchkit.report.bins import Spread
from batchkit.report.timeline import Timeline
from batchkit.summary import RunSummary

OTHER_MODELS = "other models"


class Excerpt(msgspec.Struct, frozen=True):
    """The beginning of a text that may be long."""

    text: str
    length: int  # of the whole, in characters

    @property
    def is_cut(self) -> bool:
        return len(self.text) < self.length


class Example(msgspec.Struct, frozen=True):
    """A row that failed, or an exchange that did."""

    row: int
    custom_id: str
    message: str | None = None  # of a failed row
    attempt: int | None = None  # of a failed exchange


class Trouble(msgspec.Struct):
    """Failures of one kind and code."""

    kind: str
    code: str  # "" if none
    exchanges: int = 0
    rows: int = 0  # that failed for it in the end
    busy_s: float = 0.0  # from the beginning of those exchanges to their end
    waited_s: float = 0.0  # backoff that followed
    cost: int = 0  # PICO billed for them
    bound: int = 0  # PICO, the most that those of unknown billing can have cost
    examples: list[Example] = []


class SlowRow(msgspec.Struct, frozen=True):
    """One of the rows that took longest."""

    row: int
    custom_id: str
    model: str
    status: str
    attempts: int
    latency_s: float | None
    total_s: float
    completion_tokens: int


class SampleRow(msgspec.Struct, frozen=True):
    """One row of the sample, its texts cut."""

    row: int
    custom_id: str
    model: str
    status: str
    why: str | None  # finish reason, or error kind and code
    content: Excerpt | None
    error: str | None
    given: Excerpt | None  # what came from the input: kept columns and metadata, as JSON
    prompt_tokens: int
    completion_tokens: int
    total_s: float


class Saving(msgspec.Struct, frozen=True):
    """What cached prompt tokens of one model saved."""

    model: str
    cached: int  # tokens
    prompt: int  # tokens
    saved: str | None  # None: the price is not known, or does not tell cached tokens apart
    currency: str


class ScoreLine(msgspec.Struct, frozen=True):
    """One line of what a score tells."""

    name: str
    value: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it was at one moment."""

    name: str
    state: str  # complete, stopped, running
    read_at: float  # seconds since the epoch
    summary: RunSummary
    tiers: tuple[str, ...]
    endpoints: tuple[str, ...]
    starts: int
    timeline: Timeline
    models: tuple[str, ...]  # those told apart in the timeline and the spreads
    latency: dict[str, Spread]  # of answered attempts, seconds
    settling: dict[str, Spread]  # from first dispatch to settled, seconds
    tries: dict[int, int]  # exchanges of a row -> settled rows
    troubles: list[Trouble]
    slowest: list[SlowRow]
    savings: list[Saving]
    scores: list[ScoreLine]
    sample: list[SampleRow]
    sample_step: int  # every so manieth row is in the sample


def together(spreads: dict[str, Spread]) -> Spread:
    """The spread over all models."""
    total = Spread()
    for one in spreads.values():
        for bin_, count in one.counts.items():
            total.add(bin_, count)
    return total
