"""Servers that a run starts in its own process: the simulated service, or a small real model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batchkit.spec import Spec


@contextmanager
def served(spec: Spec, say: Callable[[str], None]) -> Iterator[str | None]:
    """The address of the server that this process runs for `spec`, if it asks for one."""
    if spec.endpoint == "sim":
        # Servers are imported only by a run that asks for one.
        from batchkit.simulator.options import SimulatorOptions  # noqa: PLC0415
        from batchkit.simulator.server import serve_in_thread  # noqa: PLC0415

        options = spec.simulate or SimulatorOptions(tier=spec.tier)
        with serve_in_thread(options, table=spec.table) as running:
            yield running.url
    elif spec.endpoint == "local":
        from batchkit.local.model_file import find_model  # noqa: PLC0415
        from batchkit.local.model_row import NOTICE  # noqa: PLC0415
        from batchkit.local.server import serve_local  # noqa: PLC0415

        model = find_model(spec.local_model, say=say)
        say(f"answers come from {model.name}" if spec.local_model is not None else NOTICE)
        with serve_local(model) as address:
            yield address
    else:
        yield None
