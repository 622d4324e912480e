"""Text as it is compared: what readers take for the same is the same."""

from __future__ import annotations

import re
import unicodedata

# Soft hyphen, joiners, marks of direction and of byte order: they show nothing.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def normal(text: str) -> str:
    """`text` with case, width, runs of spaces and invisible characters set aside."""
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())
    return " ".join(text.lower().split())
