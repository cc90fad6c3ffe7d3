"""A WebSocket server that sends messages back: ``python -m tests.suites.autobahn.echo PORT``."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


async def echo(connection: ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


async def main(port: int) -> None:
    # The factory without limits takes every offer as it is; the default would ask for less memory.
    compression = [ServerPerMessageDeflateFactory()]
    async with serve(
        echo, "127.0.0.1", port, max_size=None, extensions=compression, ping_interval=None
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
