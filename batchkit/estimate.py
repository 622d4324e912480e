"""What rows will cost and how long they will take, as intervals, from what is known of such rows.

* What was measured on rows is kept as sums (`Sums`), which add up: of a random sample of the very
  rows, or of an earlier run of the same job.
* Totals are estimated from them: prompt tokens by a ratio to the counted ones, answers by their
  mean (Cochran, "Sampling Techniques", 3rd ed., 1977, chapters 2 and 6). A sample of the very rows
  is corrected for their finite number (section 2.6); rows of an earlier run are not a sample of
  these, so some per cent are added for the difference.
* Without any measurement the interval is wide, and says that it is assumed.
* An interval is what lies between the 10th and the 90th percentile. Parts of a sum are taken to err
  together, which makes intervals wider rather than narrower.
"""

from __future__ import annotations

import math
from enum import StrEnum
from statistics import NormalDist

import msgspec

from batchkit.accounting import PICO, Rates
from batchkit.models import Model
from batchkit.records import Usage

_Z = NormalDist().inv_cdf(0.9)
_TRANSFER = 0.05  # standard error that rows of an earlier run have as a picture of these

# Assumptions for rows of which nothing was measured.
_PROMPT_RATIO, _PROMPT_ERROR = 0.85, 0.15  # of counted tokens, which err upward (`tokens`)
_ANSWER_MEDIAN, _ANSWER_SPREAD = 150.0, 1.2  # tokens; a lognormal
_ANSWER_ERROR = 0.8  # of the logarithm of their mean
_FIRST_TOKEN_S, _TOKENS_PER_S = 0.6, 60.0
_LATENCY_ERROR = 0.5  # of the logarithm of the mean
_LATENCY_DRIFT = 0.15  # the same, where it was measured: the service's pace varies with the hour

_START_S = 0.5  # of full slots, which the gradual start costs
_TAIL = 1.5  # latencies: the last slots' worth ends with the slowest of them
_ROWS_PER_S = 2000.0  # what one process takes, see benchmarks/README.md


class Source(StrEnum):
    """Where what is known of rows comes from."""

    ASSUMED = "assumed"
    EARLIER = "earlier runs"
    SAMPLE = "sample"


class Sums(msgspec.Struct):
    """Sums over answered rows: enough for means, ratios and their errors."""

    rows: int = 0
    counted: float = 0.0  # prompt tokens as counted here, before sending
    counted_squared: float = 0.0
    prompt: float = 0.0  # prompt tokens as billed, over all attempts of a row
    prompt_squared: float = 0.0
    counted_times_prompt: float = 0.0
    cached: float = 0.0
    answer: float = 0.0  # completion tokens as billed
    answer_squared: float = 0.0
    timed_rows: int = 0
    latency: float = 0.0  # seconds
    latency_squared: float = 0.0

    def add(self, counted: int, usage: Usage, latency_s: float | None) -> None:
        """Add one answered row."""
        self.rows += 1
        self.counted += counted
        self.counted_squared += counted * counted
        self.prompt += usage.prompt
        self.prompt_squared += usage.prompt * usage.prompt
        self.counted_times_prompt += counted * usage.prompt
        self.cached += usage.cached
        self.answer += usage.completion
        self.answer_squared += usage.completion * usage.completion
        if latency_s is not None:
            self.timed_rows += 1
            self.latency += latency_s
            self.latency_squared += latency_s * latency_s


class Known(msgspec.Struct, frozen=True):
    """What is known of rows like these, for one model."""

    source: Source = Source.ASSUMED
    sums: Sums | None = None


class Load(msgspec.Struct, kw_only=True):
    """What rows ask of one model."""

    rows: int = 0
    requests: int = 0  # of these rows; more than rows where some are several
    long_requests: int = 0  # of them, those that are limited apart (`lane_plan`)
    longest: int = 0  # prompt tokens of the longest prompt; of a document's, their mean
    counted: int = 0  # prompt tokens, as counted here
    room: int = 0  # completion tokens that the answers may have at most
    bound: int = 0  # PICO; the most that one attempt of each request can cost
    unfit: int = 0  # rows whose prompt leaves no room in the model's context


class Interval(msgspec.Struct, frozen=True):
    """A quantity's percentiles."""

    p10: float
    p50: float
    p90: float

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.p10 + other.p10, self.p50 + other.p50, self.p90 + other.p90)

    def times(self, factor: float) -> Interval:
        return Interval(self.p10 * factor, self.p50 * factor, self.p90 * factor)


class Estimate(msgspec.Struct, frozen=True):
    """What a load comes to on one model."""

    model: str
    rows: int
    requests: int
    unfit_rows: int
    prompt_tokens: Interval
    completion_tokens: Interval
    completion_tokens_most: int
    cost: Interval  # in `currency`
    cost_most: float  # if every answer used all its room, each row asked once
    batch_cost: Interval | None  # by the provider's batch price; None where it has none
    currency: str
    latency_s: Interval  # mean of a request
    source: Source
    measured_rows: int


