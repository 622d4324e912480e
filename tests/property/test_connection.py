"""An answer is read the same however the network cuts it, and an exchange ends once."""

from __future__ import annotations

import asyncio
import gzip
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("httptools")

from batchkit.providers.connection import MOST_HEAD_BYTES, Connection
from batchkit.providers.transport import Reply, TransportError
from batchkit.verdicts import BAD_RESPONSE, CUT_OFF

CONTINUED = b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PACKED = gzip.compress(b"packed")
ANSWERS: list[tuple[bytes, Reply, bool]] = [  # bytes, what they say, whether more may follow
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        Reply(200, {"content-length": "2"}, b"ab"),
        True,
    ),
    (
        CONTINUED + b"HTTP/1.1 429 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
        Reply(429, {"retry-after": "3", "content-length": "0"}, b""),
        True,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
        Reply(200, {"transfer-encoding": "chunked"}, b"abc"),
        True,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(PACKED), PACKED),
        Reply(200, {"content-encoding": "gzip", "content-length": str(len(PACKED))}, b"packed"),
        True,
    ),
    (b"HTTP/1.1 204 Nothing\r\n\r\n", Reply(204, {}, b""), True),
    (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
        Reply(200, {"connection": "close", "content-length": "2"}, b"ab"),
        False,
    ),
    (
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
        Reply(200, {"content-length": "2"}, b"ab"),
        False,
    ),
]


