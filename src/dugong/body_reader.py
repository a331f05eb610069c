"""Every way of reading a body.

Payload is received straight into the caller's buffer. Only chunk lines, and what arrives together
with them, pass through the receive buffer; and chunks that are smaller than it, because a call of
the system for each would cost more than copying them.
"""

from __future__ import annotations

from .errors import InvalidResponse
from .incoming import BLOCK_SIZE, IncomingBody
from .protocol.body import Chunked, Length
from .transport.buffer import Gathered
from .transport.poll import PollNeeded


class BodyReader(IncomingBody):
    """Reads the bodies of one link. Each operation is an attempt: see `Receiver`."""

    def try_read(self, count: int) -> bytes | PollNeeded:
        """Read at most *count* bytes, ``b""`` only at the end (or for *count* 0)."""
        if count == 0:
            return b""
        if self._gathered:
            return self._gathered.take(count)
        pieces: list[bytes] = []
        left = min(count, BLOCK_SIZE)
        while True:
            payload = self._try_payload(left)
            if not payload or isinstance(payload, PollNeeded):
                return payload or b""
            data: bytes | PollNeeded
            if self._digest is None and isinstance(self._body, Chunked) and self.buffer:
                block = self._some_block()
                count = self._chunks_into(self._body, block[:left])
                data = bytes(block[:count])
                pieces.append(data)
                left -= count
                if not left or not self._has_more():
                    return data if len(pieces) == 1 else b"".join(pieces)
                continue
            if self.buffer:
                data = self.buffer.take(min(payload, left))
            else:
                data = self._link.require_stream().recv(min(payload, left))
                if isinstance(data, PollNeeded):
                    return data
            if not data:
                self._connection_ended()
                continue
            self._took(data, len(data))
            pieces.append(data)
            left -= len(data)
            if not left or not self._has_more():
                return data if len(pieces) == 1 else b"".join(pieces)

    def try_readinto(self, view: memoryview) -> int | PollNeeded:
        """Read into *view*; return the number of bytes, 0 only at the end (or for no room)."""
        if not view:
            return 0
        if self._gathered:
            data = self._gathered.take(len(view))
            view[: len(data)] = data
            return len(data)
        return self._try_into(view)

    def try_readall(self, limit: int | None) -> bytes | PollNeeded:
        """Read the rest of the body. What it had when interrupted is served by the next read."""
        gathered, body = self._gathered, self._body
        length = body.payload if isinstance(body, Length) else None
        if limit is not None and len(gathered) + (length or 0) > limit:
            raise self._beyond(limit)
        rest = b""
        if body is None or (length is not None and length <= len(self.buffer)):
            self._exchanges.check_alive()
            if body is not None:
                rest = self.buffer.take(length or 0)
                self._took_all(body, rest)
            if not gathered:
                return rest
        elif (need := self._try_gather(length, limit)) is not None:
            return need
        self._gathered = Gathered()
        return gathered.take_all() + rest if rest else gathered.take_all()

    def _try_gather(self, length: int | None, limit: int | None) -> PollNeeded | None:
        block = self._some_block(length)
        while count := self._try_into(block):
            if isinstance(count, PollNeeded):
                return count
            self._gathered.add(block[:count])
            if limit is not None and len(self._gathered) > limit:
                raise self._beyond(limit)
        return None

    def _some_block(self, length: int | None = None) -> memoryview:
        """Return a block to receive into; it is kept until the end of the body."""
        if self._block is None:
            self._block = memoryview(bytearray(min(length or BLOCK_SIZE, BLOCK_SIZE)))
        return self._block

    def try_discard(self) -> PollNeeded | None:
        """Read the rest of the body and throw it away."""
        self._gathered = Gathered()
        block = self._some_block() if self._body is not None else memoryview(bytearray(1))
        while count := self._try_into(block):
            if isinstance(count, PollNeeded):
                return count
        return None

    def _beyond(self, limit: int) -> InvalidResponse:
        return InvalidResponse(f"response body is longer than the limit of {limit} bytes")

    def _try_into(self, view: memoryview) -> int | PollNeeded:
        filled = 0
        while True:
            payload = self._try_payload(len(view) - filled)
            if not payload or isinstance(payload, PollNeeded):
                return payload
            if self._digest is None and isinstance(self._body, Chunked) and self.buffer:
                filled += self._chunks_into(self._body, view[filled:])
                if filled == len(view) or not self._has_more():
                    return filled
                continue
            with view[filled : filled + payload] as room:  # let go even if this fails
                if self.buffer:
                    count = self.buffer.take_into(room)
                else:
                    got = self._link.require_stream().recv_into(room)
                    if isinstance(got, PollNeeded):
                        return got
                    count = got
                if not count:
                    self._connection_ended()
                    continue
                self._took(room, count)
            filled += count
            if filled == len(view) or not self._has_more():
                return filled

    def _chunks_into(self, body: Chunked, view: memoryview) -> int:
        """Move payload of as many chunks as the buffer holds, without a call for each step."""
        buffer = self.buffer
        data, source, start, end = buffer.data, buffer.view, buffer.start, buffer.end
        filled, size = 0, len(view)
        while filled < size and start < end:
            count = min(body.payload, end - start, size - filled)
            view[filled : filled + count] = source[start : start + count]
            filled += count
            start += count
            body.took(count)
            if not body.payload:
                begin = start
                start = body.skip_lines(data, start, end)
                if start == begin:
                    break
        view.release()
        buffer.skip_to(start)
        self._untouched = False
        if not body.payload:
            self._advance(receive=True)
        return filled

    def _has_more(self) -> bool:
        """Whether the buffer has payload that comes next."""
        return self._body is not None and self._body.payload > 0 and bool(self.buffer)
