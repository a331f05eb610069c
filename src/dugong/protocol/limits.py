"""Every limit on what a server may send. Going past one raises `InvalidResponse` that names it.

Sizes are in bytes and include line ends. The values in other implementations are given so that
nobody has to wonder whether a real server could meet ours.
"""

from __future__ import annotations

#: The unit in which bodies are moved.
BUFFER_SIZE = 64 * 1024

#: A connection's receive buffer at first: room for a head with a small body.
FIRST_BUFFER_SIZE = 8 * 1024

#: The most that one system call receives into a buffer of ours, and that one `read` returns.
RECEIVE_SIZE = 4 * BUFFER_SIZE

#: What is read of a file at once, to be sent.
BLOCK_SIZE = 1024 * 1024

#: What the system is asked at once to send of a file that is not read.
FILE_BLOCK_SIZE = 4 * BLOCK_SIZE

#: Bodies of this size or more are announced by Expect (RFC 9110 section 10.1.1), because sending
#: one in vain costs more than a round trip. curl: 1 MiB.
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

#: The body of a proxy's refusal, which is kept in `TunnelRefused.body`. Error pages are smaller.
MAX_REFUSAL_SIZE = 64 * 1024

#: Seconds to wait for that body. Only the text of the error depends on it. Go: 5 seconds.
REFUSAL_TIMEOUT = 2.0

#: A chunk's line: size, extensions and line end. RFC 9112 section 7.1.1 asks for a limit;
#: hyper: 16 KiB of extensions in a body, Go: 4 KiB a line.
MAX_CHUNK_LINE_SIZE = 4 * 1024

#: A whole trailer section. hyper: 16 KiB, Go: 1 MiB as the head.
MAX_TRAILER_SIZE = 64 * 1024

#: Digits of a Content-Length: all that fit below 2**63.
MAX_LENGTH_DIGITS = 18

#: Hexadecimal digits of a chunk size, leading zeros included: all below 2**60.
MAX_CHUNK_SIZE_DIGITS = 15
