"""Numbers, durations and untrusted texts as a reader of the report sees them."""

from __future__ import annotations

import re

from batchkit.providers.untrusted import whole

# What would reorder the text around it (UAX #9, embeddings, overrides and isolates), and what HTML
# cannot hold (controls, NUL above all). Shown by its number instead.
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def number(value: float) -> str:
    """`1,234` or `12.3`: three figures are enough where a value is not a count."""
    if isinstance(value, int) or abs(value) >= 1000 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.3g}"


def duration(seconds: float) -> str:
    """`0.83 s`, `4 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    for unit, name, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= unit:
            whole_, rest = divmod(round(seconds / smaller), unit // smaller)
            return f"{whole_:,} {name} {rest} {small}" if rest else f"{whole_:,} {name}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def plain(text: object) -> str:
    """`text` fit for a page: characters that would act are shown by their numbers, `[U+202E]`.

    Half a surrogate pair, which UTF-8 cannot hold, is replaced.
    """
    line = whole(str(text)).replace("\r\n", "\n")
    return _ACTING.sub(lambda found: f"[U+{ord(found[0]):04X}]", line)
