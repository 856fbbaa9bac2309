"""An asyncio program that never ends: tasks that wait, that turn, and that serve a connection."""

import asyncio
import os


async def waits() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        print("waiting task cleaned up")


async def turns() -> None:
    try:
        while True:
            await asyncio.sleep(0)
    finally:
        print("turning task cleaned up")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.read()
    finally:
        print("connection cleaned up")


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _reader, _writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    tasks = [asyncio.create_task(waits()), asyncio.create_task(turns())]
    for _ in range(10):
        await asyncio.sleep(0)
    os.write(1, b"READY\n")
    await asyncio.gather(*tasks)


try:
    asyncio.run(main())
finally:
    print("program cleaned up")
