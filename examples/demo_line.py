"""Adds latency between `demo.py` and its server: each byte is delivered a millisecond later.

Connections within one machine have almost no latency. With this proxy, client and server seem to be
a hundred kilometres apart, far enough for the wait for each response to matter.
"""

from __future__ import annotations

import asyncio
import sys

#: Seconds that a byte takes in each direction.
DELAY = 0.001

#: The bytes of one block, and the most blocks in transit.
BLOCK, BLOCKS = 256 << 10, 64


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes in one direction, until the end of the stream."""
    in_transit: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(BLOCKS)
    now = asyncio.get_running_loop().time

    async def deliver() -> None:
        while True:
            due, data = await in_transit.get()
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
            await in_transit.put((now() + DELAY, data))


async def main(server_port: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server_port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, far_writer))
                group.create_task(carry(far_reader, writer))
        except* ConnectionError:
            pass  # one end has closed the connection; close the other
        finally:
            writer.close()
            far_writer.close()

    line = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(line.sockets[0].getsockname()[1], flush=True)
    await line.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