def estimate(model: Model, load: Load, known: Known) -> Estimate:
    """The estimate for `load` on `model`; time is for `makespan` to tell."""
    rates = Rates.of(model.price)
    prompt, answer = _prompt(load, known), _answer(load, known)
    batch = model.price.batch
    return Estimate(
        model=model.name,
        rows=load.rows,
        requests=load.requests,
        unfit_rows=load.unfit,
        prompt_tokens=prompt,
        completion_tokens=answer,
        completion_tokens_most=load.room,
        cost=prompt.times(_input_price(rates, known)) + answer.times(rates.output / PICO),
        cost_most=load.bound / PICO,
        batch_cost=None if batch is None else (prompt + answer).times(float(batch) / 1e6),
        currency=rates.currency,
        latency_s=_latency(load, answer, known),
        source=known.source,
        measured_rows=0 if known.sums is None else known.sums.rows,
    )


def makespan(requests: int, slots: int, latency_s: Interval) -> Interval:
    """Seconds that `requests` take with `slots` in flight."""
    if not requests:
        return Interval(0.0, 0.0, 0.0)
    rounds = max(requests / slots - 1, 0.0) + _TAIL
    least = requests / _ROWS_PER_S
    return Interval(
        *(
            _START_S + max(least, one * rounds)
            for one in (latency_s.p10, latency_s.p50, latency_s.p90)
        )
    )


def _prompt(load: Load, known: Known) -> Interval:
    sums = known.sums
    if sums is None or not sums.counted:
        total, error = _PROMPT_RATIO * load.counted, _PROMPT_ERROR * load.counted
    else:
        ratio = sums.prompt / sums.counted
        residuals = (
            sums.prompt_squared
            - 2 * ratio * sums.counted_times_prompt
            + ratio * ratio * sums.counted_squared
        )
        total = ratio * load.counted
        error = _error(residuals, total, load, known)
    return _around(total, error, most=math.inf)


def _answer(load: Load, known: Known) -> Interval:
    sums = known.sums
    if sums is None or not sums.rows:
        mean = _assumed_answer(load.room / load.requests) if load.requests else 0.0
        return _skewed(load.requests * mean, _ANSWER_ERROR, most=load.room)
    mean = sums.answer / sums.rows
    deviations = sums.answer_squared - mean * sums.answer
    total = load.rows * mean
    return _around(total, _error(deviations, total, load, known), most=load.room)


def _error(deviations: float, total: float, load: Load, known: Known) -> float:
    """The standard error of a total; `deviations` is a sum of squares over the measured rows."""
    assert known.sums is not None
    rows = known.sums.rows
    if rows < 2:
        return total
    variance = max(deviations, 0.0) / (rows - 1)
    if known.source is Source.SAMPLE:
        unseen = max(0.0, 1 - rows / load.rows) if load.rows else 0.0
        return load.rows * math.sqrt(unseen * variance / rows)
    return load.rows * math.sqrt(variance / rows) + _TRANSFER * total


def _assumed_answer(room: float) -> float:
    """The mean of the assumed lognormal, cut at `room` tokens."""
    if room <= 0:
        return 0.0
    normal = NormalDist()
    location, spread = math.log(_ANSWER_MEDIAN), _ANSWER_SPREAD
    cut = (math.log(room) - location) / spread
    below = math.exp(location + spread * spread / 2) * normal.cdf(cut - spread)
    return below + room * (1 - normal.cdf(cut))


def _latency(load: Load, answer: Interval, known: Known) -> Interval:
    sums = known.sums
    if sums is None or sums.timed_rows < 2:
        tokens = answer.p50 / load.requests if load.requests else 0.0
        return _skewed(_FIRST_TOKEN_S + tokens / _TOKENS_PER_S, _LATENCY_ERROR, most=math.inf)
    mean = sums.latency / sums.timed_rows
    deviations = max(sums.latency_squared - mean * sums.latency, 0.0)
    error = math.sqrt(deviations / (sums.timed_rows - 1) / sums.timed_rows)
    return _skewed(mean, _LATENCY_DRIFT + (error / mean if mean else 0.0), most=math.inf)


def _around(middle: float, error: float, *, most: float) -> Interval:
    low, high = max(0.0, middle - _Z * error), middle + _Z * error
    return Interval(min(low, most), min(middle, most), min(high, most))


def _skewed(middle: float, error: float, *, most: float) -> Interval:
    factor = math.exp(_Z * error)
    return Interval(min(middle / factor, most), min(middle, most), min(middle * factor, most))


def _input_price(rates: Rates, known: Known) -> float:
    """Money per prompt token, with the share that was cached."""
    share = known.sums.cached / known.sums.prompt if known.sums and known.sums.prompt else 0.0
    return (rates.input * (1 - share) + rates.cached_input * share) / PICO
