"""Counts tokens with a real tokenizer that the user names: a `tokenizer.json` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batchkit.errors import UsageError
from batchkit.records import Request
from batchkit.tokens import OVERHEAD, PER_MESSAGE, texts
from batchkit.wording import reason


class Tokenizer:
    """A tokenizer of Hugging Face's `tokenizers`; raises `UsageError` if the file is none."""

    def __init__(self, path: Path) -> None:
        try:
            import tokenizers  # noqa: PLC0415  # an extra
        except ModuleNotFoundError:
            raise UsageError(
                "--tokenizer: needs the extra: pip install 'batchkit[tokenizer]'"
            ) from None
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise UsageError(f"{path}: is no tokenizer.json: {reason(error)}") from error

    def count(self, request: Request) -> int:
        """Prompt tokens of `request`, the chat template's own included."""
        encoded = self._tokenizer.encode_batch(texts(request.messages), add_special_tokens=False)
        return (
            OVERHEAD
            + PER_MESSAGE * (len(request.messages) - 1)
            + sum(len(one.ids) for one in encoded)
        )
