"""A run that is ready to start: input opened and planned, folder locked, keys there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from batchkit.budget import check_currencies
from batchkit.endpoints import resolve
from batchkit.errors import StoppedError, UsageError
from batchkit.execution import Console, Execution
from batchkit.folder import RunFolder
from batchkit.inputs import open_input
from batchkit.lane_plan import models_of
from batchkit.planner import refuse_eager
from batchkit.providers.transports import check_transport
from batchkit.recorder import WriteError, disk_trouble
from batchkit.resume import Resumption
from batchkit.serving import served
from batchkit.spec import Spec


@contextmanager
def prepared(spec: Spec, console: Console) -> Iterator[Execution]:
    """A run whose input was checked, whose folder is locked and whose keys are there.

    Raises `UsageError` if it cannot start as asked, `StoppedError` if its folder cannot be written;
    then nothing was sent.
    """
    folder = RunFolder(spec.out)
    check_transport(spec.transport)
    if spec.model is not None and spec.endpoint not in {"sim", "local"}:
        resolve(spec, spec.table[spec.model], os.environ, None)  # a missing key is told first
    given = open_input(spec)
    if spec.eager:
        refuse_eager(given)
    with folder.locked():
        try:
            opened = Resumption(folder, given, say=console.say, report=lambda _rows: None).open()
        except WriteError as error:
            raise StoppedError(disk_trouble(error)) from error
        try:
            models = models_of(spec, opened.plan)
            check_currencies(spec, models)
            with served(spec, console.say) as address:
                endpoints = {
                    name: resolve(spec, spec.table[name], os.environ, address) for name in models
                }
                execution = Execution(
                    spec, given, opened, folder=folder, endpoints=endpoints, console=console
                )
                try:
                    execution.confirm()
                    yield execution
                finally:
                    execution.close()
        finally:
            opened.journal.close()


@contextmanager
def going_on() -> Iterator[None]:
    """For another start right after one that has sent: what it cannot start with stops the run."""
    try:
        yield
    except UsageError as error:
        raise StoppedError(str(error)) from error
