"""Every name that a module offers is there."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import batchkit
from batchkit import api

MODULES = ["batchkit", *(m.name for m in pkgutil.walk_packages(batchkit.__path__, "batchkit."))]


@pytest.mark.parametrize("name", MODULES)
def test_every_name_in_all_resolves(name: str) -> None:
    module = importlib.import_module(name)
    missing = [public for public in getattr(module, "__all__", ()) if not hasattr(module, public)]
    assert missing == []


def test_the_package_offers_a_run_its_results_and_its_errors() -> None:
    """Also when every module is imported: a module of the same name would hide a function."""
    assert sorted(batchkit.__all__) == [
        "BatchkitError",
        "RunSummary",
        "StoppedError",
        "UsageError",
        "__version__",
        "read_batch_output",
        "read_results",
        "run",
        "run_async",
    ]
    assert batchkit.run is api.run
    assert batchkit.run_async is api.run_async
    assert batchkit.read_results is api.read_results
    assert issubclass(batchkit.UsageError, batchkit.BatchkitError)
    assert issubclass(batchkit.StoppedError, batchkit.BatchkitError)


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'batchkit' has no attribute 'runs'"):
        _ = batchkit.runs
