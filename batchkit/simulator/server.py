"""The simulated service over HTTP/1.1: paths, starting and stopping.

- `/api/paas/v4/chat/completions` and `…/models`: the provider's form
- `/v1/chat/completions` and `/v1/models`: the same, with errors as OpenAI's API sends them
- `/_stats`, `/_seen`, `/_control`: counts, answers per request, live changes; for tests

A client that disconnects frees its slot at once: its handler is cancelled.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import islice
from typing import Annotated, Any
from weakref import WeakKeyDictionary

import anyio
import anyio.from_thread
import msgspec
from aiohttp import web

from batchkit.descriptors import raise_descriptor_limit
from batchkit.errors import UsageError
from batchkit.models import Model
from batchkit.simulator import wire
from batchkit.simulator.faults import Mode
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.provider_errors import ErrorAnswer
from batchkit.simulator.responses import Payload, error_payload, payload
from batchkit.simulator.service import Admission, Service
from batchkit.simulator.wire import Dialect

PREFIXES = {Dialect.GLM: "/api/paas/v4", Dialect.OPENAI: "/v1"}
BACKLOG = 4096  # connections that wait to be accepted: all slots of the largest model at once
MOST_BYTES = 64 << 20  # of one request
_LISTED = ["glm-4.5", "glm-4.5-air", "glm-4.6"]  # the provider lists no model of the GLM-4 family
_SOCKETS = 65536
_MEGABYTE = 1 << 20
_NO_LINGER = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN
_STREAMED = {None, Mode.SLOW, Mode.PROSE, Mode.NETWORK_ERROR, Mode.SENSITIVE, Mode.CUT}

_Route = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Running(msgspec.Struct, frozen=True):
    """A service that listens."""

    origin: str  # http://127.0.0.1:PORT
    service: Service

    @property
    def url(self) -> str:
        """The endpoint in the provider's form: what stands before `/chat/completions`."""
        return self.origin + PREFIXES[Dialect.GLM]

    @property
    def openai_url(self) -> str:
        """The endpoint in OpenAI's form."""
        return self.origin + PREFIXES[Dialect.OPENAI]


class _Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limits: dict[str, int] = {}
    arrears: bool | None = None
    faults: dict[str, float] | None = None
    hold_after: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType | None = msgspec.UNSET


