"""Draws charts: Vega-Lite as SVG, by vl-convert.

What comes back is checked: only shapes and text go into the page, nothing that could run or load.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from batchkit.errors import UsageError
from batchkit.report.charts import Chart

_ELEMENTS = frozenset({"svg", "g", "path", "rect", "line", "text", "tspan", "defs", "clipPath"})
_HARMLESS = frozenset(
    {
        "class", "clip-path", "d", "display", "dx", "dy", "fill", "fill-opacity", "font-family",
        "font-size", "font-style", "font-weight", "height", "id", "opacity", "stroke",
        "stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin",
        "stroke-miterlimit", "stroke-opacity", "stroke-width", "text-anchor", "transform",
        "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2",
    }
)  # fmt: skip


def draw(chart: Chart, name: str) -> str:
    """The chart as one `<svg>` element; `name` keeps its inner names apart from other charts'.

    Raises `UsageError` if the plotting library is not installed.
    """
    svg: str = library().vegalite_to_svg(chart.spec)
    root = ET.fromstring(svg)  # noqa: S314  # written by the library, not by a stranger
    _keep_shapes(root, f"{name}-")
    del root.attrib["width"], root.attrib["height"]  # the page decides
    root.attrib.pop("class", None)
    root.attrib |= {"role": "img", "aria-label": f"{chart.title}. {chart.description}"}
    return ET.tostring(root, encoding="unicode", short_empty_elements=False)


def library() -> Any:
    """The plotting library; raises `UsageError` if it is not installed.

    It is an extra: it weighs 85 MB, and a run does not need it.
    """
    try:
        import vl_convert  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            "vl-convert-python: not installed, and it draws the report; "
            "pip install 'batchkit[report]'"
        ) from error
    return vl_convert


def _keep_shapes(element: ET.Element, prefix: str) -> None:
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = {
        key: _renamed(key, value, prefix)
        for key, value in element.attrib.items()
        if key in _HARMLESS
    }
    for child in list(element):
        if child.tag.rpartition("}")[2] in _ELEMENTS:
            _keep_shapes(child, prefix)
        else:
            element.remove(child)


def _renamed(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    return value.replace("url(#", f"url(#{prefix}") if key == "clip-path" else value
