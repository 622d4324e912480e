"""Only shapes and text of a drawing go into the page, whatever the library gives back."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from batchkit.report import plots
from batchkit.report.canvas import layered
from batchkit.report.charts import Chart, distributions, over_time, spending
from batchkit.report.reading import read_facts
from tests.report.made import make_run
from tests.report.test_reading import some_rows

pytest.importorskip("vl_convert")


class Library:
    """A plotting library that draws what it was told."""

    def __init__(self, svg: str) -> None:
        self._svg = svg

    def vegalite_to_svg(self, _spec: Any) -> str:
        return self._svg


def test_what_could_run_or_load_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" viewBox="0 0 9 9"'
        ' onload="x()"><script>x()</script><g clip-path="url(#clip)" style="fill:red">'
        '<a href="https://example.com/"><path d="M0,0"/></a>'
        '<image href="https://example.com/a.png"/><foreignObject><b>x</b></foreignObject>'
        '<text x="1" onclick="x()">&lt;b&gt; &amp;</text></g>'
        '<defs><clipPath id="clip"><rect width="9"/></clipPath></defs></svg>'
    )
    monkeypatch.setattr(plots, "library", lambda: Library(svg))
    assert plots.draw(Chart('T"', "d<", {}), "time-0") == (
        '<svg viewBox="0 0 9 9" role="img" aria-label="T&quot;. d&lt;">'
        '<g clip-path="url(#time-0-clip)"><text x="1">&lt;b&gt; &amp;</text></g>'
        '<defs><clipPath id="time-0-clip"><rect width="9"></rect></clipPath></defs></svg>'
    )


def test_every_chart_is_drawn_with_the_pages_colours(tmp_path: Path) -> None:
    settled, earlier = some_rows(60)
    facts = read_facts(make_run(tmp_path / "run", settled, earlier), "0")
    charts = [*over_time(facts), *distributions(facts), *spending(facts)]
    assert [chart.title for chart in charts] == [
        "Answers per second, and below zero what was refused or failed",
        *(f"{name}: in flight and limit" for name in facts.models),
        "Latency of answers",
        "From first dispatch to settled, per row",
        "Tokens per second",
        "Spent so far, CNY",
    ]
    for chart in charts:
        root = ET.fromstring(plots.draw(chart, "c"))  # noqa: S314  # drawn a moment ago
        painted = {
            value
            for element in root.iter()
            for key, value in element.attrib.items()
            if key in {"fill", "stroke"} and value not in {"none", "transparent"}
        }
        assert painted
        assert all(value.startswith("var(--") for value in painted), painted


def test_an_empty_specification_is_a_drawing_too() -> None:
    assert plots.draw(Chart("t", "d", layered([])), "c").startswith("<svg ")
