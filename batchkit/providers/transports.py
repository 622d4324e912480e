"""Which transports there are: aiohttp, and what the extra `fast` brings."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from batchkit.errors import UsageError
from batchkit.providers.transport import MOST_ANSWER_BYTES, Transport
from batchkit.spec import TransportName


class TransportClass(Protocol):
    """What makes a transport, inside the event loop that will use it."""

    def __call__(
        self, *, trust_env: bool = False, most_answer_bytes: int = MOST_ANSWER_BYTES
    ) -> Transport: ...


def check_transport(name: TransportName) -> None:
    """Raise `UsageError` if the library behind `name` is not installed."""
    if find_spec(name.value) is None:
        raise UsageError(
            f"--transport: {name.value} is not installed; pip install 'batchkit[fast]'"
        )


def transport_class(name: TransportName) -> TransportClass:
    """The transport `name`, of which `check_transport` has said that it is there."""
    # Each imports its library, and only one of them is needed.
    if name is TransportName.HTTPTOOLS:
        from batchkit.providers.httptools_transport import HttptoolsTransport  # noqa: PLC0415

        return HttptoolsTransport
    from batchkit.providers.aiohttp_transport import AiohttpTransport  # noqa: PLC0415

    return AiohttpTransport
