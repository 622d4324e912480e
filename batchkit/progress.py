"""The run as a person sees it while it goes on: a bar on a terminal, a plain line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, Self, TextIO

from tqdm import tqdm

from batchkit.accounting import to_text
from batchkit.live import Live, ModelLive
from batchkit.tally import Tally

LINE_EVERY_S = 10.0  # off a terminal
SO_FAR = "so far; the input is still being checked"
_TOTAL = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} rows, {elapsed}{postfix}"
_MODEL = "{percentage:3.0f}% |{bar:8}| {desc}"  # the bar first: a narrow terminal cuts the words


def totals(tally: Tally, live: Live) -> str:
    """`1,624.0 rows/s · 12.3ktok/s · 1.25 of 2 CNY · 3 failed · bound by limit`."""
    of_budget = "" if live.budget is None else f" of {_short(live.budget)}"
    costs = [
        f"{_short(to_text(cost))}{of_budget} {currency}" for currency, cost in tally.costs().items()
    ]
    failed = sum(model.failed for model in tally.models.values())
    rates = [f"{live.rows_per_s:,.1f} rows/s", f"{tqdm.format_sizeof(live.tokens_per_s)}tok/s"]
    bound = [f"bound by {live.bound_by}"] if live.bound_by else []
    paused = ["paused"] if live.paused else []
    return " · ".join([*paused, *rates, *costs, f"{failed:,} failed", *bound])


def of_model(model: ModelLive, tally: Tally) -> str:
    """`glm-4-airx: 5/5 in flight, 2.1 rows/s, 2 waiting to retry, 12 refused`."""
    first, *rest = in_flight(model).split(", ")
    words = [first]
    if model.rows_per_s:
        words.append(f"{model.rows_per_s:,.1f} rows/s")
    words += rest
    counts = tally.models.get(model.name)
    if counts is not None and counts.refused:
        words.append(f"{counts.refused:,} refused")
    return f"{model.name}: {', '.join(words)}"


def duration(seconds: float) -> str:
    """`0:31`, `2:05:09`: as a bar shows the time that has passed."""
    return str(tqdm.format_interval(seconds))


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
        self._total = max(self._total, live.rows)
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
        if self._bar is None:
            self._bar = self._line(_TOTAL, total=self._total, initial=self._done, leave=True)
            has_several = len(live.models) > 1
            self._lines = [
                self._line("{desc}"),
                *(
                    self._line(_MODEL, total=model.rows)
                    if has_several and model.rows
                    else self._line("{desc}")
                    for model in live.models
                ),
            ]
        left = live.seconds_left
        self._bar.n, self._bar.total = tally.settled, self._total
        words = "" if left is None else f"{duration(left)} left"
        self._bar.set_postfix_str(words if live.all_rows else SO_FAR, refresh=False)
        self._bar.refresh()
        totals_line, *lines = self._lines
        totals_line.set_description_str(totals(tally, live))
        for line, model in zip(lines, live.models, strict=True):
            line.n = tally.models[model.name].settled if model.name in tally.models else 0
            line.total = model.rows
            line.set_description_str(of_model(model, tally))

    def _line(
        self, bar_format: str, *, total: int = 0, initial: int = 0, leave: bool = False
    ) -> tqdm[Any]:
        """One line, below those that are there."""
        return tqdm(
            total=total,
            initial=initial,
            bar_format=bar_format,
            leave=leave,
            file=self._stream,
            dynamic_ncols=True,
        )

    def _print_line(self, tally: Tally, live: Live) -> None:
        share = tally.settled / self._total if self._total else 1.0
        models = [of_model(model, tally) for model in live.models]
        of = f"({share:.0%})" if live.all_rows else SO_FAR
        words = [f"{tally.settled:,}/{self._total:,} rows {of}", totals(tally, live)]
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


def say_beside_bars(line: str) -> None:
    """A line on stderr, above the bars if there are any; a stream that is gone stops nothing."""
    with suppress(OSError, ValueError), tqdm.external_write_mode(file=sys.stderr):
        print(line, file=sys.stderr, flush=True)
