"""What is drawn, as Vega-Lite specifications over values from the facts.

Texts that come from outside (names of models) are values, never a part of a specification's words.
"""

from __future__ import annotations

import msgspec

from batchkit.accounting import PICO
from batchkit.report.bins import Spread
from batchkit.report.canvas import (
    Spec,
    cut_marks,
    layered,
    legend_for,
    point_at,
    step_area,
    steps,
    time_axis,
)
from batchkit.report.facts import Facts, together
from batchkit.report.timeline import Timeline
from batchkit.report.words import duration, number

BARS = 60
_MARKS_APART = 40  # more than that would run into each other
_SERIES = [f"var(--series-{n})" for n in range(1, 8)]
_SHARES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))


class Chart(msgspec.Struct, frozen=True):
    """A drawing with its words: the title says what is seen, the description tells it unseen."""

    title: str
    description: str
    spec: Spec


def over_time(facts: Facts) -> list[Chart]:
    """Throughput, and for each model what was in flight and what might have been."""
    line = facts.timeline
    if not line.points:
        return []
    found = dict.fromkeys(point.model for point in line.points)
    busy = [name for name in facts.models if name in found]
    return [_throughput(line, list(found)), *(_in_flight(line, name) for name in busy)]


def distributions(facts: Facts) -> list[Chart]:
    """How long answers took, and rows to settle."""
    latency, settling = together(facts.latency), together(facts.settling)
    return [
        _distribution(spread, title)
        for spread, title in (
            (latency, "Latency of answers"),
            (settling, "From first dispatch to settled, per row"),
        )
        if spread.counts
    ]


def spending(facts: Facts) -> list[Chart]:
    """Tokens per second, and money spent so far, a chart per currency."""
    line = facts.timeline
    if not line.points:
        return []
    charts = [_tokens(line)]
    currencies = {name: model.currency or "" for name, model in facts.summary.models.items()}
    for currency in facts.summary.costs:
        names = [name for name, own in currencies.items() if own == currency]
        if any(point.cost for point in line.points if point.model in names):
            charts.append(_cost(line, names, currency))
    return charts


def _throughput(line: Timeline, models: list[str]) -> Chart:
    up = steps(line, [(p.at_s, p.answered, p.model) for p in line.points])
    names = [*models]
    down = []
    for name in ("refused", "failed"):
        below: dict[float, float] = {}
        for p in line.points:
            below[p.at_s] = below.get(p.at_s, 0.0) - getattr(p, name)
        if any(below.values()):
            names.append(name)
            down += steps(line, [(at_s, y, name) for at_s, y in below.items()])
    colours = {"refused": "var(--bad)", "failed": "var(--warn)"}
    scale = {
        "domain": names,
        "range": [colours.get(name) or _SERIES[n % 7] for n, name in enumerate(names)],
    }
    axis = {"labelExpr": "format(abs(datum.value), ',~r')", "tickCount": 5}
    y = {"field": "y", "type": "quantitative", "stack": "zero", "axis": axis, "title": "per second"}
    color = {"field": "of", "scale": scale, "sort": names, "legend": legend_for(len(names))}
    encoding = {"x": time_axis(line), "y": y, "color": color}
    layers = [
        {"data": {"values": values}, "mark": step_area(0.85), "encoding": encoding}
        for values in (up, down)
        if values
    ]
    answers = sum(p.answered for p in line.points) * line.width_s
    refused = sum(p.refused for p in line.points) * line.width_s
    return Chart(
        "Answers per second" + (", and below zero what was refused or failed" if down else ""),
        f"{number(round(answers))} answers and {number(round(refused))} refusals "
        f"in {duration(line.working_s)}.",
        layered([*layers, *cut_marks(line)]),
    )


def _in_flight(line: Timeline, model: str) -> Chart:
    points = [point for point in line.points if point.model == model]
    flying = steps(line, [(p.at_s, p.in_flight, "in flight") for p in points])
    known = [(p, p.limit) for p in points if p.limit is not None]
    limit = steps(line, [(p.at_s, most, "limit") for p, most in known])
    middle_s = line.width_s / 2
    refused = [point_at(line, p.at_s + middle_s, most, "refused") for p, most in known if p.refused]
    size = 36 if len(refused) < _MARKS_APART else 12
    names = ["in flight", "limit", *(["refused"] if refused else [])]
    scale = {
        "domain": names,
        "range": ["var(--series-1)", "var(--ink)", "var(--bad)"][: len(names)],
    }
    color = {"field": "of", "scale": scale, "sort": names, "legend": legend_for(len(names))}
    y = {"field": "y", "type": "quantitative", "title": "requests", "axis": {"tickCount": 5}}
    encoding = {"x": time_axis(line), "y": y, "color": color}
    marks = [
        (flying, step_area(0.45)),
        (limit, {"type": "line", "interpolate": "step-after", "strokeWidth": 1.5}),
        (refused, {"type": "point", "shape": "triangle-down", "filled": True, "size": size,
                   "opacity": 1, "yOffset": -7}),
    ]  # fmt: skip
    layers = [
        {"data": {"values": values}, "mark": mark | {"aria": False}, "encoding": encoding}
        for values, mark in marks
        if values
    ]
    most = max((point.limit or 0 for point in points), default=0)
    mean = sum(point.in_flight for point in points) / len(points)
    return Chart(
        f"{model}: in flight and limit",
        f"On average {number(mean)} requests in flight; the limit was at most {number(most)}; "
        f"{number(len(refused))} of {number(len(points))} slices of {duration(line.width_s)} "
        "had refusals.",
        layered([*layers, *cut_marks(line, with_words=False)]),
    )


