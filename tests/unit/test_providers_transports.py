from __future__ import annotations

from importlib.machinery import ModuleSpec

import pytest

from batchkit.errors import UsageError
from batchkit.providers import transports
from batchkit.providers.aiohttp_transport import AiohttpTransport
from batchkit.providers.transports import check_transport, transport_class
from batchkit.spec import TransportName


def only_aiohttp(name: str) -> ModuleSpec | None:
    return ModuleSpec(name, None) if name == "aiohttp" else None


def test_a_transport_that_is_not_installed_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transports, "find_spec", only_aiohttp)
    with pytest.raises(UsageError) as caught:
        check_transport(TransportName.HTTPTOOLS)
    assert str(caught.value) == (
        "--transport: httptools is not installed; pip install 'batchkit[fast]'"
    )


def test_aiohttp_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transports, "find_spec", only_aiohttp)
    check_transport(TransportName.AIOHTTP)
    assert transport_class(TransportName.AIOHTTP) is AiohttpTransport
