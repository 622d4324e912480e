"""How every chart looks and what time is on it, as pieces of Vega-Lite specifications.

Colours are CSS variables (`var(--…)`), so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from batchkit.report.timeline import Timeline
from batchkit.report.words import duration

WIDTH, HEIGHT = 460, 170  # two of them stand beside each other on a desk, one on a phone
_WORDS_MOST = 3  # words at more cuts would run into each other

Spec: TypeAlias = dict[str, Any]


def layered(layers: list[Spec]) -> Spec:
    """A specification of several layers over the same axes."""
    ink, muted, grid = "var(--ink)", "var(--muted)", "var(--grid)"
    axis = {
        "labelColor": muted, "titleColor": muted, "gridColor": grid, "domainColor": grid,
        "tickColor": grid, "titleFontWeight": "normal", "titleFontSize": 11, "labelFontSize": 11,
        "titlePadding": 6,
    }  # fmt: skip
    legend = {"labelColor": ink, "labelFontSize": 11, "symbolType": "square", "symbolSize": 70,
              "labelLimit": 200, "title": None, "orient": "top", "padding": 0, "offset": 6,
              "columnPadding": 18, "symbolOpacity": 1, "symbolStrokeWidth": 0}  # fmt: skip
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": WIDTH,
        "height": HEIGHT,
        "config": {
            "background": "transparent",
            "view": {"stroke": None},
            "axis": axis,
            "axisX": {"grid": False},
            "legend": legend,
        },
        "layer": layers,
    }


def steps(line: Timeline, points: list[tuple[float, float, str]]) -> list[Spec]:
    """Values that hold until the next one, the last until the end."""
    last = {of: y for _, y, of in points}
    ends = [(line.working_s, y, of) for of, y in last.items()]
    return [point_at(line, at_s, y, of) for at_s, y, of in [*points, *ends]]


def point_at(line: Timeline, at_s: float, y: float | None, of: str) -> Spec:
    """A value of the series `of` at a working time."""
    unit, _ = time_unit(line)
    return {"x": at_s / unit, "y": y, "of": of}


def time_unit(line: Timeline) -> tuple[float, str]:
    """In what the axis of time is divided: seconds in a unit, and its word."""
    if line.working_s < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if line.working_s < 3 * 3600 else (3600.0, "hours")


def time_axis(line: Timeline) -> Spec:
    """The x axis over all the time in which somebody worked on the run."""
    unit, word = time_unit(line)
    scale = {"domain": [0, line.working_s / unit], "nice": False}
    axis = {"tickCount": 8, "title": word}
    return {"field": "x", "type": "quantitative", "scale": scale, "axis": axis}


def step_area(opacity: float) -> Spec:
    """An area whose values hold until the next one."""
    return {"type": "area", "interpolate": "step-after", "opacity": opacity, "aria": False}


def legend_for(series: int) -> Spec | None:
    """A legend where there is anything to tell apart."""
    return {} if series > 1 else None


def cut_marks(line: Timeline, *, with_words: bool = True) -> list[Spec]:
    """A mark where nobody ran the run."""
    unit, _ = time_unit(line)
    values = [
        {"x": cut.at_s / unit, "words": f"stopped for {duration(cut.seconds)}"} for cut in line.cuts
    ]
    if not values:
        return []
    x = time_axis(line)
    rule = {"type": "rule", "aria": False, "strokeDash": [2, 3], "color": "var(--muted)"}
    text = {"type": "text", "aria": False, "align": "left", "dx": 4, "fontSize": 10,
            "color": "var(--muted)"}  # fmt: skip
    words: list[Spec] = [
        {"data": {"values": values}, "mark": rule, "encoding": {"x": x}},
    ]
    if with_words and len(values) <= _WORDS_MOST:
        encoding = {"x": x, "y": {"value": 4}, "text": {"field": "words"}}
        words.append({"data": {"values": values}, "mark": text, "encoding": encoding})
    return words