def _tokens(line: Timeline) -> Chart:
    kinds = {"prompt": "prompt", "cached": "prompt, cached", "completion": "answers"}
    names = list(kinds.values())
    sums: dict[tuple[float, str], float] = {}
    for p in line.points:
        for field, name in kinds.items():
            sums[p.at_s, name] = sums.get((p.at_s, name), 0.0) + getattr(p, field)
    values = steps(line, [(at_s, y, name) for (at_s, name), y in sums.items()])
    if not any(point.cached for point in line.points):
        names.remove("prompt, cached")
        values = [value for value in values if value["of"] in names]
    scale = {"domain": names, "range": _SERIES[: len(names)]}
    encoding = {
        "x": time_axis(line),
        "y": {"field": "y", "type": "quantitative", "stack": "zero",
              "title": "tokens per second", "axis": {"format": "~s", "tickCount": 5}},
        "color": {"field": "of", "scale": scale, "sort": names, "legend": legend_for(len(names))},
    }  # fmt: skip
    layer = {"data": {"values": values}, "mark": step_area(0.85), "encoding": encoding}
    total = sum(p.prompt + p.cached + p.completion for p in line.points) * line.width_s
    return Chart(
        "Tokens per second",
        f"{number(round(total))} tokens in {duration(line.working_s)}.",
        layered([layer, *cut_marks(line)]),
    )


def _cost(line: Timeline, models: list[str], currency: str) -> Chart:
    points = [(p.at_s, p.cost / PICO, p.model) for p in line.points if p.model in models]
    values = steps(line, points)
    names = list(dict.fromkeys(value["of"] for value in values))
    scale = {"domain": names, "range": _SERIES[: len(names)]}
    encoding = {
        "x": time_axis(line),
        "y": {"field": "y", "type": "quantitative", "stack": "zero", "title": currency,
              "axis": {"tickCount": 5}},
        "color": {"field": "of", "scale": scale, "sort": names, "legend": legend_for(len(names))},
    }  # fmt: skip
    layer = {"data": {"values": values}, "mark": step_area(0.85), "encoding": encoding}
    last = {value["of"]: value["y"] for value in values}
    return Chart(
        f"Spent so far, {currency}",
        f"{sum(last.values()):.4g} {currency} at the end.",
        layered([layer, *cut_marks(line)]),
    )


def _distribution(spread: Spread, title: str) -> Chart:
    bars = [{"from": low, "to": high, "n": n} for low, high, n in spread.coarse(BARS)]
    marks = [
        {"at": value, "words": f"{word} {duration(value)}", "line": place}
        for place, (share, word) in enumerate(_SHARES)
        if (value := spread.quantile(share)) is not None
    ]
    domain = [bars[0]["from"], bars[-1]["to"]]
    axis = {"title": "seconds", "format": "~g", "tickCount": 6, "grid": False}
    x = {"field": "from", "type": "quantitative", "axis": axis,
         "scale": {"type": "log", "domain": domain, "nice": False}}  # fmt: skip
    y = {"field": "n", "type": "quantitative", "axis": {"tickCount": 4}, "title": "count"}
    at = x | {"field": "at"}
    layers: list[Spec] = [
        {"data": {"values": bars},
         "mark": {"type": "rect", "aria": False, "stroke": "var(--card)", "strokeWidth": 0.5},
         "encoding": {"x": x, "x2": {"field": "to"}, "y": y, "y2": {"datum": 0},
                      "color": {"value": "var(--series-1)"}}},
        {"data": {"values": marks},
         "mark": {"type": "rule", "aria": False, "strokeDash": [3, 3]},
         "encoding": {"x": at, "color": {"value": "var(--ink)"}}},
        {"data": {"values": marks},
         "mark": {"type": "text", "aria": False, "align": "left", "dx": 4, "fontSize": 11},
         "encoding": {"x": at, "text": {"field": "words"}, "color": {"value": "var(--ink)"},
                      "y": {"field": "line", "type": "quantitative", "axis": None,
                            "scale": {"domain": [-0.5, 12], "reverse": True}}}},
    ]  # fmt: skip
    told = ", ".join(str(mark["words"]) for mark in marks)
    spec = layered(layers) | {"resolve": {"scale": {"y": "independent"}}}
    return Chart(title, f"{number(spread.total)} values: {told}.", spec)
