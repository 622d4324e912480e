"""Options and fixtures that every folder of tests shares."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.vclock import VirtualClockLoop

# What an example takes, or making one, is a matter of who else is on the machine.
settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any_machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the attacks at full length")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="runs with --long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture
def anyio_backend() -> Any:
    """asyncio on uvloop, as in a real run; `virtual_clock` tests override it."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
def virtual_clock() -> Any:
    return ("asyncio", {"loop_factory": VirtualClockLoop})
