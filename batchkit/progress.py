"""The run as a person sees it while it goes on: a bar on a terminal, a plain line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

import msgspec
from tqdm import tqdm

from batchkit.accounting import to_text
from batchkit.tally import Tally

LINE_EVERY_S = 10.0  # off a terminal


class ModelLive(msgspec.Struct, frozen=True):
    """What one model is doing right now."""

    name: str
    in_flight: int
    limit: int
    backing_off: int


class Live(msgspec.Struct, frozen=True):
    """What a running process is doing; kept in the journal for `status`."""

    pid: int
    updated_at: float  # seconds since the epoch
    models: list[ModelLive]
    rows_per_s: float
    tokens_per_s: float


class Pace:
    """Rows and tokens per second over the last few looks."""

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._looks: list[tuple[float, int, int]] = []

    def look(self, now: float, tally: Tally) -> tuple[float, float]:
        """Rates up to `now`, in rows/s and tokens/s."""
        tokens = sum(m.usage.prompt + m.usage.completion for m in tally.models.values())
        self._looks.append((now, tally.settled, tokens))
        while len(self._looks) > 2 and now - self._looks[0][0] > self._window_s:
            del self._looks[0]
        then, rows_then, tokens_then = self._looks[0]
        if now <= then:
            return 0.0, 0.0
        return (tally.settled - rows_then) / (now - then), (tokens - tokens_then) / (now - then)


def describe(tally: Tally, live: Live) -> str:
    """`200/200 in flight · 12k tok/s · 1.25 CNY · 3 failed`."""
    flight = [
        f"{model.in_flight}/{model.limit}" + (f" {model.name}" if len(live.models) > 1 else "")
        for model in live.models
    ]
    costs = [f"{_short(to_text(cost))} {currency}" for currency, cost in tally.costs().items()]
    failed = sum(model.failed for model in tally.models.values())
    words = [
        f"{', '.join(flight)} in flight",
        f"{tqdm.format_sizeof(live.tokens_per_s)}tok/s",
        *costs,
    ]
    waiting = sum(model.backing_off for model in live.models)
    if waiting:
        words.append(f"{waiting:,} waiting to retry")
    return " · ".join([*words, f"{failed:,} failed"])


def _short(amount: str) -> str:
    """Four decimals are enough for a glance; the summary has them all."""
    whole, _, decimals = amount.partition(".")
    return f"{whole}.{decimals[:4]}" if decimals else whole


class Progress:
    """Shows a run's progress on `stream`; a stream that is gone never stops the run."""

    def __init__(
        self, total: int, done: int, *, stream: TextIO | None = None, quiet: bool = False
    ) -> None:
        self._stream = stream or sys.stderr
        self._total = total
        self._quiet = quiet
        self._last_line: float | None = None
        self._bar: tqdm[Any] | None = None
        if not quiet and self._stream.isatty():
            self._bar = tqdm(
                total=total,
                initial=done,
                unit="row",
                unit_scale=False,
                file=self._stream,
                dynamic_ncols=True,
                smoothing=0.1,
                mininterval=0.2,
            )

    def show(self, now: float, tally: Tally, live: Live) -> None:
        if self._quiet:
            return
        self._guard(lambda: self._show(now, tally, live))

    def say(self, line: str) -> None:
        """A line of talk that does not break the bar."""
        self._guard(lambda: tqdm.write(line, file=self._stream))

    def finish(self, tally: Tally) -> None:
        """The last look; the bar stays as it is."""
        if self._bar is not None:
            self._bar.n = tally.settled
            self._guard(self._bar.close)

    def _show(self, now: float, tally: Tally, live: Live) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(describe(tally, live), refresh=False)
            self._bar.n = tally.settled
            self._bar.refresh()
        elif self._last_line is None or now - self._last_line >= LINE_EVERY_S:
            if self._last_line is not None:
                share = tally.settled / self._total if self._total else 1.0
                print(
                    f"{tally.settled:,}/{self._total:,} rows ({share:.0%}) · "
                    f"{live.rows_per_s:,.1f} rows/s · {describe(tally, live)}",
                    file=self._stream,
                    flush=True,
                )
            self._last_line = now

    def _guard(self, write: Callable[[], object]) -> None:
        try:
            write()
        except (OSError, ValueError):  # the terminal or pipe is gone; the run goes on
            self._quiet = True
            self._bar = None
