"""Which Authorization headers the service accepts: a plain key, or the older signed token.

A key is `<id>.<secret>`. The older token is a JWT (HS256, `sign_type` SIGN) over `api_key`, `exp`
and `timestamp`, both in milliseconds; an `exp` in seconds therefore lies in 1970 and is expired.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Annotated

import msgspec

MISSING, MALFORMED, EXPIRED, UNKNOWN = "1001", "1002", "1003", "1000"


class _Header(msgspec.Struct):
    alg: str
    sign_type: str


class _Payload(msgspec.Struct):
    api_key: Annotated[str, msgspec.Meta(min_length=1)]
    exp: int  # milliseconds since the epoch
    timestamp: int


def refused_key(header: str | None, keys: tuple[str, ...], now: float) -> str | None:
    """The code that refuses `header`, or None; with no `keys` every well-formed one is accepted."""
    if header is None:
        return MISSING
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.isascii() or token != token.strip():
        return MALFORMED
    match token.split("."):
        case [name, secret] if name and secret:
            return UNKNOWN if keys and token not in keys else None
        case [head, payload, signature] if head and payload and signature:
            return _refused_token(head, payload, signature, keys, now)
        case _:
            return MALFORMED


def _refused_token(
    head: str, payload: str, signature: str, keys: tuple[str, ...], now: float
) -> str | None:
    try:
        header = msgspec.json.decode(_base64(head), type=_Header)
        claims = msgspec.json.decode(_base64(payload), type=_Payload)
        given = _base64(signature)
    except ValueError:  # not base64, not JSON, or a field is missing: all are ValueErrors
        return MALFORMED
    if header.alg != "HS256" or header.sign_type != "SIGN":
        return MALFORMED
    secrets = dict(key.split(".", 1) for key in keys if "." in key)
    if keys:
        secret = secrets.get(claims.api_key)
        if secret is None:
            return UNKNOWN
        expected = hmac.digest(secret.encode(), f"{head}.{payload}".encode(), hashlib.sha256)
        if not hmac.compare_digest(given, expected):
            return UNKNOWN
    return EXPIRED if claims.exp < now * 1000 else None


def _base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
