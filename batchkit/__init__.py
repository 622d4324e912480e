"""Run files of chat-completion requests against an account that limits requests in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchkit.api import read_results, run, run_async
    from batchkit.batch_output import read_batch_output
    from batchkit.errors import BatchkitError, StoppedError, UsageError
    from batchkit.summary import RunSummary

__version__ = "0.1.0"

__all__ = [
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

_HOMES = {
    "BatchkitError": "errors",
    "StoppedError": "errors",
    "UsageError": "errors",
    "RunSummary": "summary",
    "read_batch_output": "batch_output",
    "read_results": "api",
    "run": "api",
    "run_async": "api",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: `batchkit --help` needs none of them."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'batchkit' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"batchkit.{home}"), name)
