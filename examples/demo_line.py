"""The line between `demo.py` and its server: what goes in comes out a millisecond later.

On one machine no byte is on its way for long. With this in between, the two seem to be some hundred
kilometres apart, which is where waiting for each response begins to hurt.
"""

from __future__ import annotations

import asyncio
import sys

#: Seconds that a byte takes, in either direction.
DELAY = 0.001

#: Bytes that are taken from a sender at once, and how many such parts are on their way.
BLOCK, BLOCKS = 256 << 10, 64


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes in one direction, until there are no more."""
    on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(BLOCKS)
    now = asyncio.get_running_loop().time

    async def deliver() -> None:
        while True:
            due, data = await on_its_way.get()
            await asyncio.sleep(due - now())
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async with asyncio.TaskGroup() as group:
        group.create_task(deliver())
        data = b"not yet"
        while data:
            data = await reader.read(BLOCK)
            await on_its_way.put((now() + DELAY, data))


async def main(server_port: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server_port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, far_writer))
                group.create_task(carry(far_reader, writer))
        except* ConnectionError:
            pass  # one end has hung up; so does the line
        finally:
            writer.close()
            far_writer.close()

    line = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(line.sockets[0].getsockname()[1], flush=True)
    await line.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
