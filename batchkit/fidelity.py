"""What a translation must keep of its source, and what it has lost of it. Pure.

A complaint makes a row be asked again and fail, so each rule speaks only when it is sure:

* placeholders, as often as in the source; URLs and e-mail addresses, each at least once: unchanged;
* tags by name and kind, code fences and headings of Markdown: as many as in the source;
* numbers written in digits, of three significant digits or more, as `numerals` reads them: shorter
  ones become words, other units, other clocks, and a year that ends in 0 may name a decade;
* paragraphs: the answer has at least as many lines with text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from batchkit import numerals
from batchkit.schema import Invalid
from batchkit.wording import shown

_SURE = 3  # significant digits from which on a number is expected to stay one
_NAMED = 5  # lost things that a complaint names

_PLACEHOLDER = re.compile(
    r"""
      \{\{ [^{}\n]{1,80} \}\}                       # {{ name }}
    | [$%] \{ [^{}\n]{1,80} \}                      # ${name}, %{name}
    | % \( \w{1,40} \) [diouxXeEfFgGcrsa]           # %(name)s
    | \{ (?:[A-Za-z_][\w.\[\]-]{0,79}|\d{0,3})     # {name}, {0}, {}
         (?:![rsa])? (?::[^{}\s]{0,20})? \}        # {name:.2f}, {0!r}
    | (?<![\d%\w]) % (?:\d+\$)? [-+\#0]* \d*       # %s, %1$s, %05.2f
      (?:\.\d+)? (?:hh?|ll?|z)? [diouxXeEfFgGcs@] (?![A-Za-z])
    """,
    re.VERBOSE | re.ASCII,
)
_URL = re.compile(r"(?:https?|ftp)://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
)
_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]{0,60})((?:\s[^<>]*|/)?)>", re.ASCII)
_MARKDOWN = re.compile(r"^[ \t]{0,3}(```|~~~|#{1,6}(?=\s))", re.MULTILINE)
_AFTER_URL = ".,;:!?)]'*"
_DECADE = re.compile(r"\b(?:1\d|20)\d0(?![\d.,]\d)(?:['’]?s\b)?")  # the 1990s are 九十年代
# Grouped digits, or a fraction that is neither 25.12. nor 17.30 Uhr; anything else may be a date.
_ONE_NUMBER = re.compile(r"\d{1,3}(?:\D\d{3})+(?:[.,]\d+)?|\d{3,}[.,]\d+|\d+[.,]\d{3,}")
_BREAK = re.compile(r"\n[ \t\r]*\n")
_SPACES = re.compile(r"\s+")


class Kind(StrEnum):
    """What can be kept or lost."""

    PLACEHOLDERS = "placeholders"
    NUMBERS = "numbers"
    URLS = "urls"
    TAGS = "tags"
    PARAGRAPHS = "paragraphs"


_WORDS = {
    Kind.PLACEHOLDERS: "placeholders",
    Kind.NUMBERS: "numbers",
    Kind.URLS: "URLs and e-mail addresses",
    Kind.TAGS: "tags and markup",
    Kind.PARAGRAPHS: "paragraphs",
}


class Fidelity:
    """One job's demand on its translations.

    Attributes:
        instruction: what to append to a prompt, the same for every row.
    """

    correction = "Answer again with the whole translation and nothing else, and keep all of it."

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        kept = ", ".join(_WORDS[kind] for kind in Kind if kind in kinds)
        self.instruction = "Answer with the translation and nothing else."
        if kept:
            self.instruction = f"Keep of the text as they are: {kept}. {self.instruction}"

    def read(self, text: str | None, source: str | None) -> Invalid | None:
        """What `text`, an answer, has lost of `source`; None if it is right."""
        if text is None or not text.strip():
            return Invalid("it is empty")
        if source is None:
            return None
        lost = [one for kind in self._kinds for one in _LOST[kind](source, text)]
        if not lost:
            return None
        named = ", ".join(lost[:_NAMED])
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        return Invalid(f"of the source it lacks {named}{more}")


def _placeholders(source: str, answer: str) -> Iterable[str]:
    squeezed = _SPACES.sub("", answer)
    wanted = Counter(_SPACES.sub("", match[0]) for match in _PLACEHOLDER.finditer(source))
    return [shown(one) for one, count in wanted.items() if squeezed.count(one) < count]


def _urls(source: str, answer: str) -> Iterable[str]:
    wanted = [url.rstrip(_AFTER_URL) for url in _URL.findall(source)]
    wanted += _EMAIL.findall(_URL.sub(" ", source))
    return [shown(one) for one in dict.fromkeys(wanted) if one not in answer]


def _tags(source: str, answer: str) -> Iterable[str]:
    return [shown(one) for one in (_markup(source) - _markup(answer))]


def _markup(text: str) -> Counter[str]:
    tags = (f"<{slash}{name.lower()}>" for slash, name, _ in _TAG.findall(text))
    return Counter([*tags, *_MARKDOWN.findall(text)])


def _numbers(source: str, answer: str) -> Iterable[str]:
    source = numerals.plain(source)
    for pattern in (_URL, _EMAIL, _PLACEHOLDER, _TAG, _DECADE):
        source = pattern.sub(" ; ", source)
    there = numerals.numbers_in(answer)
    wanted = dict.fromkeys(match[0] for match in numerals.WRITTEN.finditer(source))
    return [shown(one) for one in wanted if not _is_there(one, there)]


def _is_there(written: str, there: set[str]) -> bool:
    digits = numerals.significant(written)
    if len(digits) < _SURE or digits in there:
        return True
    excused = 0 if _ONE_NUMBER.fullmatch(written) else _SURE  # digits
    runs = numerals.pieces(written)
    return len(runs) > 1 and all(len(run) < excused or run in there for run in runs)


def _paragraphs(source: str, answer: str) -> Iterable[str]:
    wanted = sum(1 for part in _BREAK.split(source) if part.strip())
    lines = sum(1 for line in answer.splitlines() if line.strip())
    return [f"{wanted - lines} of {wanted} paragraphs"] if lines < wanted else []


_LOST: dict[Kind, Callable[[str, str], Iterable[str]]] = {
    Kind.PLACEHOLDERS: _placeholders,
    Kind.NUMBERS: _numbers,
    Kind.URLS: _urls,
    Kind.TAGS: _tags,
    Kind.PARAGRAPHS: _paragraphs,
}
