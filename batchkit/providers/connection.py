"""One HTTP/1.1 connection, and the exchange that is on it, if one is.

httptools (the parser of Node.js) reads what arrives; nothing is copied or looked at twice.

* An exchange ends once: in a whole reply, or in a `TransportError`. Whatever ends it otherwise than
  by a reply closes the connection at once, so the server hears of it.
* A connection is used again only if nothing is left of the last exchange on either side.
* The bytes of an answer are bounded, unpacked ones too, and so is what is no answer: heads, what
  frames chunks, trailers. A compressed answer comes unasked; it must be whole and all there is,
  since a truncated one can have the right length.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import cast

import httptools

from batchkit.providers import faults
from batchkit.providers.transport import Reply, TransportError

MOST_HEAD_BYTES = 2**16  # of anything that is not body, without body in between
_GZIP_OR_ZLIB = 47  # zlib's `wbits`: either header


class Connection(asyncio.Protocol):
    """Made by an event loop's `create_connection`; `lost` is told when it cannot be used again."""

    def __init__(self, most_answer_bytes: int, lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._most_answer_bytes = most_answer_bytes
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Reply] | None = None
        self.is_open = True  # another exchange may begin, if none is on it
        self.idle_since = 0.0  # by the loop's clock
        self._bytes_beside = 0  # since the last of a body
        self._start_message()

    def _start_message(self) -> None:
        self._headers: dict[str, str] = {}
        self._has_headers = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._unpack: zlib._Decompress | None = None

    async def ask(self, head: bytes, body: bytes, *, until: float, timeout_s: float) -> Reply:
        """Send a request and read its answer; one at a time.

        Raises `TransportError`, also if the answer is not whole `until` then by the loop's clock,
        which is `timeout_s` after the exchange began. One that is cancelled ends at the server too.
        """
        assert self.is_open
        assert self._waiter is None
        self._start_message()
        self._bytes_beside = 0
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiter = waiter
        self._transport.writelines((head, body))
        timer = self._loop.call_at(until, self._time_out, timeout_s)
        try:
            return await waiter
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()
            self._waiter = None
            self.idle_since = self._loop.time()

    def abort(self) -> None:
        """Close it now, whatever is on it."""
        self.is_open = False
        self._transport.abort()

    def _time_out(self, timeout_s: float) -> None:
        self._fail(faults.timed_out(timeout_s))

    def _fail(self, error: TransportError) -> None:
        self.is_open = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self._transport.abort()

    # -- what the event loop tells -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.abort()  # nobody asked
            return
        self._bytes_beside += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(faults.not_http())
        if self._bytes_beside > MOST_HEAD_BYTES:
            self._fail(faults.not_http())

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waiter is not None and not self._waiter.done():
            if not self._has_headers:
                self._waiter.set_exception(faults.cut_off())
            elif exc is None and self._ends_with_the_connection:
                self._finish()
            else:
                self._waiter.set_exception(faults.cut_short())
        self._lost(self)

    @property
    def _ends_with_the_connection(self) -> bool:
        return not self._headers.keys() & {"content-length", "transfer-encoding"}

    # -- what the parser tells ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._waiter is not None and self._waiter.done():
            self.is_open = False  # there is more than the answer

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_headers:  # else it is a trailer
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self._has_headers = True
        encoding = self._headers.get("content-encoding", "identity").strip().lower()
        if encoding in {"gzip", "x-gzip", "deflate"}:
            self._unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif encoding not in {"", "identity"}:
            self._fail(faults.not_http())

    def on_body(self, body: bytes) -> None:
        self._bytes_beside = 0
        packed_bytes = len(body)
        if self._unpack is not None:
            try:
                body = self._unpack.decompress(body, self._most_answer_bytes + 1)
            except zlib.error:
                self._fail(faults.not_http())
                return
        self._body_bytes += max(len(body), packed_bytes)
        if self._body_bytes > self._most_answer_bytes:
            self._fail(faults.too_long(self._most_answer_bytes))
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if 100 <= self._parser.get_status_code() < 200:
            self._start_message()  # the answer is still to come
        else:
            self._finish()

    def _finish(self) -> None:
        assert self._waiter is not None
        if self._waiter.done():
            return
        if self._unpack is not None and not self._unpack.eof:
            self._fail(faults.cut_short())
            return
        if self._unpack is not None and self._unpack.unused_data:
            self._fail(faults.not_http())
            return
        is_all_sent = not self._transport.get_write_buffer_size()
        self.is_open &= is_all_sent and self._parser.should_keep_alive()
        status, body = self._parser.get_status_code(), b"".join(self._body)
        self._waiter.set_result(Reply(status, self._headers, body))
