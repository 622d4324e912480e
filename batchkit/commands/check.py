"""`batchkit check`: validates every row and sends nothing."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

from batchkit.commands.parsing import add_command, add_spec, options_of
from batchkit.commands.talk import say
from batchkit.errors import UsageError


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "check",
        main,
        does="validate every row; sends nothing",
        example="batchkit check requests.jsonl",
    )
    add_spec(parser)


def main(namespace: argparse.Namespace) -> int:
    import tempfile

    from batchkit.duplicates import finding_duplicates
    from batchkit.inputs import open_input
    from batchkit.journal import Journal
    from batchkit.prepare import scan
    from batchkit.spec import load_spec

    spec = load_spec(namespace.spec, options_of(namespace))
    given = open_input(spec)
    keeping = given.keeping()
    with (
        tempfile.TemporaryDirectory(prefix="batchkit-check-") as folder,
        closing(Journal.create(Path(folder) / "journal.db")) as journal,
        finding_duplicates(wanted=spec.dedupe) as duplicates,
    ):
        writer = scan(
            given.source,
            given.rendering(),
            journal,
            limit=spec.limit,
            duplicates=duplicates,
            observe=keeping.observe,
        )
    if writer.rows == 0:
        raise UsageError(f"{given.source.path}: holds no rows; expected at least one")
    keeping.types()
    tokens = sum(share.prompt_tokens for share in writer.shares)
    say(f"{writer.rows:,} rows are good, about {tokens:,} prompt tokens")
    for name, share in zip(writer.models, writer.shares, strict=True):
        requests = f"{share.requests:,} requests, " if share.requests != share.rows else ""
        copies = f" ({share.copies:,} ask what others ask)" if share.copies else ""
        words = (
            f"{share.rows:,} rows{copies}, {requests}about {share.prompt_tokens:,} prompt tokens"
        )
        say(f"  {name}: {words}")
    return 0
