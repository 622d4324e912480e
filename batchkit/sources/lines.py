"""Lines of a file that is plain, gzip or zstd, in bounded memory.

Compressed bytes go into the decompressor in steps small enough that even the densest of them unfold
into tens of megabytes, so that a bomb costs time and not memory.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LINE_MOST: Final = 64 << 20  # bytes; a longer line is a fault of the file, not a request
_BUFFER = 256 << 10
_SKIP = 1 << 20


class Compression(StrEnum):
    """How a file of lines is packed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


_STEP = {
    Compression.GZIP: 16 << 10,  # deflate unfolds 1 byte into 1032 at most: 16 MiB
    Compression.ZSTD: 1 << 10,  # a block of 4 bytes can stand for 128 KiB: 32 MiB
}


class BrokenFileError(Exception):
    """The file cannot be read beyond this point."""


class LongLineError(Exception):
    """A line is longer than `LINE_MOST`; the next call goes on behind it."""


class LineFile:
    """The lines of one file, with their byte offsets in what it unfolds to."""

    def __init__(self, path: Path, compression: Compression) -> None:
        self._plain = compression is Compression.NONE
        self._file = _open(path, compression)
        self.offset = 0  # of the next line

    def read_line(self) -> bytes:
        """The next line with its line end; empty at the end of the file."""
        try:
            line = self._file.readline(LINE_MOST + 1)
            self.offset += len(line)
            if len(line) > LINE_MOST:
                self._skip_line(line)
                raise LongLineError
        except OSError as error:
            raise BrokenFileError(f"cannot be read: {error.strerror or error}") from error
        return line

    def seek(self, offset: int) -> None:
        """Go forward to `offset`; a compressed file is read and thrown away up to there."""
        assert offset >= self.offset, "cursors only go forward"
        if self._plain:
            if offset != self.offset:
                self._file.seek(offset)
                self.offset = offset
            return
        while self.offset < offset:
            skipped = len(self._file.read(min(offset - self.offset, _SKIP)))
            if not skipped:
                return
            self.offset += skipped

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _skip_line(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._file.readline(_SKIP)
            self.offset += len(line)


def _open(path: Path, compression: Compression) -> BinaryIO:
    if compression is Compression.NONE:
        return path.open("rb", buffering=_BUFFER)
    unfolded = _Unfolded(path.open("rb"), compression)
    return cast("BinaryIO", io.BufferedReader(unfolded, _BUFFER))  # has all that is used here


class _Unfolded(io.RawIOBase):
    """A compressed file as a raw stream, for `io.BufferedReader`."""

    def __init__(self, file: BinaryIO, compression: Compression) -> None:
        self._file = file
        self._chunks = _unfold(file, compression)
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._pending:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._pending = memoryview(chunk)
        target = memoryview(buffer)
        size = min(len(target), len(self._pending))
        target[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _unfold(file: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """The bytes of every member (gzip) or frame (zstd) of a file, one after the other."""
    new_stream, corrupt = _decompressor(compression)
    stream = None
    while chunk := file.read(_STEP[compression]):
        while chunk:
            if stream is None:
                chunk = chunk.lstrip(b"\0")  # gzip allows zeros as padding between members
                if not chunk:
                    break
                stream = new_stream()
            try:
                unfolded = stream.decompress(chunk)
            except corrupt as error:
                raise BrokenFileError(f"the {compression} data is damaged here") from error
            if unfolded:
                yield unfolded
            chunk = stream.unused_data
            if stream.eof:
                stream = None
    if stream is not None:
        raise BrokenFileError(f"the {compression} data ends early: the file was cut off")


def _decompressor(compression: Compression) -> tuple[Callable[[], Any], type[Exception]]:
    if compression is Compression.GZIP:
        return lambda: zlib.decompressobj(wbits=31), zlib.error  # 31: with gzip's header and sum
    import zstandard  # noqa: PLC0415  # only who has such a file waits for it

    return zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError
