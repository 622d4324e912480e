"""What an admitted request is answered with, where its bytes alone tell: pure, without HTTP."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from batchkit.simulator import wire
from batchkit.simulator.faults import Mode
from batchkit.simulator.provider_errors import ErrorAnswer, error_answer
from batchkit.simulator.wire import Dialect, Reply

_NOT_JSON = b"upstream connect error or disconnect/reset before headers"
_BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class Payload(msgspec.Struct, frozen=True):
    """A response as values."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    location: str | None = None


_BODIES: dict[str | None, Callable[[Reply], bytes]] = {
    None: wire.completion,
    Mode.SLOW: wire.completion,
    Mode.PROSE: wire.completion,
    Mode.CUT: wire.completion,
    Mode.NETWORK_ERROR: lambda reply: wire.broken_off(reply, Mode.NETWORK_ERROR),
    Mode.SENSITIVE: lambda reply: wire.broken_off(reply, Mode.SENSITIVE),
    Mode.EMPTY: wire.without_choices,
    Mode.NONJSON: lambda _: _NOT_JSON,
    Mode.SUCCESS_FALSE: lambda _: wire.unsuccessful(),
}
"""Bodies that come with HTTP 200, by fault."""


def payload(reply: Reply, fault: str | None, dialect: Dialect, *, int_codes: bool) -> Payload:
    """The response that `fault` makes of `reply`; without a fault, the answer."""
    if fault in _BODIES:
        return Payload(_BODIES[fault](reply))
    if fault == Mode.HTML502:
        return Payload(_BAD_GATEWAY, 502, "text/html")
    if fault == Mode.REDIRECT:
        return Payload(b"", 307, location="/elsewhere")
    code = "1301" if fault == Mode.FILTERED else str(fault)
    error = error_answer(code, reply.call.digest, model=reply.call.model.name)
    return error_payload(error, dialect, int_codes=int_codes)


def error_payload(error: ErrorAnswer, dialect: Dialect, *, int_codes: bool) -> Payload:
    """The response that tells of `error`."""
    status, body = wire.error_body(error, dialect, int_codes=int_codes)
    return Payload(body, status)