class _Http:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._options = service.options
        self._served: WeakKeyDictionary[asyncio.Transport, int] = WeakKeyDictionary()
        self._routes: dict[tuple[str, str], _Route] = {
            ("GET", "/_stats"): self._stats,
            ("GET", "/_seen"): self._seen,
            ("POST", "/_control"): self._control,
            ("POST", "/api/paas/v4/chat/completions"): self._glm_chat,
            ("POST", "/v1/chat/completions"): self._openai_chat,
            ("GET", "/api/paas/v4/models"): self._glm_models,
            ("GET", "/v1/models"): self._openai_models,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self._routes.get((request.method, request.path))
        transport = request.transport
        response = web.Response(status=404) if route is None else await route(request)
        most = self._options.requests_per_connection
        if most is not None and transport is not None:
            served = self._served[transport] = self._served.get(transport, 0) + 1
            if served >= most:
                response.force_close()
        return response

    async def _glm_chat(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._chat(request, Dialect.GLM)

    async def _openai_chat(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._chat(request, Dialect.OPENAI)

    async def _glm_models(self, _: web.BaseRequest) -> web.StreamResponse:
        return _json(wire.model_list(_LISTED))

    async def _openai_models(self, _: web.BaseRequest) -> web.StreamResponse:
        return _json(wire.model_list(list(self._service.table)))

    async def _stats(self, _: web.BaseRequest) -> web.StreamResponse:
        return _json(msgspec.json.encode(self._service.stats))

    async def _seen(self, _: web.BaseRequest) -> web.StreamResponse:
        return _json(msgspec.json.encode(self._service.seen))

    async def _control(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            control = msgspec.json.decode(await request.read(), type=_Control)
            for model, limit in control.limits.items():
                self._service.set_limit(model, limit)
            if control.faults is not None:
                self._service.set_faults(control.faults)
        except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
            return web.Response(status=400, text=str(error))
        if control.hold_after is not msgspec.UNSET:
            self._service.hold_after(control.hold_after)
        if control.arrears is not None:
            self._service.arrears = control.arrears
        return _json(b"{}")

    async def _chat(self, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
        service = self._service
        try:
            raw = await request.read()
        except (ConnectionError, web.RequestPayloadError):
            return web.Response(status=400)  # never arrives: the client left within its request
        admitted = service.admit(raw, request.headers.get("Authorization"), dialect)
        if isinstance(admitted, ErrorAnswer):
            return _response(error_payload(admitted, dialect, int_codes=self._options.int_codes))
        try:
            if admitted.hold_s == math.inf:
                await asyncio.get_running_loop().create_future()
            elif admitted.hold_s:
                await asyncio.sleep(admitted.hold_s)
            service.finish(admitted)
            return await self._respond(request, admitted, dialect)
        finally:
            service.release(admitted)

    async def _respond(
        self, request: web.BaseRequest, admission: Admission, dialect: Dialect
    ) -> web.StreamResponse:
        reply, fault = self._service.reply(admission), admission.fault
        if fault == Mode.RESET:
            return _reset(request)
        if fault == Mode.HUGE:
            return await _huge(request, self._options.huge_mb)
        if admission.call.stream and fault in _STREAMED:
            return await _stream(request, reply, fault)
        given = payload(reply, fault, dialect, int_codes=self._options.int_codes)
        return _cut(request, given.body) if fault == Mode.CUT else _response(given)


def _response(given: Payload) -> web.Response:
    headers = {"Content-Type": given.content_type}
    if given.location is not None:
        headers["Location"] = given.location
    return web.Response(status=given.status, body=given.body, headers=headers)


def _json(body: bytes) -> web.Response:
    return _response(Payload(body))


async def _stream(
    request: web.BaseRequest, reply: wire.Reply, fault: str | None
) -> web.StreamResponse:
    broken = fault if fault in {Mode.NETWORK_ERROR, Mode.SENSITIVE} else None
    frames = wire.frames(reply, broken)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    with suppress(ConnectionError):  # the client left; aiohttp notices when the response ends
        await response.prepare(request)
        for frame in islice(frames, 1) if fault == Mode.CUT else frames:
            await response.write(frame)
    if fault == Mode.CUT:
        _transport(request).close()
    return response


def _cut(request: web.BaseRequest, body: bytes) -> web.Response:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    transport = _transport(request)
    transport.write(head.encode() + body[: len(body) // 2])
    transport.close()
    return web.Response()  # not sent: aiohttp sees that the connection is closing


def _reset(request: web.BaseRequest) -> web.Response:
    transport = _transport(request)
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    return web.Response()  # not sent, as in `_cut`


async def _huge(request: web.BaseRequest, megabytes: int) -> web.StreamResponse:
    head = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"content":"'
    tail = b'"}}]}'
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
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


@asynccontextmanager
async def serve(
    options: SimulatorOptions | None = None,
    *,
    table: Mapping[str, Model] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Running]:
    """Listen while the block runs; port 0 takes a free one. Open connections are closed at the end.

    Raises `UsageError` for options that do not fit the table and for an address that is taken.
    """
    raise_descriptor_limit(_SOCKETS)
    service = Service(options, table)
    server = web.Server(
        _Http(service).handle,
        request_factory=_request,
        handler_cancellation=True,
        keepalive_timeout=service.options.keepalive_s,
        access_log=None,
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise UsageError(f"{host}:{port}: cannot listen: {error.strerror}") from error
    try:
        yield Running(f"http://{host}:{runner.addresses[0][1]}", service)
    finally:
        with anyio.CancelScope(shield=True):
            await site.stop()
            for connection in server.connections:
                connection.force_close()
            await asyncio.sleep(0)
            await runner.cleanup()


@contextmanager
def serve_in_thread(
    options: SimulatorOptions | None = None, *, table: Mapping[str, Model] | None = None
) -> Iterator[Running]:
    """`serve` in a thread of its own with its own event loop, so that the caller's loop is free."""
    with (
        anyio.from_thread.start_blocking_portal(backend_options={"use_uvloop": True}) as portal,
        portal.wrap_async_context_manager(serve(options, table=table)) as running,
    ):
        yield running


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=MOST_BYTES
    )
