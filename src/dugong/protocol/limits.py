"""Limits on the data that a server may send, and sizes of buffers.

Exceeding a limit raises an `InvalidResponse` that names it. Sizes are in bytes and include line
ends. The comments give the limits of other implementations, which show how likely it is that a
real server exceeds ours.
"""

from __future__ import annotations

#: The unit in which bodies are moved.
BUFFER_SIZE = 64 * 1024

#: The initial size of a connection's receive buffer: enough for a head with a small body.
FIRST_BUFFER_SIZE = 8 * 1024

#: The most bytes that one system call receives into our own buffer, and that one `read` returns.
RECEIVE_SIZE = 4 * BUFFER_SIZE

#: Bytes read from a file at a time, to send them.
BLOCK_SIZE = 1024 * 1024

#: Bytes that one call of ``sendfile`` is asked to send.
FILE_BLOCK_SIZE = 4 * BLOCK_SIZE

#: Requests with a body of this size or more use Expect (RFC 9110 section 10.1.1), because sending
#: the body of a refused request costs more than a round trip. curl: 1 MiB.
MIN_EXPECT_SIZE = 1024 * 1024

#: Seconds to wait for the 100 (Continue). curl: 1.
CONTINUE_TIMEOUT = 1.0

#: One status line, field line or trailer line. http.client: 64 KiB, aiohttp: 8 KiB,
#: curl: 100 KiB, nginx as a proxy: 4 or 8 KiB.
MAX_LINE_SIZE = 64 * 1024

#: A whole response head. curl: 300 KiB, hyper: about 400 KiB, h11: 16 KiB, Go: 1 MiB.
MAX_HEADER_SIZE = 256 * 1024

#: Field lines in a head or in a trailer section. http.client and hyper: 100, curl: 5000.
MAX_FIELDS = 1000

#: Interim (1xx) responses before a final one. Go: 5 and then by size, curl: by size.
MAX_INTERIM_RESPONSES = 32

#: The body of a proxy's refusal, which becomes `TunnelRefused.body`. Error pages are smaller.
MAX_REFUSAL_SIZE = 64 * 1024

#: Seconds to wait for that body, which only serves the error message. Go: 5 seconds.
REFUSAL_TIMEOUT = 2.0

#: A chunk's size line with its extensions. RFC 9112 section 7.1.1 requires a limit. hyper: 16 KiB
#: of extensions in a body, Go: 4 KiB for a line.
MAX_CHUNK_LINE_SIZE = 4 * 1024

#: A whole trailer section. hyper: 16 KiB, Go: 1 MiB as for a head.
MAX_TRAILER_SIZE = 64 * 1024

#: Digits of a Content-Length: every number with so many is below 2**63.
MAX_LENGTH_DIGITS = 18

#: Hexadecimal digits of a chunk size, including leading zeros: every such number is below 2**60.
MAX_CHUNK_SIZE_DIGITS = 15
