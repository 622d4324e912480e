"""Puts `report.html` into a run's folder, whole from the moment it is there."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from batchkit.report.charts import distributions, over_time, spending
from batchkit.report.page import page
from batchkit.report.plots import draw, library
from batchkit.report.reading import read_facts


def write_report(folder: Path, version: str) -> Path:
    """Write the report of the run in `folder`; where it is.

    Raises `UsageError` if there is no run or no plotting library, `OSError` if the file
    cannot be written.
    """
    library()  # before a long pass over the rows
    facts = read_facts(folder, version)
    charts = {"time": over_time(facts), "speed": distributions(facts), "cost": spending(facts)}
    drawings = {
        section: [(chart, draw(chart, f"{section}-{n}")) for n, chart in enumerate(found)]
        for section, found in charts.items()
    }
    return _put(folder / "report.html", page(facts, drawings))


def _put(path: Path, text: str) -> Path:
    """Two that are written at once do not mix: each is a file of its own until it is whole."""
    descriptor, name = tempfile.mkstemp(prefix=".report-", suffix=".tmp", dir=path.parent)
    unfinished = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            file.write(text)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    return path
