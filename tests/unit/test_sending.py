"""How many processes a job needs, and where workers find keys."""

from __future__ import annotations

import pytest

from batchkit.endpoints import Endpoint
from batchkit.models import Model
from batchkit.providers.codec import Dialect, encode
from batchkit.records import Request
from batchkit.sending import Elsewhere, Share, _address, _with_keys, processes_needed
from batchkit.spec import TransportName
from batchkit.workers.frames import WorkerConfig, encode_config

MANY = 1_000_000


@pytest.mark.parametrize(
    ("shares", "requests", "cores", "processes"),
    [
        ([Share(200)], MANY, 8, 1),  # 400 a second at half a second each
        ([Share(1000)], MANY, 8, 1),
        ([Share(3000)], MANY, 8, 3),
        ([Share(3000)], MANY, 2, 2),  # no more than there are cores
        ([Share(3000)], MANY, 1, 1),
        ([Share(3000, latency_s=4.0)], MANY, 8, 1),  # as earlier starts have seen it
        ([Share(300, latency_s=0.05)], MANY, 8, 3),
        ([Share(1000), Share(2000)], MANY, 8, 3),  # lanes add up
        ([Share(3000, per_minute=600)], MANY, 8, 1),  # ten a second, whatever the slots
        ([Share(3000)], 24_000, 8, 1),  # over before workers would pay
        ([Share(3000)], 25_000, 8, 3),
        ([], MANY, 8, 1),
    ],
)
def test_as_many_processes_as_the_expected_rate_needs(
    shares: list[Share], requests: int, cores: int, processes: int
) -> None:
    assert processes_needed(shares, requests=requests, cores=cores) == processes


def test_a_configuration_names_the_key_and_does_not_hold_it() -> None:
    endpoints = [
        Endpoint("http://a/v1", Dialect.OPENAI, "secret-a", "A_KEY"),
        Endpoint("http://127.0.0.1:1/v1", Dialect.OPENAI, None, "B_KEY"),
    ]
    config = WorkerConfig(list(map(_address, endpoints)), trust_env=True)
    assert [address.key_env for address in config.addresses] == ["A_KEY", None]
    assert b"secret" not in encode_config(config)
    assert _with_keys({"PATH": "/bin"}, endpoints) == {"PATH": "/bin", "A_KEY": "secret-a"}


@pytest.mark.parametrize("dialect", Dialect)
def test_a_body_is_the_same_whoever_sends_it(dialect: Dialect) -> None:
    """The schema of its answer included."""
    endpoint = Endpoint("http://127.0.0.1:1/v1", dialect, None, "A_KEY")
    model = Model(name="m", concurrency=1, json_schema=True)
    request = Request(0, "a", "m", [{"role": "user", "content": "x"}], {"temperature": 0}, 1)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    transport = TransportName.AIOHTTP
    elsewhere = Elsewhere([endpoint], 2, print, transport=transport, trust_env=False)
    body = elsewhere.provider(endpoint, schema).prepare(request, model)
    assert body == encode(request, model, dialect, schema)
    assert (b'"required"' in body) is (dialect is Dialect.OPENAI)
