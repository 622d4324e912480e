"""Digests by which a request is known again after a kill."""

from __future__ import annotations

import msgspec
import xxhash

from batchkit.document import Document
from batchkit.records import Request

_encode = msgspec.json.Encoder(order="deterministic").encode


def digest(asked: Request | Document) -> int:
    """xxh3_64 of what is asked: model, messages and parameters, whatever the order of their keys.

    A document asks what its chunks ask, and what becomes of their answers. What only travels along
    (id, metadata, kept columns) does not count.
    """
    if isinstance(asked, Request):
        words = _encode((asked.model, asked.messages, asked.params))
    else:
        words = _encode((asked.asks, [digest(chunk) for chunk in asked.chunks]))
    return xxhash.xxh3_64_intdigest(words)


def id_digest(custom_id: str) -> int:
    """xxh3_64 of an id."""
    return xxhash.xxh3_64_intdigest(custom_id.encode())