class Wire(asyncio.Transport):
    """The other side of a connection, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.unsent = 0
        self.is_aborted = False

    def writelines(self, parts: object) -> None:
        assert isinstance(parts, tuple)
        self.sent.append(b"".join(parts))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.is_aborted = True


class Side:
    """A connection with one exchange on it, and its wire."""

    def __init__(self, most_answer_bytes: int = 1000) -> None:
        self.lost: list[Connection] = []
        self.wire = Wire()
        self.connection = Connection(most_answer_bytes, self.lost.append)
        self.connection.connection_made(self.wire)

    async def ask(self) -> asyncio.Task[Reply]:
        until = asyncio.get_running_loop().time() + 60
        asking = asyncio.create_task(
            self.connection.ask(b"head", b"body", until=until, timeout_s=60.0)
        )
        await asyncio.sleep(0)
        return asking

    def receive(self, raw: bytes, cuts: list[int]) -> None:
        edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
        for first, last in itertools.pairwise(edges):
            self.connection.data_received(raw[first:last])


answers = st.sampled_from(ANSWERS)
cuts = st.lists(st.integers(0, 10**6), max_size=30)


@given(st.lists(st.tuples(answers, cuts), min_size=1, max_size=4))
def test_answers_are_read_the_same_however_they_are_cut(
    exchanges: list[tuple[tuple[bytes, Reply, bool], list[int]]],
) -> None:
    async def run() -> None:
        side = Side()
        for (raw, reply, may_follow), edges in exchanges:
            asking = await side.ask()
            side.receive(raw, edges)
            assert await asking == reply
            assert side.connection.is_open is may_follow
            if not may_follow:
                return

    asyncio.run(run())


@given(answers, cuts, st.binary(min_size=1, max_size=40), st.booleans())
def test_a_connection_that_says_more_than_it_was_asked_is_used_no_more(
    answer: tuple[bytes, Reply, bool], edges: list[int], more: bytes, is_together: bool
) -> None:
    async def run() -> None:
        raw, reply, _ = answer
        side = Side()
        asking = await side.ask()
        side.receive(raw + more if is_together else raw, edges)
        assert await asking == reply
        if not is_together:
            side.connection.data_received(more)
        if more.strip(b"\r\n"):  # line ends between answers are let pass (RFC 9112, 2.2)
            assert not side.connection.is_open

    asyncio.run(run())


@settings(max_examples=300)
@given(answers, st.data())
def test_an_answer_that_is_cut_off_is_none(
    answer: tuple[bytes, Reply, bool], data: st.DataObject
) -> None:
    raw, _, _ = answer
    kept = data.draw(st.integers(0, len(raw) - 1))
    is_reset = data.draw(st.booleans())

    async def run() -> None:
        side = Side()
        asking = await side.ask()
        side.receive(raw[:kept], [])
        side.connection.connection_lost(ConnectionResetError() if is_reset else None)
        with pytest.raises(TransportError) as caught:
            await asking
        has_begun = b"\r\n\r\n" in raw[:kept].removeprefix(CONTINUED)
        assert caught.value.verdict == (BAD_RESPONSE if has_begun else CUT_OFF)
        assert side.lost == [side.connection]
        assert not side.connection.is_open

    asyncio.run(run())


@given(st.binary(max_size=300), cuts, st.booleans())
def test_no_bytes_raise_anything_else(raw: bytes, edges: list[int], has_head: bool) -> None:
    async def run() -> None:
        side = Side()
        asking = await side.ask()
        side.receive((b"HTTP/1.1 200 OK\r\n" if has_head else b"") + raw, edges)
        side.connection.connection_lost(None)
        (ended,) = await asyncio.gather(asking, return_exceptions=True)
        if isinstance(ended, TransportError):
            assert ended.verdict in {BAD_RESPONSE, CUT_OFF}
        else:
            assert isinstance(ended, Reply)

    asyncio.run(run())


@pytest.mark.parametrize("by", [1, 1000, 10**6])
def test_a_head_without_end_is_given_up(by: int) -> None:
    async def run() -> None:
        side = Side()
        asking = await side.ask()
        side.connection.data_received(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(0, 2 * MOST_HEAD_BYTES, by):
            side.connection.data_received(b"x" * by)
            if side.wire.is_aborted:
                break
        with pytest.raises(TransportError) as caught:
            await asking
        assert caught.value.verdict == BAD_RESPONSE

    asyncio.run(run())


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"", CONTINUED),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"X: y\r\n"),
        (CHUNKED + b"1\r\na\r\n0\r\nX: ", b"y" * 1000),
    ],
    ids=["continues", "trailers", "one trailer"],
)
def test_what_is_no_answer_and_has_no_end_is_given_up(first: bytes, more: bytes) -> None:
    async def run() -> None:
        side = Side()
        asking = await side.ask()
        side.connection.data_received(first)
        for _ in range(2 * MOST_HEAD_BYTES // len(more)):
            side.connection.data_received(more)
        side.connection.connection_lost(None)
        with pytest.raises(TransportError) as caught:
            await asking
        assert caught.value.verdict == BAD_RESPONSE
        assert caught.value.message == "the answer is not HTTP"

    asyncio.run(run())


def test_what_stands_behind_a_packed_answer_is_not_dropped_unseen() -> None:
    async def run() -> None:
        side = Side()
        asking = await side.ask()
        packed = PACKED + gzip.compress(b"more")
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        side.receive(head % len(packed) + packed, [])
        with pytest.raises(TransportError) as caught:
            await asking
        assert caught.value.verdict == BAD_RESPONSE

    asyncio.run(run())


def test_a_trailer_is_no_header() -> None:
    async def run() -> None:
        side = Side()
        asking = await side.ask()
        side.receive(CHUNKED + b"1\r\na\r\n0\r\nRetry-After: 9\r\n\r\n", [])
        assert await asking == Reply(200, {"transfer-encoding": "chunked"}, b"a")

    asyncio.run(run())


def test_a_connection_whose_request_was_not_read_whole_is_used_no_more() -> None:
    async def run() -> None:
        side = Side()
        asking = await side.ask()
        side.wire.unsent = 1
        side.receive(ANSWERS[0][0], [])
        assert await asking == ANSWERS[0][1]
        assert not side.connection.is_open

    asyncio.run(run())


def test_a_request_that_is_cancelled_takes_its_connection_along() -> None:
    async def run() -> None:
        side = Side()
        asking = await side.ask()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert side.wire.is_aborted
        assert not side.connection.is_open
        side.receive(ANSWERS[0][0], [])  # what is still on its way goes nowhere

    asyncio.run(run())
