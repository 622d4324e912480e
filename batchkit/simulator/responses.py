"""How an admitted request leaves: its answer or its fault as an HTTP response.

A response that is never sent (the connection is closed first) is returned all the same; aiohttp
notices the closing connection and drops it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

from aiohttp import web

from batchkit.simulator import wire
from batchkit.simulator.faults import Mode
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.provider_errors import ErrorAnswer, error_answer
from batchkit.simulator.service import Admission
from batchkit.simulator.wire import Dialect, Reply

_MEGABYTE = 1 << 20
_JSON = {"Content-Type": "application/json"}
_NOT_JSON = b"upstream connect error or disconnect/reset before headers"
_BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_NO_LINGER = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN

_BODIES: dict[str | None, Callable[[Reply], bytes]] = {
    None: wire.completion,
    Mode.SLOW: wire.completion,
    Mode.PROSE: wire.completion,
    Mode.NETWORK_ERROR: lambda reply: wire.broken_off(reply, Mode.NETWORK_ERROR),
    Mode.SENSITIVE: lambda reply: wire.broken_off(reply, Mode.SENSITIVE),
    Mode.EMPTY: wire.without_choices,
    Mode.NONJSON: lambda _: _NOT_JSON,
    Mode.SUCCESS_FALSE: lambda _: wire.unsuccessful(),
}
"""Bodies that come with HTTP 200, by fault."""

_STREAMED = {None, Mode.SLOW, Mode.PROSE, Mode.NETWORK_ERROR, Mode.SENSITIVE, Mode.CUT}


async def respond(
    request: web.BaseRequest,
    admission: Admission,
    reply: Reply,
    options: SimulatorOptions,
    dialect: Dialect,
) -> web.StreamResponse:
    """The response to an admitted request, already sent where it is streamed or broken."""
    fault = admission.fault
    if admission.call.stream and fault in _STREAMED:
        return await _stream(request, reply, fault)
    if fault in _BODIES:
        return json_response(_BODIES[fault](reply))
    match fault:
        case Mode.CUT:
            return _cut(request, wire.completion(reply))
        case Mode.RESET:
            return _reset(request)
        case Mode.HUGE:
            return await _huge(request, options.huge_mb)
        case _:
            return _refusal(fault or "500", admission, options, dialect)


def json_response(body: bytes, status: int = 200) -> web.Response:
    """A response whose body is called JSON."""
    return web.Response(status=status, body=body, headers=_JSON)


def error_response(error: ErrorAnswer, options: SimulatorOptions, dialect: Dialect) -> web.Response:
    """The response that tells of `error`."""
    status, body = wire.error_body(error, dialect, int_codes=options.int_codes)
    return json_response(body, status)


def _refusal(
    fault: str, admission: Admission, options: SimulatorOptions, dialect: Dialect
) -> web.Response:
    if fault == Mode.HTML502:
        return web.Response(status=502, body=_BAD_GATEWAY, content_type="text/html")
    if fault == Mode.REDIRECT:
        return web.Response(status=307, headers={"Location": "/elsewhere"})
    call = admission.call
    code = "1301" if fault == Mode.FILTERED else fault
    return error_response(error_answer(code, call.digest, model=call.model.name), options, dialect)


async def _stream(request: web.BaseRequest, reply: Reply, fault: str | None) -> web.StreamResponse:
    broken = fault if fault in {Mode.NETWORK_ERROR, Mode.SENSITIVE} else None
    frames = _first(wire.frames(reply)) if fault == Mode.CUT else wire.frames(reply, broken)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    with suppress(ConnectionError):  # the client left; aiohttp notices when the response ends
        await response.prepare(request)
        for frame in frames:
            await response.write(frame)
    if fault == Mode.CUT:
        _transport(request).close()
    return response


def _first(frames: Iterator[bytes]) -> Iterator[bytes]:
    yield next(frames)


def _cut(request: web.BaseRequest, body: bytes) -> web.Response:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    transport = _transport(request)
    transport.write(head.encode() + body[: len(body) // 2])
    transport.close()
    return web.Response()


def _reset(request: web.BaseRequest) -> web.Response:
    transport = _transport(request)
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    return web.Response()


async def _huge(request: web.BaseRequest, megabytes: int) -> web.StreamResponse:
    head = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"content":"'
    tail = b'"}}]}'
    response = web.StreamResponse(headers=_JSON)
    response.content_length = len(head) + megabytes * _MEGABYTE + len(tail)
    with suppress(ConnectionError):
        await response.prepare(request)
        await response.write(head)
        for _ in range(megabytes):
            await response.write(b"x" * _MEGABYTE)
        await response.write(tail)
    return response


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    transport = request.transport
    if transport is None:
        raise asyncio.CancelledError  # the client is gone, and this handler with it
    return transport
