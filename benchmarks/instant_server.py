"""A chat-completions server that costs next to nothing, so that a client is what binds.

`python -m benchmarks.instant_server [--delay SECONDS] [--chars N]` prints its address and serves
until it is ended. Requests are told apart by their Content-Length, never parsed; every answer is
the same bytes. A GET asks how many POSTs there were and when (`time.time()`) the first of them
came; asking starts the count anew. Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import cast

import uvloop

PROMPT_TOKENS, COMPLETION_TOKENS = 500, 350


def answer(chars: int) -> bytes:
    """A whole HTTP answer with `chars` characters of content."""
    body = json.dumps(
        {
            "id": "20261124000000000000000000",
            "created": 1795000000,
            "model": "glm-4-flash-250414",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "word " * (chars // 5)},
                }
            ],
            "usage": {
                "prompt_tokens": PROMPT_TOKENS,
                "completion_tokens": COMPLETION_TOKENS,
                "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
            },
        }
    ).encode()
    head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + head.encode() + body


class Seen:
    """The requests that came since somebody asked."""

    def __init__(self) -> None:
        self.requests = 0
        self.first_at: float | None = None

    def add(self) -> None:
        if not self.requests:
            self.first_at = time.time()
        self.requests += 1

    def tell(self) -> bytes:
        """What was seen, as a whole HTTP answer; the count starts anew."""
        body = json.dumps({"requests": self.requests, "first_at": self.first_at}).encode()
        self.requests, self.first_at = 0, None
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class _Connection(asyncio.Protocol):
    def __init__(self, reply: bytes, delay_s: float, seen: Seen) -> None:
        self._reply = reply
        self._delay_s = delay_s
        self._seen = seen
        self._held = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._held[:end]).lower()
            if head.startswith(b"get "):
                self._held.clear()
                self._transport.write(self._seen.tell())
                return
            at = head.index(b"content-length:") + 15
            length = int(head[at:].split(b"\r\n", 1)[0])
            if len(self._held) < end + 4 + length:
                return
            del self._held[: end + 4 + length]
            self._seen.add()
            if self._delay_s:
                asyncio.get_running_loop().call_later(self._delay_s, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._reply)


async def _serve(chars: int, delay_s: float) -> None:
    reply = answer(chars)
    loop = asyncio.get_running_loop()
    seen = Seen()
    server = await loop.create_server(
        lambda: _Connection(reply, delay_s, seen), "127.0.0.1", 0, backlog=4096
    )
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/api/paas/v4", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chars", type=int, default=1200)
    parser.add_argument("--delay", type=float, default=0.0)
    given = parser.parse_args()
    uvloop.run(_serve(given.chars, given.delay))


if __name__ == "__main__":
    main()
