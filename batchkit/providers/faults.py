"""What the network did to an exchange, as the error that every transport raises for it.

The words are ours or the system's, never an exception's own: those can hold a header with the key.
"""

from __future__ import annotations

import errno
import os

from yarl import URL

from batchkit.providers.transport import TransportError
from batchkit.verdicts import BAD_RESPONSE, CUT_OFF, LOCAL_TROUBLE, TIMED_OUT, UNREACHABLE

_LOCAL = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)  # this machine has run out of something

NO_NAME = "its name does not resolve"
NO_TRUST = "its certificate is not trusted"
NO_HANDSHAKE = "the TLS handshake failed"
NO_PROXY = "the proxy refuses to connect"
NO_TIME = "no connection in time"


def not_sent(target: URL, reason: str | None = None, number: int | None = None) -> TransportError:
    """No connection came about, for `reason` or the system's error `number`."""
    if number in _LOCAL:
        lack = os.strerror(number).lower()
        return TransportError(LOCAL_TROUBLE, f"no connection could be opened: {lack}")
    if reason is None:
        reason = os.strerror(number).lower() if number else "the connection failed"
    return TransportError(UNREACHABLE, f"cannot connect to {target.authority}: {reason}")


def timed_out(timeout_s: float) -> TransportError:
    return TransportError(TIMED_OUT, f"no whole answer within {timeout_s:g} s")


def cut_off() -> TransportError:
    """The request was sent, and the connection was closed before an answer began."""
    return TransportError(CUT_OFF, "the connection was closed before an answer came")


def cut_short() -> TransportError:
    return TransportError(BAD_RESPONSE, "the answer was cut off")


def not_http() -> TransportError:
    return TransportError(BAD_RESPONSE, "the answer is not HTTP")


def too_long(most_bytes: int) -> TransportError:
    return TransportError(BAD_RESPONSE, f"the answer is longer than {most_bytes} bytes")
