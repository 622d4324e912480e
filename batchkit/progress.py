"""The run as a person sees it while it goes on: a bar on a terminal, a plain line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol, Self, TextIO

import msgspec
from tqdm import tqdm

from batchkit.accounting import to_text
from batchkit.tally import Tally

LINE_EVERY_S = 10.0  # off a terminal
_BAR = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} rows {elapsed}<{remaining}"


class ModelLive(msgspec.Struct, frozen=True):
    """What one model is doing right now."""

    name: str
    in_flight: int
    limit: int
    backing_off: int
    runs: int = 1  # that share the account, this one included


class Live(msgspec.Struct, frozen=True):
    """What a running process is doing; kept in the journal for `status`."""

    pid: int
    updated_at: float  # seconds since the epoch
    models: list[ModelLive]
    rows_per_s: float
    tokens_per_s: float
    bound_by: str | None = None  # what holds it back, see `binding`
    paused: bool = False
    cpu: float = 0.0  # share of a core
    worker_cpus: tuple[float, ...] = ()  # the same, for each worker process


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


def totals(tally: Tally, live: Live) -> str:
    """`1,624.0 rows/s · 12.3ktok/s · 1.25 CNY · 3 failed`."""
    costs = [f"{_short(to_text(cost))} {currency}" for currency, cost in tally.costs().items()]
    failed = sum(model.failed for model in tally.models.values())
    rates = [f"{live.rows_per_s:,.1f} rows/s", f"{tqdm.format_sizeof(live.tokens_per_s)}tok/s"]
    bound = [f"bound by {live.bound_by}"] if live.bound_by else []
    paused = ["paused"] if live.paused else []
    return " · ".join([*paused, *rates, *costs, f"{failed:,} failed", *bound])


def of_model(model: ModelLive, tally: Tally) -> str:
    """`glm-4-airx: 5/5 in flight, 2 waiting to retry`."""
    words = [in_flight(model)]
    counts = tally.models.get(model.name)
    if counts is not None and counts.refused:
        words.append(f"{counts.refused:,} refused")
    return f"{model.name}: {', '.join(words)}"


def in_flight(model: ModelLive) -> str:
    """`5/5 in flight, 2 waiting to retry, shared with 1 other run`."""
    words = [f"{model.in_flight:,}/{model.limit:,} in flight"]
    if model.backing_off:
        words.append(f"{model.backing_off:,} waiting to retry")
    if model.runs > 1:
        others = "1 other run" if model.runs == 2 else f"{model.runs - 1:,} other runs"
        words.append(f"shared with {others}")
    return ", ".join(words)


def _short(amount: str) -> str:
    """Four decimals are enough for a glance; the summary has them all."""
    whole, _, decimals = amount.partition(".")
    return f"{whole}.{decimals[:4]}" if decimals else whole


class View(Protocol):
    """What looks at a run while it goes on."""

    def show(self, now: float, tally: Tally, live: Live) -> None:
        """Take the picture at `now` (monotonic seconds)."""

    def finish(self, tally: Tally) -> None:
        """The last look."""


class Views(tuple[View, ...]):
    """Several views as one."""

    __slots__ = ()

    def show(self, now: float, tally: Tally, live: Live) -> None:
        for view in self:
            view.show(now, tally, live)

    def finish(self, tally: Tally) -> None:
        for view in self:
            view.finish(tally)


class Progress:
    """Shows a run's progress on `stream`; a stream that is gone never stops the run."""

    def __init__(
        self, total: int, done: int, *, stream: TextIO | None = None, quiet: bool = False
    ) -> None:
        self._stream = stream or sys.stderr
        self._total = total
        self._done = done
        self._quiet = quiet
        self._last_line: float | None = None
        self._is_terminal = not quiet and self._stream.isatty()
        self._bar: tqdm[Any] | None = None
        self._lines: list[tqdm[Any]] = []

    def show(self, now: float, tally: Tally, live: Live) -> None:
        """Bring the picture up to `now` (monotonic seconds)."""
        if not self._quiet:
            self._guard(lambda: self._show(now, tally, live))

    def finish(self, tally: Tally) -> None:
        """The last look; the bar stays as it is, the lines below it go."""
        for line in self._lines:
            self._guard(line.close)
        if self._bar is not None:
            self._bar.n = tally.settled
            self._guard(self._bar.close)

    def _show(self, now: float, tally: Tally, live: Live) -> None:
        if self._is_terminal:
            self._show_bars(tally, live)
        elif self._last_line is None or now - self._last_line >= LINE_EVERY_S:
            if self._last_line is not None:
                self._print_line(tally, live)
            self._last_line = now

    def _show_bars(self, tally: Tally, live: Live) -> None:
        texts = [totals(tally, live), *(of_model(model, tally) for model in live.models)]
        if self._bar is None:
            self._bar = tqdm(
                total=self._total,
                initial=self._done,
                unit="row",
                file=self._stream,
                dynamic_ncols=True,
                bar_format=_BAR,
            )
            self._lines = [
                tqdm(
                    position=position,
                    bar_format="{desc}",
                    leave=False,
                    file=self._stream,
                    dynamic_ncols=True,
                )
                for position in range(1, len(texts) + 1)
            ]
        self._bar.n = tally.settled
        self._bar.refresh()
        for line, text in zip(self._lines, texts, strict=True):
            line.set_description_str(text)

    def _print_line(self, tally: Tally, live: Live) -> None:
        share = tally.settled / self._total if self._total else 1.0
        models = [of_model(model, tally) for model in live.models]
        words = [f"{tally.settled:,}/{self._total:,} rows ({share:.0%})", totals(tally, live)]
        print(" · ".join([*words, *models]), file=self._stream, flush=True)

    def _guard(self, write: Callable[[], object]) -> None:
        try:
            write()
        except (OSError, ValueError):  # the terminal or pipe is gone; the run goes on
            self._quiet = True


class ScanBar:
    """Shows, on a terminal alone, how many rows of the input have been read."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._bar: tqdm[Any] = tqdm(
            file=stream or sys.stderr,
            disable=None,  # off a terminal
            unit=" rows",
            desc="reading",
            leave=False,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.close()

    def show(self, rows: int) -> None:
        """`rows` have been read up to now."""
        self._bar.update(rows - self._bar.n)
