"""Rows as requests: what a row asks for, checked against what the model and its provider take."""

from __future__ import annotations

from batchkit.errors import RowError
from batchkit.requests.builder import Finish, RequestBuilder, custom_id_of, fits
from batchkit.requests.identity import digest, id_digest, proof

__all__ = [
    "Finish",
    "RequestBuilder",
    "RowError",
    "custom_id_of",
    "digest",
    "fits",
    "id_digest",
    "proof",
]
