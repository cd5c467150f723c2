"""A device that speaks as a test writes it, byte for byte: for all that no proper server would say."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from flowrunner.modbus import Device

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_device(handle: Handler) -> AsyncIterator[Device]:
    """``handle`` serves each connection; given is a Device for it. Everything is closed at the end."""
    tasks: list[asyncio.Future[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the client hung up, as it should
            await handle(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(
        lambda reader, writer: tasks.append(asyncio.ensure_future(serve(reader, writer))), "127.0.0.1", 0
    )
    device = Device("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield device
    finally:
        await device.close()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*tasks)
