"""Where rows come from: files read as a stream, each row with its place, twice over.

First `scan` reads every row once, to plan; then cursors read again only the rows of one model.
"""

from __future__ import annotations

from batchkit.sources.base import Cursor, Raw, Source
from batchkit.sources.opening import open_source

__all__ = ["Cursor", "Raw", "Source", "open_source"]
