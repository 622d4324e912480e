"""The command line of `batchkit simulate`: its options, and what they start."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from batchkit.errors import UsageError
from batchkit.models import Tier, builtin_models, read_models
from batchkit.simulator.options import SimulatorOptions

Value = TypeVar("Value")

_DEFAULTS = SimulatorOptions()
_NUMBERS: dict[str, tuple[type[int | float], str, str]] = {
    "seed": (int, "N", "seed of answers, faults and latencies"),
    "softness": (float, "X", "refuse around the limit, not exactly at it"),
    "arrivals": (int, "N", "refuse when more than N requests of a model arrive in the window"),
    "arrival_window_s": (float, "SECONDS", "that window"),
    "seconds_per_token": (float, "SECONDS", "latency per token of the answer"),
    "slow_s": (float, "SECONDS", "how long the fault `slow` holds"),
    "huge_mb": (int, "MB", "how big the fault `huge` is"),
    "arrears_after": (int, "N", "refuse everything with 1113 after N requests"),
    "answer_chars": (int, "N", "make every free text N characters long"),
    "cache_prefixes": (int, "N", "let the cache remember N prefixes"),
    "keepalive_s": (float, "SECONDS", "close idle connections after this"),
    "requests_per_connection": (int, "N", "close a connection after N requests"),
}
_SWITCHES = {
    "long_prompt_pool": "give flash prompts over 8K tokens 1 %% of the limit, apart",
    "cache": "count what a prompt begins with as cached tokens once it was answered",
    "token_details": "report prompt_tokens_details in usage",
    "int_codes": "send error codes as integers",
    "check_key": "refuse what is not a well-formed key",
    "record": "count answers per last message at /_seen",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `options_from` and `main` read."""
    add = parser.add_argument
    add("--port", type=int, default=0, metavar="P", help="port on 127.0.0.1; default: a free one")
    add("--models", type=Path, metavar="FILE", help="TOML file with further models")
    add("--tier", type=Tier, choices=list(Tier), default=_DEFAULTS.tier, help="default: V0")
    add("--limit", action="append", default=[], metavar="MODEL=N", help="requests in flight")
    add(
        "--latency",
        default=_DEFAULTS.latency,
        metavar="SECONDS",
        help="seconds, or lognormal:MEDIAN,SIGMA",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=P",
        help="probability of a fault: a provider's code, or html502, reset, cut, slow, hang, …",
    )
    add(
        "--mark",
        action="append",
        default=[],
        metavar="TEXT=FAULT",
        help="a last message that holds TEXT always gets the fault",
    )
    add("--arrival-code", choices=["1302", "1303"], default=_DEFAULTS.arrival_code)
    add("--key", action="append", default=[], metavar="KEY", help="accept only these keys")
    for name, (kind, metavar, meaning) in _NUMBERS.items():
        default = getattr(_DEFAULTS, name)
        add(_flag(name), dest=name, type=kind, default=default, metavar=metavar, help=meaning)
    for name, meaning in _SWITCHES.items():
        add(_flag(name), dest=name, action="store_true", help=meaning)


def options_from(namespace: argparse.Namespace) -> SimulatorOptions:
    """The options on the command line; raises `UsageError`."""
    values = {name: getattr(namespace, name) for name in (*_NUMBERS, *_SWITCHES)}
    return SimulatorOptions(
        tier=namespace.tier,
        latency=namespace.latency,
        arrival_code=namespace.arrival_code,
        limits=_pairs("--limit", namespace.limit, int),
        faults=_pairs("--fault", namespace.fault, float),
        marks=_pairs("--mark", namespace.mark, str),
        keys=tuple(namespace.key),
        **values,
    )


def main(namespace: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; says where on stdout once it listens. Raises `UsageError`."""
    options = options_from(namespace)
    table = builtin_models()
    if namespace.models is not None:
        table = table.extended(read_models(namespace.models), str(namespace.models))
    # anyio and aiohttp are not for `--help`.
    from batchkit.simulator.foreground import serve_until_signal  # noqa: PLC0415

    serve_until_signal(options, table, namespace.port)
    return 0


def _flag(name: str) -> str:
    return "--" + name.removesuffix("_s").removesuffix("_mb").replace("_", "-")


def _pairs(flag: str, given: Iterable[str], kind: Callable[[str], Value]) -> dict[str, Value]:
    return dict(_pair(flag, text, kind) for text in given)


def _pair(flag: str, text: str, kind: Callable[[str], Value]) -> tuple[str, Value]:
    name, _, value = text.rpartition("=")
    fault = UsageError(f"{flag}: expected NAME=VALUE, got {text!r}")
    if not name:
        raise fault
    try:
        return name, kind(value)
    except ValueError as error:
        raise fault from error
