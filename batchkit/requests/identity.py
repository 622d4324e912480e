"""Digests by which a request is known again after a kill."""

from __future__ import annotations

import msgspec
import xxhash

from batchkit.records import Request

_encode = msgspec.json.Encoder(order="deterministic").encode


def digest(request: Request) -> int:
    """xxh3_64 of what is asked: model, messages and parameters, whatever the order of their keys.

    What only travels along (id, metadata, kept columns) does not count.
    """
    asked = _encode((request.model, request.messages, request.params))
    return xxhash.xxh3_64_intdigest(asked)


def id_digest(custom_id: str) -> int:
    """xxh3_64 of an id."""
    return xxhash.xxh3_64_intdigest(custom_id.encode())
