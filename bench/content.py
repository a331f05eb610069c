"""The data that is sent, the same on both sides."""

from __future__ import annotations

import random

MIB = 1 << 20

#: One MiB that does not repeat within itself. Everything large is this block over and over.
BLOCK = random.Random(1).randbytes(MIB)

DOCUMENT = b"The sea cow grazes slowly; it does not hurry, and it is seldom seen to stop. ".ljust(
    100
)
assert len(DOCUMENT) == 100

#: A field of every small response. Clients have to find it among the others.
FIELD = "x-animal"
VALUE = "Dugong dugon"

#: Where the servers listen. Cases of many hosts use all of these, the others the first.
HOSTS = [f"127.0.0.{n}" for n in range(1, 21)]

#: A field of chunked responses: how many bytes follow the head, the chunks' lines included. It lets
#: the limit receive without looking at the data.
WIRE_LENGTH = "x-wire-length"

#: The buffer that every client reads into, and the size it asks for at a time.
BUFFER_SIZE = 256 * 1024
