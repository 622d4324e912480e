"""One POST over a transport in a process of its own: what it trusts is settled when it starts.

python -m tests.e2e.post_once TRANSPORT URL: prints the status, or what was the matter.
"""

from __future__ import annotations

import asyncio
import sys

from batchkit.providers.transport import TransportError
from batchkit.providers.transports import transport_class
from batchkit.spec import TransportName
from tests.e2e.raw_server import HEADERS


async def main(name: str, url: str) -> None:
    transport = transport_class(TransportName(name))(trust_env=True)
    try:
        reply = await transport.post(url, HEADERS, b"{}", 10.0)
        sys.stdout.write(f"{reply.status}\n")
    except TransportError as error:
        sys.stdout.write(f"{error.verdict.billing} {error.message}\n")
    finally:
        await transport.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
