"""JSON Lines, plain, gzip or zstd: one object a line.

Blank lines are skipped, wherever they are. A byte order mark is ignored, CRLF is white space. Of a
key that occurs twice in an object the last counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from batchkit.errors import UsageError
from batchkit.sources.base import ENDED, FileCursor, FileSource, Raw
from batchkit.sources.lines import LINE_MOST, BrokenFileError, Compression, LineFile, LongLineError
from batchkit.strict_json import NotJsonError, decode_json
from batchkit.wording import kind_of

_BOM = b"\xef\xbb\xbf"
_TOO_LONG = f"the line is longer than {LINE_MOST >> 20} MiB"


class JsonlSource(FileSource):
    """Rows of a JSON Lines file."""

    def __init__(self, path: Path, compression: Compression) -> None:
        super().__init__(path)
        self._compression = compression
        self.can_jump = compression is Compression.NONE
        self._check_beginning()

    def scan(self) -> Iterator[Raw]:
        row = line = 0
        with LineFile(self.path, self._compression) as file:
            while True:
                offset = file.offset
                line += 1
                values: dict[str, Any] | None = None
                fault: str | None = None
                try:
                    text = file.read_line()
                    if not text:
                        return
                    values, fault = parse_row(text)
                    if fault is not None and _is_blank(text):
                        continue
                except LongLineError:
                    fault = _TOO_LONG
                except BrokenFileError as error:
                    yield Raw(row, line, offset, None, str(error))
                    return
                yield Raw(row, line, offset, values, fault)
                row += 1

    def cursor(self) -> FileCursor:
        return JsonlCursor(LineFile(self.path, self._compression))

    def place(self, raw: Raw) -> str:
        return f"{self.path}:{raw.line}" if raw.line else super().place(raw)

    def _check_beginning(self) -> None:
        with LineFile(self.path, self._compression) as file:
            try:
                line = beginning = file.read_line()
                while _is_blank(line):
                    line = file.read_line()
            except LongLineError:
                return
            except BrokenFileError as error:
                if file.offset == 0:
                    raise UsageError(f"{self.path}: {error}; make the file again") from error
                return
        if beginning[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in beginning[:4]:
            raise UsageError(f"{self.path}: is not UTF-8 but UTF-16 or UTF-32; save it as UTF-8")
        if not line:
            raise UsageError(f"{self.path}: is empty; expected one JSON object a line")


class JsonlCursor:
    """Chosen rows of a JSON Lines file, found by their offsets."""

    def __init__(self, file: LineFile) -> None:
        self._file = file

    def take(self, wanted: Sequence[tuple[int, int]]) -> list[Raw]:
        return [self._read(row, offset) for row, offset in wanted]

    def read_on(self, place: int) -> Iterator[Raw]:
        self._file.seek(place)
        while True:
            offset = self._file.offset
            try:
                text = self._file.read_line()
            except LongLineError:
                yield Raw(0, 0, offset, None, _TOO_LONG)
                continue
            except BrokenFileError as error:
                yield Raw(0, 0, offset, None, str(error))
                return
            if not text:
                return
            if not _is_blank(text):
                yield Raw(0, 0, offset, *parse_row(text))

    def close(self) -> None:
        self._file.close()

    def _read(self, row: int, offset: int) -> Raw:
        try:
            self._file.seek(offset)
            text = self._file.read_line()
        except LongLineError:
            return Raw(row, 0, offset, None, _TOO_LONG)
        except BrokenFileError as error:
            return Raw(row, 0, offset, None, str(error))
        if not text:
            return Raw(row, 0, offset, None, ENDED)
        values, fault = parse_row(text)
        return Raw(row, 0, offset, values, fault)


def _is_blank(text: bytes) -> bool:
    return text.isspace() or (text.startswith(_BOM) and not text[len(_BOM) :].strip())


def parse_row(text: bytes) -> tuple[dict[str, Any] | None, str | None]:
    """The object on one line, or why there is none."""
    try:
        values = decode_json(text.removeprefix(_BOM))  # on any line: files may have been joined
    except NotJsonError as error:
        return None, str(error)
    if type(values) is not dict:
        return None, f"expected a JSON object, got {kind_of(values)}"
    return values, None
