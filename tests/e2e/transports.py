"""Every transport there is, under one contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from batchkit.providers.transport import Transport
from batchkit.providers.transports import transport_class
from batchkit.spec import TransportName


class Opens(Protocol):
    """Opens a transport of one kind for the time of a block."""

    def __call__(self, **options: Any) -> AbstractAsyncContextManager[Transport]: ...


def opens(name: TransportName) -> Opens:
    """What opens the transport `name`."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Transport]:
        made = transport_class(name)(**options)
        try:
            yield made
        finally:
            await made.aclose()

    return opened
