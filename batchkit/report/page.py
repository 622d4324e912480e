"""The page: facts and drawings in one file that runs and loads nothing but its own few lines.

Every text goes through Jinja2's autoescape and `words.plain`, save this package's own style and
script and the drawings, which `plots` has checked; none is ever put into script or style. The
Content-Security-Policy allows this file's style and script by their hashes and nothing else: were a
text to become markup after all, it could neither run nor fetch.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import jinja2

from batchkit.accounting import to_text
from batchkit.report.charts import Chart
from batchkit.report.facts import Facts
from batchkit.report.words import duration, number, plain
from batchkit.summary import ModelSummary, as_lines

Drawing = tuple[Chart, str]  # and its SVG

_QUANTILES = (0.5, 0.9, 0.99)


def page(facts: Facts, drawings: Mapping[str, Sequence[Drawing]]) -> str:
    """`report.html`; `drawings` are SVG elements of `plots`, under the name of their section."""
    style, script = _file("page.css"), _file("page.js")
    return _template().render(
        facts=facts,
        summary=facts.summary,
        lines=as_lines(facts.summary),
        drawings=drawings,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        speeds=_speeds(facts),
        tries=_tries(facts),
        per_thousand=_per_thousand,
        asked_again=[one for one in facts.troubles if one.exchanges],
    )


def _per_thousand(model: ModelSummary) -> str | None:
    """What a thousand settled rows of a model cost, rounded."""
    rows = model.ok + model.failed
    if not rows or model.cost is None:
        return None
    return f"{float(model.cost) * 1000 / rows:.4g} {model.currency}"


def _speeds(facts: Facts) -> list[dict[str, Any]]:
    """Quantiles of latency and settling, a line per model."""
    models = list(dict.fromkeys((*facts.models, *facts.latency, *facts.settling)))
    return [
        {
            "model": model,
            "latency": _quantiles(facts, "latency", model),
            "settling": _quantiles(facts, "settling", model),
        }
        for model in models
        if model in facts.latency or model in facts.settling
    ]


def _quantiles(facts: Facts, which: str, model: str) -> list[float | None]:
    spread = (facts.latency if which == "latency" else facts.settling).get(model)
    return [spread.quantile(share) if spread is not None else None for share in _QUANTILES]


def _tries(facts: Facts) -> list[tuple[str, int, float]]:
    """(exchanges, rows, share) for rows of one, two, three exchanges, and more."""
    rows = sum(facts.tries.values())
    few = [(str(tries), facts.tries.get(tries, 0)) for tries in range(4)]
    more = [("4 and more", sum(n for tries, n in facts.tries.items() if tries > 3))]
    return [(words, count, count / rows) for words, count in [*few, *more] if count]


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "duration": lambda value: "–" if value is None else duration(value),
        "money": to_text,
        "share": lambda value: f"{value:.1%}",
        "time": _time,
        "iso": lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds"),
    }
    return environment.from_string(_file("page.html.jinja"))


def _shown(value: Any) -> Any:
    if value is None:
        return "–"
    return value if isinstance(value, int | float) or hasattr(value, "__html__") else plain(value)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _file(name: str) -> str:
    return (files("batchkit.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline style or script by (CSP Level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
