"""Puts requests that begin alike near each other, so that the provider's context cache serves them.

The cache holds what prompts begin with; it is filled by the first of them, some time after it was
sent, and forgets. So the first of each group goes ahead of the others, by as many requests as it
takes until it was answered, and the rest follows group by group: few groups are under way at once.
What is given comes back in another order, nothing waits: a row is held up by the rows that were
given with it, and by no other. Groups, and the rows of one, keep the order in which they came.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import accumulate

import xxhash

from batchkit.document import Document, first_of
from batchkit.records import Request
from batchkit.tokens import texts

_LEAST = 1024  # characters alike, some 250 tokens; below it a hit saves next to nothing
_DOUBLINGS = 10  # of that length: 1 MiB of characters is more than a context
WINDOW = 4096  # rows that are ordered together
_WARM_MOST = 64  # prefixes that are taken to be in the cache still


class PrefixOrder:
    """Orders one lane's rows, batch by batch."""

    def __init__(self, lead: int) -> None:
        """The first of a group goes ahead by `lead` rows."""
        self._lead = lead
        self._warm: OrderedDict[int, None] = OrderedDict()  # by when they were last sent

    def order(self, rows: Sequence[Request | Document]) -> list[Request | Document]:
        """`rows` with those near each other that share the most."""
        keys = _groups([_beginnings(first_of(asked)) for asked in rows])
        members: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            members.setdefault(_alone(at) if key is None else key, []).append(at)
        places: list[tuple[int, bool, int]] = []  # (when, not ahead, which)
        for key, group in members.items():
            when = len(places)
            places += [(when + n, True, at) for n, at in enumerate(group)]
            if key >= 0 and key not in self._warm:
                places[when] = (when - self._lead, False, group[0])
            if key >= 0:
                self._note(key)
        places.sort()
        return [rows[at] for *_, at in places]

    def _note(self, key: int) -> None:
        self._warm[key] = None
        self._warm.move_to_end(key)
        if len(self._warm) > _WARM_MOST:
            self._warm.popitem(last=False)


def _alone(at: int) -> int:
    """A key that no digest is."""
    return -1 - at


def _beginnings(request: Request) -> list[int]:
    """Digests of the prompt's first 1024 characters, its first 2048, and so on."""
    text = "\0".join(texts(request.messages))
    lengths = [_LEAST << n for n in range(_DOUBLINGS) if _LEAST << n <= len(text)]
    pieces = (
        text[begin:end].encode("utf-8", "surrogatepass")
        for begin, end in zip([0, *lengths], lengths, strict=False)
    )
    return list(accumulate(pieces, _continued, initial=0))[1:]


def _continued(digest: int, piece: bytes) -> int:
    return xxhash.xxh3_64_intdigest(piece, digest)


def _groups(beginnings: Sequence[Sequence[int]]) -> list[int | None]:
    """For each row the longest beginning that it shares with another; None if it shares none."""
    count = Counter(digest for digests in beginnings for digest in digests)
    return [
        next((digest for digest in reversed(digests) if count[digest] > 1), None)
        for digests in beginnings
    ]
