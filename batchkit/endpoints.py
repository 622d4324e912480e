"""Where each model is asked and with which key: names and environment in, addresses out."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from batchkit.errors import UsageError
from batchkit.models import Model
from batchkit.option_checks import check_url
from batchkit.providers.codec import Dialect, dialect_of
from batchkit.spec import BIGMODEL, Spec

GLM_KEYS = ("ZAI_API_KEY", "ZHIPUAI_API_KEY")
SIMULATED_KEY = "simulated.key"  # the simulator, like the service, wants one of this shape


class Endpoint(msgspec.Struct, frozen=True):
    """An address, how it speaks, and the key for it."""

    url: str
    dialect: Dialect
    key: str | None  # never shown
    key_env: str  # the variable to name when the key is refused

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.dialect!r}, key from {self.key_env})"


def resolve(spec: Spec, model: Model, environ: Mapping[str, str], served: str | None) -> Endpoint:
    """The endpoint of `model`; `served` is the address of a server that this process runs.

    Raises `UsageError` if a key is needed and there is none.
    """
    if served is not None:
        key = SIMULATED_KEY if spec.endpoint == "sim" else None
        return Endpoint(served, _dialect(spec, served), key, "the environment")
    if model.endpoint is not None:
        check_url(model.endpoint, f"{model.name}: endpoint")
    url = address_of(spec, model)
    names = _key_names(spec, model, url)
    for name in names:
        key = environ.get(name, "").strip()
        if key:
            _check_key(key, name)
            return Endpoint(url, _dialect(spec, url), key, name)
    if not is_loopback(url):
        raise UsageError(_no_key(names, model.name, url))
    return Endpoint(url, _dialect(spec, url), None, names[0])


def address_of(spec: Spec, model: Model) -> str:
    """The address of `model`'s endpoint, unless this process serves it."""
    return (model.endpoint or (BIGMODEL if spec.endpoint == "bigmodel" else spec.endpoint)).rstrip(
        "/"
    )


def likely_dialect(spec: Spec, model: Model) -> Dialect:
    """How the endpoint of `model` will speak: decides how strictly its rows are checked."""
    if spec.endpoint in {"bigmodel", "sim"} and model.endpoint is None:
        return _dialect(spec, BIGMODEL)
    return _dialect(spec, model.endpoint or spec.endpoint)


def is_loopback(url: str) -> bool:
    """Whether `url` is an address of this machine that nothing outside can reach."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _dialect(spec: Spec, url: str) -> Dialect:
    if spec.dialect is None:
        return dialect_of(url)
    try:
        return Dialect(spec.dialect)
    except ValueError:
        raise UsageError(
            f"--dialect: expected one of {', '.join(Dialect)}, got {spec.dialect!r}"
        ) from None


def _key_names(spec: Spec, model: Model, url: str) -> tuple[str, ...]:
    if model.endpoint is not None and model.api_key_env is not None:
        return (model.api_key_env,)
    if spec.api_key_env is not None:
        return (spec.api_key_env,)
    return GLM_KEYS if url == BIGMODEL else (*GLM_KEYS, "OPENAI_API_KEY")


def _check_key(key: str, name: str) -> None:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{name}: the key has spaces or characters that no key has; set it again")


def _no_key(names: tuple[str, ...], model: str, url: str) -> str:
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{model}: no key for {url}: {' and '.join(names)} {verb} not set; set one "
        f"(export {names[0]}=…), or try without: --endpoint sim (a simulated service) "
        "or --endpoint local (a small real model on this machine)"
    )
