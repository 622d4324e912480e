"""Addresses of endpoints, and the proxies that the environment puts before them."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from yarl import URL

from batchkit.providers.transport import TransportError
from batchkit.verdicts import UNREACHABLE


class Target:
    """Where a POST goes: the address, and the proxy before it if there is one.

    Raises `TransportError` for what is no address. With `trust_env` the proxy is the one that the
    environment names for this address.
    """

    __slots__ = ("address", "proxy")

    def __init__(self, url: str, *, trust_env: bool) -> None:
        try:
            self.address = _address(url)
            self.proxy = _proxy_of(self.address) if trust_env else None
        except ValueError:
            words = "the endpoint, or the proxy before it, is not an address"
            raise TransportError(UNREACHABLE, words) from None


def _address(text: str) -> URL:
    address = URL(text)
    (address.raw_host or "").encode("idna")  # as a look-up does, where it would raise uncaught
    return address


def _proxy_of(address: URL) -> URL | None:
    proxy = getproxies().get(address.scheme)
    if not proxy or proxy_bypass(address.host_port_subcomponent or ""):
        return None
    return _address(proxy)
